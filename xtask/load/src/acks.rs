//! Acknowledgements: counted and timed where librdkafka hands them over.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use hdrhistogram::Histogram;
use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, NoCustomPartitioner, ProducerContext};
use serde::Serialize;

/// Percentiles that are reported.
const PERCENTILES: [f64; 14] =
    [0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 99.999, 100.0];
/// Longest latency that is told apart, in microseconds.
const LONGEST_US: u64 = 120_000_000;

/// What became of all records of a run.
pub(crate) struct Acks {
    /// When the run began; intended times are nanoseconds since then.
    start: OnceLock<Instant>,
    /// What is measured: latencies of records intended in it, records acknowledged in it.
    window: Range<Duration>,
    latencies: Mutex<Histogram<u64>>,
    acked: AtomicU64,
    acked_in_window: AtomicU64,
    failed: AtomicU64,
    done: AtomicBool,
}

/// How many records.
#[derive(Serialize)]
pub(crate) struct Counts {
    /// Acknowledged a second while the window was open.
    rate: f64,
    acked: u64,
    failed: u64,
}

/// Latencies from the intended time to the acknowledgement.
#[derive(Serialize)]
pub(crate) struct Latencies {
    /// How many records.
    count: u64,
    /// Percentile and milliseconds.
    percentiles_ms: Vec<(f64, f64)>,
}

impl Acks {
    pub(crate) fn new(window: Range<Duration>) -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            start: OnceLock::new(),
            window,
            latencies: Mutex::new(histogram()?),
            acked: AtomicU64::new(0),
            acked_in_window: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            done: AtomicBool::new(false),
        }))
    }

    /// Starts the clock, unless it runs.
    pub(crate) fn begin(&self) -> Instant {
        *self.start.get_or_init(Instant::now)
    }

    /// Handles what the producers have to say until nothing more is awaited.
    pub(crate) fn poll_until_done(&self, producers: &[BaseProducer<Delivery>]) {
        while !self.done.load(Relaxed) {
            match producers {
                [one] => one.poll(Duration::from_millis(20)),
                // librdkafka has one queue for each client: all are looked at about every millisecond.
                many => {
                    many.iter().for_each(|producer| producer.poll(Duration::ZERO));
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }

    /// Waits until `sent` records are acknowledged or have failed; what is still missing after `limit` counts as failed.
    pub(crate) fn settle(&self, sent: u64, limit: Duration) {
        let deadline = Instant::now() + limit;
        while self.acked.load(Relaxed) + self.failed.load(Relaxed) < sent && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let missing = sent.saturating_sub(self.acked.load(Relaxed) + self.failed.load(Relaxed));
        self.failed.fetch_add(missing, Relaxed);
        self.done.store(true, Relaxed);
    }

    pub(crate) fn counts(&self) -> Counts {
        let seconds = (self.window.end - self.window.start).as_secs_f64();
        Counts {
            rate: self.acked_in_window.load(Relaxed) as f64 / seconds,
            acked: self.acked.load(Relaxed),
            failed: self.failed.load(Relaxed),
        }
    }

    pub(crate) fn latencies(&self) -> Latencies {
        summary(&self.latencies.lock().expect("no thread panics with the histogram"))
    }
}

/// The percentiles of a histogram of microseconds.
pub(crate) fn summary(histogram: &Histogram<u64>) -> Latencies {
    let at = |percentile: f64| (percentile, histogram.value_at_quantile(percentile / 100.0) as f64 / 1000.0);
    Latencies { count: histogram.len(), percentiles_ms: PERCENTILES.map(at).to_vec() }
}

/// An empty histogram of microseconds.
pub(crate) fn histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LONGEST_US, 3).context("a histogram")
}

/// The context of a producer: where acknowledgements arrive. The opaque value of a record is its intended time in nanoseconds
/// since the start.
pub(crate) struct Delivery(pub(crate) Arc<Acks>);

impl ClientContext for Delivery {}

impl ProducerContext<NoCustomPartitioner> for Delivery {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, intended_ns: usize) {
        let acks = &*self.0;
        if result.is_err() {
            acks.failed.fetch_add(1, Relaxed);
            return;
        }
        let now = acks.begin().elapsed();
        let intended = Duration::from_nanos(intended_ns as u64);
        if acks.window.contains(&intended) {
            let latency_us = now.saturating_sub(intended).as_micros() as u64;
            let mut latencies = acks.latencies.lock().expect("no thread panics with the histogram");
            latencies.saturating_record(latency_us.max(1));
        }
        if acks.window.contains(&now) {
            acks.acked_in_window.fetch_add(1, Relaxed);
        }
        acks.acked.fetch_add(1, Relaxed);
    }
}

/// Hands a record to a client. `false`: its queue is full, and a moment has passed.
pub(crate) fn try_send(
    client: &BaseProducer<Delivery>,
    topic: &str,
    intended_ns: usize,
    body: &[u8],
) -> Result<bool> {
    let record = BaseRecord::<(), [u8], usize>::with_opaque_to(topic, intended_ns).payload(body);
    match client.send(record) {
        Ok(()) => Ok(true),
        Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
            std::thread::sleep(Duration::from_millis(1));
            Ok(false)
        }
        Err((error, _)) => bail!("sending: {error}"),
    }
}

/// `count` producers with their connections made.
pub(crate) fn producers(
    config: &rdkafka::ClientConfig,
    acks: &Arc<Acks>,
    topic: &str,
    count: usize,
) -> Result<Vec<BaseProducer<Delivery>>> {
    let mut made = Vec::with_capacity(count);
    for _ in 0..count {
        let producer: BaseProducer<Delivery> = config.create_with_context(Delivery(acks.clone()))?;
        made.push(producer);
        // A thousand clients at once would queue for the server's listener.
        if made.len() % 50 == 0 {
            connect(&made[made.len() - 50..], topic)?;
        }
    }
    connect(&made, topic)?;
    Ok(made)
}

fn connect(producers: &[BaseProducer<Delivery>], topic: &str) -> Result<()> {
    use rdkafka::producer::Producer as _;
    for producer in producers {
        let client: &Client<Delivery> = producer.client();
        client.fetch_metadata(Some(topic), Duration::from_secs(60)).context("metadata of the topic")?;
    }
    Ok(())
}
