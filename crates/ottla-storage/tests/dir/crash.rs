//! A node's whole life, with the power cut at every operation.

use std::path::Path;

use ottla_storage::dir::{Checkpoint, DirOffline, flush_due, write_checkpoints};
use ottla_storage::fs::{Fs, MemFs, read_file};

use crate::support::{NOW, Node, format, key};

const DIRS: [&str; 2] = ["/a", "/b"];
const ALL: [Checkpoint; 3] = [Checkpoint::RecoveryPoints, Checkpoint::LogStarts, Checkpoint::HighWatermarks];

/// What was promised before the power went.
#[derive(Debug, Default, PartialEq, Eq)]
struct Promises {
    formatted: bool,
    /// Records of `kept-0` that were flushed.
    flushed: i64,
    deleted: bool,
    /// Records of the second log of the name `again-0` that were flushed.
    again: i64,
    clean: bool,
}

fn offline(_: impl std::fmt::Debug) -> DirOffline {
    DirOffline { dir: "".into(), reason: String::new() }
}

fn live(fs: &MemFs, promises: &mut Promises) -> Result<(), DirOffline> {
    format(fs, &DIRS).map_err(offline)?;
    promises.formatted = true;
    let node = Node::start(fs, &DIRS).map_err(offline)?;
    for topic in ["kept", "again", "other"] {
        node.create(topic, 0).map_err(offline)?;
        node.append(topic, 0, 12)?;
    }
    for topic in ["kept", "again"] {
        node.flush(topic, 0)?;
    }
    promises.flushed = 12;
    for dir in node.dirs.dirs() {
        flush_due(&node.dirs, dir, &node, NOW)?;
        write_checkpoints(&node.dirs, dir, &node, &ALL)?;
    }
    node.delete("again", 0)?;
    promises.deleted = true;
    node.create("again", 0).map_err(offline)?;
    node.append("again", 0, 2)?;
    node.flush("again", 0)?;
    promises.again = 2;
    node.append("kept", 0, 3)?;
    node.dirs.remove_deleted(NOW + 100_000, 60_000);
    for dir in node.dirs.dirs() {
        write_checkpoints(&node.dirs, dir, &node, &ALL)?;
    }
    for (_, end) in node.stop(Some(5)) {
        end?;
    }
    promises.clean = true;
    promises.flushed = 15;
    Ok(())
}

fn check(fs: &MemFs, promises: &Promises, context: &str) {
    if !promises.formatted {
        format(fs, &DIRS).unwrap_or_else(|e| panic!("{context}: {e}"));
    }
    remove_torn_topic_ids(fs);
    let node = Node::start(fs, &DIRS).unwrap_or_else(|e| panic!("{context}: {e}"));
    assert_eq!(node.dirs.first_offline(), None, "{context}");
    if let Some((start, watermark, end)) = node.offsets("kept", 0) {
        assert!(
            (start == 0 || promises.flushed == 0) && watermark <= end && end >= promises.flushed,
            "{context}: {start} {end} {promises:?}"
        );
    } else {
        assert_eq!(promises.flushed, 0, "{context}: the log is gone");
    }
    if let Some((start, watermark, end)) = node.offsets("again", 0) {
        assert!(
            (start == 0 || promises.again == 0) && watermark <= end && end >= promises.again,
            "{context}: {start} {end} {promises:?}"
        );
        assert!(!promises.deleted || end <= 2, "{context}: the deleted log is back with {end} records");
    } else {
        assert_eq!(promises.again, 0, "{context}: the second log is gone");
    }
    let clean = node.loads.iter().all(|load| load.was_clean);
    assert!(clean || !promises.clean, "{context}: the marker is gone");
    if clean && promises.flushed > 0 {
        let logs = node.logs.lock().unwrap();
        assert_eq!(logs[&key("kept", 0)].log.log_end_offset().0, 15, "{context}: called clean, but is not");
    }
    drop(node);
}

/// `partition.metadata` is written in place, so a crash may leave a part of it, which `Log::open` takes for corruption.
/// Without this the directory would be offline; to be dropped when the log reads such a file as missing.
fn remove_torn_topic_ids(fs: &MemFs) {
    for dir in DIRS.map(Path::new) {
        for (name, info) in fs.list(dir).unwrap_or_default() {
            let path = dir.join(name).join("partition.metadata");
            if info.is_dir && fs.info(&path).is_ok() {
                let whole = read_file(fs, &path, 100).unwrap().iter().filter(|b| **b != 0).count() == 43;
                if !whole {
                    fs.remove_file(&path).unwrap();
                }
            }
        }
    }
}

#[test]
fn promises_hold_over_a_crash_at_every_operation() {
    let mut runs = 0;
    for at in 0.. {
        let fs = MemFs::new();
        fs.set_now_ms(NOW);
        fs.cut_power_at(at);
        let mut promises = Promises::default();
        let finished = live(&fs, &mut promises).is_ok();
        for seed in 0..8 {
            let after = fs.fork();
            after.crash(seed * 1000 + at);
            check(&after, &promises, &format!("crash before operation {at}, seed {seed}"));
            // And once more, as the start writes too.
            after.crash(seed);
            check(
                &after,
                &Promises { clean: false, ..promises },
                &format!("second crash after {at}, seed {seed}"),
            );
            runs += 1;
        }
        if finished {
            assert!(promises.clean && runs > 500, "{runs} runs");
            break;
        }
    }
}
