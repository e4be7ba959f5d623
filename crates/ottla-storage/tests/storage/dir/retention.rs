//! Retention, and a crash that brings back a part of what it removed.

use std::path::{Path, PathBuf};

use ottla_record::{BatchBuilder, EndTxnMarker};
use ottla_storage::dir::{Checkpoint, Journal, NewLog, apply_retention, write_checkpoints};
use ottla_storage::fs::{Fs, MemFs};
use ottla_storage::log::{AppendOrigin, LeaderAppend, LogConfig, VerificationGuard};
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Uuid};

use super::support::{NOW, Node, formatted, key, names, new_log, small_config};

const DIR: &str = "/a";
const PRODUCER: (ProducerId, ProducerEpoch) = (ProducerId(21), ProducerEpoch(0));

/// Takes a batch as it is.
fn append(node: &Node, bytes: Vec<u8>) {
    let append = LeaderAppend {
        origin: AppendOrigin::Coordinator,
        leader_epoch: LeaderEpoch(0),
        guard: VerificationGuard::default(),
        transaction_version: 0,
        now_ms: NOW,
    };
    node.append_batch("t", 0, append, bytes).unwrap();
}

/// A node with a log whose first segment has the records of a transaction, and a later one its marker.
fn with_transaction(fs: &MemFs) -> Node {
    let node = Node::start(fs, &[DIR]).unwrap();
    let config = LogConfig { transaction_verification: false, ..small_config() };
    node.create_as(NewLog { config, ..new_log("t", 0) }).unwrap();
    let (id, epoch) = PRODUCER;
    let mut first = BatchBuilder::new().producer(id, epoch, Sequence(0)).transactional(true);
    first.append(NOW, None, Some(&[9; 100]), &[]).unwrap();
    append(&node, first.build().unwrap());
    node.append("t", 0, 10).unwrap();
    let marker = EndTxnMarker { committed: true, coordinator_epoch: 0 };
    append(&node, marker.batch(Offset(0), LeaderEpoch(0), NOW, id, epoch));
    node.append("t", 0, 30).unwrap();
    node.flush("t", 0).unwrap();
    node
}

/// Gives the first segment its name back, but not its time index.
fn bring_back_first(fs: &MemFs) {
    let file = |name: &str| -> PathBuf { Path::new(DIR).join("t-0").join(name) };
    fs.rename(&file("00000000000000000000.log.deleted"), &file("00000000000000000000.log")).unwrap();
    fs.sync_dir(&file("")).unwrap();
}

/// The transaction was open for ever, and nobody who reads only what is committed came past the log start.
#[test]
fn a_removed_segment_that_comes_back_opens_no_transaction() {
    for is_journaled in [false, true] {
        let fs = formatted(&[DIR]);
        let node = with_transaction(&fs);
        let dir = &node.dirs.dirs()[0];
        let mut journal = Journal::create(&fs, dir.path(), 16 * 1024, Uuid::from_parts(5, 5)).unwrap();
        if is_journaled {
            node.append("t", 0, 1).unwrap();
            let ticket =
                node.logs.lock().unwrap().get_mut(&key("t", 0)).unwrap().log.begin_journal().unwrap();
            journal.commit(&[ticket.expect("little enough for the journal")]).unwrap();
        }
        assert!(apply_retention(&node.dirs, dir, &node, NOW).unwrap().segments > 3);
        // Nothing has made the removal durable: what tells of the start must stay.
        write_checkpoints(&node.dirs, dir, &node, &[Checkpoint::LogStarts]).unwrap();
        let (start, _, end) = node.offsets("t", 0).unwrap();
        drop(node);
        bring_back_first(&fs);

        let node = Node::start(&fs, &[DIR]).unwrap();
        let (start_now, _, end_now) = node.offsets("t", 0).unwrap();
        assert_eq!((start_now, end_now), (start, end), "journaled: {is_journaled}");
        assert!(names(&fs, "/a/t-0").contains(&"00000000000000000000.log".to_owned()));
        let open = node.logs.lock().unwrap()[&key("t", 0)].log.first_undecided_offset();
        assert_eq!(open, None, "journaled: {is_journaled}");
    }
}

/// The start is moved, and durable, before anything is removed: whatever comes back, no transaction is open of which only the beginning
/// came back, and nothing is read that retention had removed once its start was told.
#[test]
fn a_crash_at_every_step_of_retention_leaves_no_transaction_open() {
    for at in 0.. {
        let fs = formatted(&[DIR]);
        let node = with_transaction(&fs);
        let (start, _, end) = node.offsets("t", 0).unwrap();
        fs.cut_power_at(fs.operations() + at);
        let applied = apply_retention(&node.dirs, &node.dirs.dirs()[0], &node, NOW);
        drop(node);
        for seed in 0..24 {
            let after = fs.fork();
            after.crash(seed);
            let context = format!("crash at {at}, seed {seed}");
            let is_whole = !names(&after, "/a/t-0").iter().any(|name| name.ends_with(".log.deleted"));
            let node = Node::start(&after, &[DIR]).unwrap_or_else(|e| panic!("{context}: {e}"));
            let (start_now, _, end_now) = node.offsets("t", 0).unwrap();
            assert_eq!(end_now, end, "{context}");
            assert!(start_now > start || is_whole, "{context}: begins at {start_now}");
            let open = node.logs.lock().unwrap()[&key("t", 0)].log.first_undecided_offset();
            assert_eq!(open, None, "{context}");
        }
        if applied.is_ok() {
            assert!(at > 20, "{at} steps");
            return;
        }
    }
}
