//! A flusher at work on a disk that forgets: what its high watermarks promised is there after a power failure.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_record::BatchBuilder;
use ottla_replica::{Durability, Replica};
use ottla_storage::dir::{Admission, JOURNAL_FILES, LogDirs};
use ottla_storage::fs::{MemFs, exists};
use ottla_storage::log::{AppendOrigin, LogConfig};
use ottla_types::{LeaderEpoch, Offset, TopicPartition};

use super::*;
use crate::settings::TopicSettings;
use crate::test_support::{DIR, NOW, append_from, create, format, log_dirs, partition};
use crate::waiter::{Countdown, Need};

const PARTITIONS: i32 = 6;
/// Both halves: a few dozen entries.
const JOURNAL_BYTES: u64 = 256 * 1024;

fn settings() -> TopicSettings {
    let log = LogConfig { segment_bytes: 60_000, ..LogConfig::default() };
    TopicSettings { log, durability: Durability::Sync, min_insync_replicas: 1 }
}

/// Starts a node's partitions, new ones or those that are there.
fn start(fs: &MemFs, dirs: &LogDirs) -> (Arc<Flusher>, Vec<Arc<Partition>>) {
    start_as(settings, fs, dirs)
}

fn start_as(
    settings: fn() -> TopicSettings,
    fs: &MemFs,
    dirs: &LogDirs,
) -> (Arc<Flusher>, Vec<Arc<Partition>>) {
    let dir = Arc::clone(&dirs.dirs()[0]);
    let flusher = Flusher::new("flusher".to_owned(), dir, JOURNAL_BYTES);
    let mut found = Vec::new();
    for load in dirs.begin_loading(NOW).expect("it loads") {
        for job in load.jobs {
            match dirs.admit(job.run(settings().log, 1, NOW), &|_, _| false, 1).expect("admitted") {
                Admission::Admitted(placed, _) => found.push(*placed),
                other => panic!("{other:?}"),
            }
        }
    }
    if found.is_empty() {
        found = (0..PARTITIONS)
            .map(|index| create(dirs, TopicPartition::new("small", index), settings().log))
            .collect();
    }
    fs.set_now_ms(NOW);
    let leading = |placed| {
        let partition = partition(placed, &flusher, settings());
        partition.update(|replica| ((), replica.lead(LeaderEpoch(0))));
        partition
    };
    let partitions = found.into_iter().map(leading).collect();
    (flusher, partitions)
}

fn append(partition: &Arc<Partition>) {
    partition.update(|replica| ((), append_to(replica)));
}

fn append_to(replica: &mut Replica<Waiter>) -> Vec<Waiter> {
    append_bytes(replica, 300)
}

fn append_bytes(replica: &mut Replica<Waiter>, bytes: usize) -> Vec<Waiter> {
    let mut batch = BatchBuilder::new();
    batch.append(NOW, None, Some(&vec![7; bytes]), &[]).expect("a record");
    let mut batch = batch.build().expect("a batch");
    replica.append(&mut batch, append_from(AppendOrigin::Client)).expect("appended").1
}

fn offsets(partition: &Partition) -> (Offset, Offset) {
    let both = |replica: &mut Replica<Waiter>| (replica.high_watermark(), replica.log().log_end_offset());
    partition.with(both).expect("it is there")
}

fn wait_until_safe(partitions: &[Arc<Partition>]) {
    let is_safe = |partition| offsets(partition).0 >= offsets(partition).1;
    wait_until("a high watermark does not move", || partitions.iter().all(|partition| is_safe(partition)));
}

fn wait_until(failure: &str, is_done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_done() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{failure}");
        std::thread::sleep(Duration::from_micros(50));
    }
}

fn has_journal(fs: &MemFs) -> bool {
    exists(fs, &PathBuf::from(DIR).join(JOURNAL_FILES[0])).expect("it can be asked")
}

#[test]
fn what_counted_before_the_power_went_is_there_after_it() {
    what_counted_is_there_when_so_many_are_written_to(PARTITIONS);
}

#[test]
fn what_counted_of_a_partition_alone_is_there_after_it() {
    what_counted_is_there_when_so_many_are_written_to(1);
}

fn what_counted_is_there_when_so_many_are_written_to(written: i32) {
    let fs = MemFs::new();
    format(&fs);
    for life in 0..4 {
        let dirs = log_dirs(&fs);
        let (flusher, partitions) = start(&fs, &dirs);
        let begin = Instant::now();
        let mut rounds = 0;
        // Until the journal was there for long enough to be turned a few times.
        while rounds < 300 {
            partitions.iter().filter(|partition| partition.id.partition < written).for_each(append);
            if rounds % 7 != 6 {
                wait_until_safe(&partitions);
            }
            rounds += i32::from(flusher.journal.is_ready());
            assert!(begin.elapsed() < Duration::from_secs(120), "no journal was made");
        }
        assert!(has_journal(&fs));
        partitions.iter().for_each(append);
        let promised: Vec<Offset> = partitions.iter().map(|partition| offsets(partition).0).collect();
        fs.cut_power_at(0);
        flusher.close();
        drop((partitions, dirs));
        fs.crash(life);
        fs.heal();

        let dirs = log_dirs(&fs);
        let (flusher, partitions) = start(&fs, &dirs);
        for (partition, promised) in partitions.iter().zip(promised) {
            assert!(offsets(partition).1 >= promised, "{}: {promised} was promised", partition.id);
        }
        flusher.close();
        drop((partitions, dirs));
        fs.crash(life);
    }
}

#[test]
fn an_append_in_need_tells_the_flusher_unless_it_is_at_work() {
    let fs = MemFs::new();
    format(&fs);
    let dirs = log_dirs(&fs);
    let (flusher, partitions) = start(&fs, &dirs);
    wait_until_safe(&partitions);
    let partition = &partitions[0];
    let pipeline = Arc::new(Pipeline::default());
    let under_way = pipeline.begin();
    assert!(pipeline.is_full());
    let tell = || {
        let mut need = Need { pipeline: Arc::clone(&pipeline), is_told: false };
        let append = |replica: &mut Replica<Waiter>| ((), append_to(replica));
        partition.update_in_need(Some(&mut need), append).expect("it is there");
        need.is_told
    };
    // As if a thread had it.
    while !partition.flush_turn().request() {
        std::thread::yield_now();
    }
    partition.flush_turn().begin();
    assert!(!tell());
    let (_, _, pressing) = partition.end_flush().expect("it was asked for");
    assert_eq!(pressing, 0, "its acknowledgement is not parked yet");
    assert!(tell(), "it is queued");
    flusher.enqueue(Arc::clone(partition), true, Pressing::Connection(&pipeline));
    wait_until_safe(&partitions);
    assert!(Countdown::of(0, under_way).is_done());
    assert!(!pipeline.is_full(), "nothing is under way");
    flusher.close();
}

#[test]
fn much_that_nobody_waits_for_is_written_back() {
    let fs = MemFs::new();
    format(&fs);
    let dirs = log_dirs(&fs);
    let page_cache =
        || TopicSettings { log: LogConfig::default(), durability: Durability::PageCache, ..settings() };
    let (flusher, partitions) = start_as(page_cache, &fs, &dirs);
    let partition = &partitions[0];
    let append = || partition.update(|replica| ((), append_bytes(replica, 512 * 1024))).expect("it is there");
    let durable = || partition.with(|replica| replica.log().durable_offset()).expect("it is there");
    let wait_until_durable =
        |up_to: i64| wait_until("nothing is written back", || durable() >= Offset(up_to));
    // The first records of a log are flushed in any case.
    append();
    wait_until_durable(1);
    wait_until("the flush does not end", || partition.flush_turn().is_idle());
    (0..7).for_each(|_| append());
    assert!(partition.flush_turn().is_idle() && durable() == Offset(1), "little is left to the kernel");
    append();
    wait_until_durable(9);
    flusher.close();
}
