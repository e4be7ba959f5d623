//! Produces at a fixed rate, open loop: a record has its time whether or not earlier ones are answered, and its latency counts
//! from that time, so that a stall of the server (or of this program) shows in every record that it held up.

use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;
use rdkafka::producer::BaseProducer;
use rustix::time::ClockId;
use serde::Serialize;

use crate::acks::{Acks, Counts, Delivery, Latencies, histogram, producers, summary, try_send};
use crate::client::{Target, payload};
use crate::limits::cpu_s;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    #[arg(long)]
    topic: String,
    /// Records a second, of all clients together
    #[arg(long)]
    rate: f64,
    /// Bytes of a record
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Seconds before measuring
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,
    /// Seconds measured
    #[arg(long)]
    seconds: f64,
    /// Producers, which take turns
    #[arg(long, default_value_t = 1)]
    clients: usize,
}

#[derive(Serialize)]
pub(crate) struct Outcome {
    #[serde(flatten)]
    counts: Counts,
    latencies: Latencies,
    /// How much later than intended records were handed to librdkafka: what this program, its full queue included, adds.
    lateness: Latencies,
    /// CPU seconds a second of this program, librdkafka included, from start to end.
    cores: f64,
}

/// An acknowledgement is as fast as the server lets it be: nothing lingers in the client, and batches form while five requests
/// are under way, as in Kafka's own producer.
const OWN: &[(&str, &str)] = &[("acks", "all"), ("linger.ms", "0"), ("max.in.flight", "5")];

pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let warm_up = Duration::from_secs_f64(args.warm_up);
    let end = warm_up + Duration::from_secs_f64(args.seconds);
    let acks = Acks::new(warm_up..end)?;
    let clients = producers(&args.target.config(OWN)?, &acks, &args.topic, args.clients.max(1))?;
    let mut late = histogram()?;
    let cpu_s_before = cpu_s(ClockId::ProcessCPUTime);
    let start = acks.begin();
    thread::scope(|scope| {
        scope.spawn(|| acks.poll_until_done(&clients));
        let sent = send(args, &clients, start, warm_up..end, &mut late);
        // The polling thread ends in any case, or the scope would not.
        acks.settle(*sent.as_ref().unwrap_or(&0), Duration::from_secs(30));
        sent
    })?;
    let cores = (cpu_s(ClockId::ProcessCPUTime) - cpu_s_before) / start.elapsed().as_secs_f64();
    Ok(Outcome { counts: acks.counts(), latencies: acks.latencies(), lateness: summary(&late), cores })
}

/// Sends each record when its time has come, or as soon as possible after, and returns how many; notes how late those of the
/// window are handed over.
fn send(
    args: &Args,
    clients: &[BaseProducer<Delivery>],
    start: Instant,
    window: Range<Duration>,
    late: &mut Histogram<u64>,
) -> Result<u64> {
    let body = payload(args.size);
    let total = (args.rate * window.end.as_secs_f64()) as u64;
    for number in 0..total {
        let intended = Duration::from_secs_f64(number as f64 / args.rate);
        let mut now = start.elapsed();
        if intended > now {
            thread::sleep(intended - now);
            now = start.elapsed();
        }
        let client = &clients[number as usize % clients.len()];
        while !try_send(client, &args.topic, intended.as_nanos() as usize, &body)? {
            now = start.elapsed();
        }
        if intended >= window.start {
            late.saturating_record((now.saturating_sub(intended).as_micros() as u64).max(1));
        }
    }
    Ok(total)
}
