//! A flusher at work on a disk that forgets: what its high watermarks promised is there after a power failure.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_record::BatchBuilder;
use ottla_replica::{Durability, Replica};
use ottla_storage::dir::{
    Admission, Format, JOURNAL_FILES, LogDirs, LogDirsConfig, LogKey, NewLog, PlacedLog,
};
use ottla_storage::fs::{MemFs, exists};
use ottla_storage::log::{AppendOrigin, LeaderAppend, LogConfig, VerificationGuard};
use ottla_types::{LeaderEpoch, NodeId, Offset, TopicPartition, Uuid};

use super::*;
use crate::partition::Place;
use crate::settings::TopicSettings;
use crate::waiter::{Countdown, Need};

const NOW: i64 = 1_700_000_000_000;
const DIR: &str = "/data";
const PARTITIONS: i32 = 6;
/// Both halves: a few dozen entries.
const JOURNAL_BYTES: u64 = 256 * 1024;

fn settings() -> TopicSettings {
    let log = LogConfig { segment_bytes: 60_000, ..LogConfig::default() };
    TopicSettings { log, durability: Durability::Sync, min_insync_replicas: 1 }
}

fn log_dirs(fs: &MemFs) -> LogDirs {
    let config = LogDirsConfig {
        dirs: vec![PathBuf::from(DIR)],
        metadata_dir: PathBuf::from(DIR),
        node_id: NodeId(1),
        cluster_id: None,
    };
    LogDirs::open(Arc::new(fs.clone()), &config, &mut || Uuid::from_parts(100, 7)).expect("opened")
}

fn format(fs: &MemFs) {
    let format = Format {
        dirs: &[PathBuf::from(DIR)],
        cluster_id: "5L6g3nShT-eMCtK--X86sw",
        node_id: NodeId(1),
        directory_ids: &[],
        ignore_formatted: false,
    };
    let plan = format.plan(fs, &mut || Uuid::from_parts(100, 7));
    plan.and_then(|plan| plan.finish(fs)).expect("formatted");
}

/// A partition that leads, with the flusher of its directory.
fn partition(placed: PlacedLog, flusher: &Arc<Flusher>) -> Arc<Partition> {
    let PlacedLog { key, dir, log } = placed;
    let place = Place { dir, flusher: Arc::clone(flusher) };
    let replica = Replica::new(log, Durability::Sync);
    let partition =
        Partition::new(key.partition, Uuid::from_parts(1, 1), place, Arc::new(settings()), replica);
    partition.update(|replica| ((), replica.lead(LeaderEpoch(0))));
    partition
}

/// Starts a node's partitions, new ones or those that are there.
fn start(fs: &MemFs, dirs: &LogDirs) -> (Arc<Flusher>, Vec<Arc<Partition>>) {
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
            .map(|index| {
                let new = NewLog {
                    key: LogKey::current(TopicPartition::new("small", index)),
                    topic_id: Uuid::from_parts(1, 1),
                    is_new: true,
                    dir_id: None,
                    config: settings().log,
                    unique: 1,
                    now_ms: NOW,
                };
                dirs.create(&new).expect("created")
            })
            .collect();
    }
    fs.set_now_ms(NOW);
    let partitions = found.into_iter().map(|placed| partition(placed, &flusher)).collect();
    (flusher, partitions)
}

fn append(partition: &Arc<Partition>) {
    partition.update(|replica| ((), append_to(replica)));
}

fn append_to(replica: &mut Replica<Waiter>) -> Vec<Waiter> {
    let mut batch = BatchBuilder::new();
    batch.append(NOW, None, Some(&[7; 300]), &[]).expect("a record");
    let mut batch = batch.build().expect("a batch");
    let append = LeaderAppend {
        origin: AppendOrigin::Client,
        leader_epoch: LeaderEpoch(0),
        guard: VerificationGuard::default(),
        transaction_version: 0,
        now_ms: NOW,
    };
    replica.append(&mut batch, append).expect("appended").1
}

fn offsets(partition: &Partition) -> (Offset, Offset) {
    let both = |replica: &mut Replica<Waiter>| (replica.high_watermark(), replica.log().log_end_offset());
    partition.with(both).expect("it is there")
}

fn wait_until_safe(partitions: &[Arc<Partition>]) {
    let begin = Instant::now();
    while partitions.iter().any(|partition| offsets(partition).0 < offsets(partition).1) {
        assert!(begin.elapsed() < Duration::from_secs(60), "a high watermark does not move");
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
