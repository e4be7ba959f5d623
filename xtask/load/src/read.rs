//! Reads a topic from the beginning, each consumer all of it.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use serde::Serialize;

use crate::client::Target;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    #[arg(long)]
    topic: String,
    /// Consumers, each with a thread
    #[arg(long, default_value_t = 1)]
    consumers: usize,
    /// Stop after this many records of each consumer
    #[arg(long)]
    records: Option<u64>,
    /// Stop after this many seconds, if earlier
    #[arg(long, default_value_t = 300.0)]
    seconds: f64,
}

#[derive(Default, Serialize)]
pub(crate) struct Outcome {
    /// Records read by all consumers.
    records: u64,
    /// Bytes of their values.
    bytes: u64,
    /// From the start to the last record of the slowest consumer.
    seconds: f64,
}

const OWN: &[(&str, &str)] = &[("group.id", "load"), ("enable.auto.commit", "false")];

pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let start = Instant::now();
    let readers: Vec<Result<Outcome>> = thread::scope(|scope| {
        let readers: Vec<_> = (0..args.consumers).map(|_| scope.spawn(|| read(args, start))).collect();
        readers.into_iter().map(|reader| reader.join().expect("a reader does not panic")).collect()
    });
    let mut all = Outcome::default();
    for reader in readers {
        let reader = reader?;
        all.records += reader.records;
        all.bytes += reader.bytes;
        all.seconds = all.seconds.max(reader.seconds);
    }
    Ok(all)
}

fn read(args: &Args, start: Instant) -> Result<Outcome> {
    let consumer: BaseConsumer = args.target.config(OWN)?.create()?;
    let metadata = consumer.fetch_metadata(Some(&args.topic), Duration::from_secs(60))?;
    let mut assigned = TopicPartitionList::new();
    for partition in metadata.topics().first().context("the topic")?.partitions() {
        assigned.add_partition_offset(&args.topic, partition.id(), Offset::Beginning)?;
    }
    consumer.assign(&assigned)?;
    let limit = Duration::from_secs_f64(args.seconds);
    let mut outcome = Outcome::default();
    while start.elapsed() < limit && args.records.is_none_or(|records| outcome.records < records) {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                outcome.records += 1;
                outcome.bytes += message.payload_len() as u64;
                // Looking at the clock for each would cost as much as the rest.
                if outcome.records.is_multiple_of(64) || args.records == Some(outcome.records) {
                    outcome.seconds = start.elapsed().as_secs_f64();
                }
            }
            // It tries again by itself.
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
            )))
            | None => {}
            Some(Err(error)) => return Err(error.into()),
        }
    }
    Ok(outcome)
}
