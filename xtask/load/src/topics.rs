//! Creates topics.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures_executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use serde::Serialize;

use crate::client::Target;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    #[arg(long)]
    topic: String,
    #[arg(long)]
    partitions: usize,
    /// A config of the topic, `key=value`
    #[arg(long = "config", value_name = "KEY=VALUE")]
    configs: Vec<String>,
}

#[derive(Serialize)]
pub(crate) struct Outcome {
    /// From the first request until all partitions have a leader.
    seconds: f64,
}

/// Apache Kafka refuses a request that makes more than 10,000 records in the metadata log, and 10,000 partitions and a topic are
/// one more: larger topics are made in steps.
const STEP: usize = 5_000;

const LIMIT: Duration = Duration::from_secs(180);

pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let start = Instant::now();
    let admin: AdminClient<DefaultClientContext> = args.target.config(&[])?.create()?;
    let options = AdminOptions::new().request_timeout(Some(LIMIT)).operation_timeout(Some(LIMIT));
    let first = args.partitions.min(STEP);
    let mut topic = NewTopic::new(&args.topic, i32::try_from(first)?, TopicReplication::Fixed(1));
    for config in &args.configs {
        let (key, value) = config.split_once('=').with_context(|| format!("no '=' in --config {config}"))?;
        topic = topic.set(key, value);
    }
    for result in block_on(admin.create_topics([&topic], &options))? {
        if let Err((name, code)) = result {
            bail!("creating {name}: {code}");
        }
    }
    let mut have = first;
    while have < args.partitions {
        have = args.partitions.min(have + STEP);
        for result in block_on(admin.create_partitions([&NewPartitions::new(&args.topic, have)], &options))? {
            if let Err((name, code)) = result {
                bail!("growing {name} to {have} partitions: {code}");
            }
        }
    }
    while !led(&admin, args)? {
        ensure!(start.elapsed() < LIMIT, "not all partitions of {} have a leader", args.topic);
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(Outcome { seconds: start.elapsed().as_secs_f64() })
}

fn led(admin: &AdminClient<DefaultClientContext>, args: &Args) -> Result<bool> {
    let metadata = admin.inner().fetch_metadata(Some(&args.topic), Duration::from_secs(60))?;
    let Some(topic) = metadata.topics().first() else { return Ok(false) };
    Ok(topic.partitions().len() == args.partitions
        && topic.partitions().iter().all(|partition| partition.leader() >= 0 && partition.error().is_none()))
}
