//! Groups: how long one takes to settle, how many offsets are committed a second.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::{Offset, TopicPartitionList};
use serde::Serialize;

use crate::acks::{Latencies, histogram, summary};
use crate::client::Target;

#[derive(clap::Args)]
pub(crate) struct RebalanceArgs {
    #[command(flatten)]
    target: Target,
    /// A topic with at least one partition for each member and one more
    #[arg(long)]
    topic: String,
    #[arg(long)]
    partitions: i64,
    #[arg(long)]
    members: usize,
    /// classic or consumer
    #[arg(long, default_value = "classic")]
    protocol: String,
}

/// Seconds until every member has partitions and every partition a member.
#[derive(Serialize)]
pub(crate) struct Settled {
    /// From the start of all members at once.
    formed: f64,
    /// From the start of one more.
    joined: f64,
    /// From the leave of that one.
    left: f64,
}

/// What a member holds now.
#[derive(Default)]
struct Member {
    partitions: AtomicI64,
    changed: AtomicU64,
    stop: AtomicBool,
}

struct Watch {
    member: Arc<Member>,
    start: Instant,
}

impl ClientContext for Watch {}

impl ConsumerContext for Watch {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let change = match rebalance {
            Rebalance::Assign(partitions) => partitions.count() as i64,
            Rebalance::Revoke(partitions) => -(partitions.count() as i64),
            Rebalance::Error(_) => return,
        };
        self.member.partitions.fetch_add(change, SeqCst);
        self.member.changed.store(self.start.elapsed().as_nanos() as u64, SeqCst);
    }
}

const LIMIT: Duration = Duration::from_secs(120);

pub(crate) fn rebalance(args: &RebalanceArgs) -> Result<Settled> {
    let start = Instant::now();
    let members: Vec<Arc<Member>> = (0..=args.members).map(|_| Arc::default()).collect();
    let (last, first) = members.split_last().expect("at least one member");
    let failure = Mutex::new(None);
    let run = |member: &Arc<Member>| {
        if let Err(error) = consume(args, member, start) {
            failure.lock().expect("no thread panics with it").get_or_insert(error);
        }
    };
    let times = thread::scope(|scope| {
        for member in first {
            scope.spawn(|| run(member));
        }
        let formed = settled(first, args.partitions, start, start);
        let joining = Instant::now();
        scope.spawn(|| run(last));
        let joined =
            formed.and_then(|formed| Ok((formed, settled(&members, args.partitions, start, joining)?)));
        let leaving = Instant::now();
        last.stop.store(true, SeqCst);
        let left = joined.and_then(|(formed, joined)| {
            let left = settled(first, args.partitions, start, leaving)?;
            Ok(Settled { formed, joined, left })
        });
        members.iter().for_each(|member| member.stop.store(true, SeqCst));
        left
    });
    match failure.into_inner().expect("no thread panics with it") {
        Some(error) => Err(error),
        None => times,
    }
}

fn consume(args: &RebalanceArgs, member: &Arc<Member>, start: Instant) -> Result<()> {
    let own: &[(&str, &str)] = &[
        ("group.id", "rebalance"),
        ("group.protocol", &args.protocol),
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "latest"),
    ];
    let context = Watch { member: member.clone(), start };
    let consumer: BaseConsumer<Watch> = args.target.config(own)?.create_with_context(context)?;
    consumer.subscribe(&[&args.topic])?;
    while !member.stop.load(SeqCst) {
        if let Some(Err(error)) = consumer.poll(Duration::from_millis(50)) {
            eprintln!("consumer: {error}");
        }
    }
    // Dropping it leaves the group.
    Ok(())
}

/// Waits until the members share all partitions, for 200 ms without a change, and returns the seconds from `since` to the last
/// change.
fn settled(members: &[Arc<Member>], partitions: i64, start: Instant, since: Instant) -> Result<f64> {
    const QUIET: Duration = Duration::from_millis(200);
    loop {
        let held: Vec<i64> = members.iter().map(|member| member.partitions.load(SeqCst)).collect();
        let changed_ns = members.iter().map(|member| member.changed.load(SeqCst)).max().unwrap_or(0);
        let changed = Duration::from_nanos(changed_ns);
        let whole = held.iter().all(|held| *held > 0) && held.iter().sum::<i64>() == partitions;
        // What was whole before this wait began does not count.
        if whole && start + changed > since && start.elapsed() > changed + QUIET {
            return Ok((start + changed - since).as_secs_f64());
        }
        ensure!(since.elapsed() < LIMIT, "not settled in {} s; members hold {held:?}", LIMIT.as_secs());
        thread::sleep(Duration::from_millis(5));
    }
}

#[derive(clap::Args)]
pub(crate) struct CommitArgs {
    #[command(flatten)]
    target: Target,
    #[arg(long)]
    topic: String,
    /// Groups of one client each, which waits for every commit
    #[arg(long)]
    clients: usize,
    #[arg(long)]
    seconds: f64,
}

#[derive(Serialize)]
pub(crate) struct Commits {
    count: u64,
    seconds: f64,
    latencies: Latencies,
}

pub(crate) fn commits(args: &CommitArgs) -> Result<Commits> {
    let all = Mutex::new(histogram()?);
    let limit = Duration::from_secs_f64(args.seconds);
    let commit = |client: usize| -> Result<()> {
        let group = format!("commits-{client}");
        let own: &[(&str, &str)] = &[("group.id", &group), ("enable.auto.commit", "false")];
        let consumer: BaseConsumer = args.target.config(own)?.create()?;
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&args.topic, 0, Offset::Offset(1))?;
        // The first finds the coordinator, which may only be on its way: a new server makes its offsets topic now.
        let asked = Instant::now();
        while let Err(error) = consumer.commit(&offsets, CommitMode::Sync) {
            ensure!(asked.elapsed() < LIMIT, "no first commit: {error}");
            thread::sleep(Duration::from_millis(100));
        }
        let mut latencies = histogram()?;
        let start = Instant::now();
        let mut offset = 1;
        while start.elapsed() < limit {
            offset += 1;
            offsets.set_partition_offset(&args.topic, 0, Offset::Offset(offset))?;
            let sent = Instant::now();
            consumer.commit(&offsets, CommitMode::Sync)?;
            latencies.saturating_record((sent.elapsed().as_micros() as u64).max(1));
        }
        all.lock().expect("no thread panics with it").add(&latencies)?;
        Ok(())
    };
    let commit = &commit;
    thread::scope(|scope| -> Result<()> {
        let threads: Vec<_> = (0..args.clients).map(|client| scope.spawn(move || commit(client))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a client does not panic"))
    })?;
    let all = all.into_inner().expect("no thread panics with it");
    Ok(Commits { count: all.len(), seconds: args.seconds, latencies: summary(&all) })
}
