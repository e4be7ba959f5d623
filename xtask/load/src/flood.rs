//! Produces as fast as the server takes it.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use rdkafka::producer::BaseProducer;

use crate::acks::{Acks, Counts, Delivery, producers, try_send};
use crate::client::{Target, payload};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    #[arg(long)]
    topic: String,
    /// Bytes of a record
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Seconds before measuring
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// Seconds measured
    #[arg(long)]
    seconds: f64,
    /// Stop after this many records of each client, if earlier
    #[arg(long)]
    records: Option<u64>,
    /// Producers, each with a thread
    #[arg(long, default_value_t = 1)]
    clients: usize,
}

/// At most 64 MiB wait in a client: twice the default of Kafka's own.
const OWN: &[(&str, &str)] = &[("acks", "all"), ("linger.ms", "5"), ("queue.buffering.max.kbytes", "65536")];

pub(crate) fn run(args: &Args) -> Result<Counts> {
    let warm_up = Duration::from_secs_f64(args.warm_up);
    let end = warm_up + Duration::from_secs_f64(args.seconds);
    let acks = Acks::new(warm_up..end)?;
    let clients = producers(&args.target.config(OWN)?, &acks, &args.topic, args.clients.max(1))?;
    acks.begin();
    thread::scope(|scope| -> Result<()> {
        let pollers: Vec<_> = clients
            .iter()
            .map(|one| scope.spawn(|| acks.poll_until_done(std::slice::from_ref(one))))
            .collect();
        let senders: Vec<_> = clients.iter().map(|one| scope.spawn(|| send(args, one, &acks, end))).collect();
        let mut sent = Ok(0);
        for sender in senders {
            let count = sender.join().expect("a sender does not panic");
            sent = sent.and_then(|sum| Ok(sum + count?));
        }
        acks.settle(*sent.as_ref().unwrap_or(&0), Duration::from_secs(60));
        drop(pollers);
        sent.map(|_| ())
    })?;
    Ok(acks.counts())
}

/// Sends until the time is over and returns how many records.
fn send(args: &Args, client: &BaseProducer<Delivery>, acks: &Acks, end: Duration) -> Result<u64> {
    let body = payload(args.size);
    let start = acks.begin();
    let mut sent = 0;
    while start.elapsed() < end && args.records.is_none_or(|limit| sent < limit) {
        if try_send(client, &args.topic, usize::MAX >> 1, &body)? {
            sent += 1;
        }
    }
    Ok(sent)
}
