//! Snapshots: making, reading, keeping.

use std::path::Path;
use std::sync::Arc;

use ottla_storage::fs::{Fs, OpenMode};
use ottla_storage::log::Log;
use ottla_types::{LeaderEpoch, Offset};

use super::{LOG_DIR, config, formatted, open_with, started, voter};
use crate::snapshot::{SnapshotId, SnapshotRetention};
use crate::{METADATA_DIR, QuorumError, QuorumNode, VoterSet};

fn id(end: i64, epoch: i32) -> SnapshotId {
    SnapshotId { end_offset: Offset(end), epoch: LeaderEpoch(epoch) }
}

/// Makes a snapshot of all that is committed.
fn snapshot(node: &mut QuorumNode<Log>, time_ms: i64, values: &[&[u8]]) -> SnapshotId {
    let id = id(node.quorum().high_watermark().unwrap().0, node.quorum().election().epoch.0);
    let mut writer = node.begin_snapshot(id, time_ms, time_ms, 1).unwrap().unwrap();
    for value in values {
        writer.append(value.to_vec()).unwrap();
    }
    let size = writer.freeze().unwrap();
    node.finish_snapshot(id, size, time_ms);
    id
}

fn append(node: &mut QuorumNode<Log>, value: &[u8]) {
    node.append(&[value.to_vec()], true, 5_000).unwrap();
    node.flush(5_000).unwrap();
}

fn names(fs: &Arc<dyn Fs>) -> Vec<String> {
    let dir = Path::new(LOG_DIR).join(METADATA_DIR);
    let all = fs.list(&dir).unwrap().into_iter().map(|(name, _)| name);
    all.filter(|name| name.contains("checkpoint") && name != "leader-epoch-checkpoint").collect()
}

#[test]
fn a_snapshot_is_read_back_with_its_voters() {
    let fs = formatted();
    let mut node = started(&fs);
    append(&mut node, b"a");
    let id = snapshot(&mut node, 7_000, &[b"state"]);
    assert!(node.begin_snapshot(id, 0, 0, 2).unwrap().is_none(), "there is one already");
    let read = node.newest_snapshot().unwrap().unwrap();
    assert_eq!(read.id, id);
    assert_eq!(read.last_contained_log_timestamp, 7_000);
    assert_eq!(read.values().collect::<Vec<_>>(), [b"state"]);
    assert_eq!(read.batches[0].controls().len(), 3);
    drop(node);
    let node = started(&fs);
    assert_eq!(node.quorum().voters(), &VoterSet::new([voter(9093)]));
    assert_eq!(node.newest_snapshot().unwrap().unwrap().id, id);
}

#[test]
fn a_snapshot_ends_at_a_committed_batch() {
    let fs = formatted();
    let mut node = started(&fs);
    node.append(&[b"a".to_vec(), b"b".to_vec()], true, 5_000).unwrap();
    let uncommitted = node.begin_snapshot(id(5, 1), 0, 0, 1).unwrap_err();
    assert!(matches!(uncommitted, QuorumError::BadSnapshotId { .. }));
    node.flush(5_000).unwrap();
    let inside = node.begin_snapshot(id(4, 1), 0, 0, 1).unwrap_err();
    assert!(matches!(inside, QuorumError::BadSnapshotId { .. }));
    assert!(node.begin_snapshot(id(3, 1), 0, 0, 1).unwrap().is_some());
    assert!(node.begin_snapshot(id(5, 1), 0, 0, 1).unwrap().is_some());
}

#[test]
fn leftovers_of_a_crash_are_removed_at_start() {
    let fs = formatted();
    let mut node = started(&fs);
    append(&mut node, b"a");
    // Never frozen.
    drop(node.begin_snapshot(id(4, 1), 0, 0, 1).unwrap());
    let dir = Path::new(LOG_DIR).join(METADATA_DIR);
    fs.open(&dir.join("00000000000000000002-0000000001.checkpoint.deleted"), OpenMode::CreateNew).unwrap();
    assert_eq!(names(&fs).len(), 3);
    drop(node);
    started(&fs);
    assert_eq!(names(&fs), [SnapshotId::BOOTSTRAP.file_name()]);
}

#[test]
fn an_incomplete_or_damaged_snapshot_is_refused() {
    let fs = formatted();
    let mut node = started(&fs);
    append(&mut node, b"a");
    let id = snapshot(&mut node, 7_000, &[b"state"]);
    let path = node.snapshots().path(id);
    fs.set_read_only(&path, false).unwrap();
    let file = fs.open(&path, OpenMode::Write).unwrap();
    let len = file.len().unwrap();
    file.set_len(len - 75).unwrap();
    assert!(matches!(node.newest_snapshot(), Err(QuorumError::CorruptSnapshot { .. })), "no footer");
    file.set_len(len - 76).unwrap();
    assert!(matches!(node.newest_snapshot(), Err(QuorumError::CorruptSnapshot { .. })), "a cut batch");
    file.set_len(0).unwrap();
    assert!(matches!(node.newest_snapshot(), Err(QuorumError::CorruptSnapshot { .. })), "empty");
}

#[test]
fn every_flipped_byte_is_noticed() {
    let fs = formatted();
    let mut node = started(&fs);
    append(&mut node, b"a");
    let id = snapshot(&mut node, 7_000, &[b"state"]);
    let path = node.snapshots().path(id);
    fs.set_read_only(&path, false).unwrap();
    let file = fs.open(&path, OpenMode::Write).unwrap();
    let len = file.len().unwrap();
    let mut unnoticed = 0;
    for at in 0..len {
        let mut byte = [0];
        file.read_at(&mut byte, at).unwrap();
        file.write_at(&[byte[0] ^ 0x10], at).unwrap();
        unnoticed += u32::from(node.newest_snapshot().is_ok());
        file.write_at(&byte, at).unwrap();
    }
    // Base offset and leader epoch of the three batches are not covered by the checksum.
    assert_eq!(unnoticed, 3 * (8 + 4));
}

#[test]
fn a_snapshot_ahead_of_the_log_replaces_it() {
    let fs = formatted();
    let mut node = started(&fs);
    append(&mut node, b"a");
    let id = snapshot(&mut node, 7_000, &[b"state"]);
    drop(node);
    let dir = Path::new(LOG_DIR).join(METADATA_DIR);
    fs.remove_file(&dir.join("00000000000000000000.log")).unwrap();
    fs.remove_file(&dir.join("leader-epoch-checkpoint")).unwrap();
    let node = started(&fs);
    assert_eq!(node.log().log_start_offset(), id.end_offset);
    assert_eq!(node.quorum().election().epoch, LeaderEpoch(2));
    let batches = node.read_committed(id.end_offset, 1 << 20).unwrap();
    assert_eq!(batches[0].base_offset, id.end_offset);
    assert_eq!(batches[0].controls().len(), 1, "the voters are in the snapshot");
}

#[test]
fn retention_keeps_the_newest_snapshot_and_moves_the_start_of_the_log() {
    let fs = formatted();
    let mut node = started(&fs);
    let mut made = Vec::new();
    for n in 0..3 {
        append(&mut node, b"a");
        made.push(snapshot(&mut node, 10_000 + n * 1_000, &[b"state"]));
    }
    let by_age = SnapshotRetention { bytes: -1, ms: 5_000 };
    assert!(!node.clean(SnapshotRetention { bytes: -1, ms: -1 }, 99_000_000).unwrap());
    // The bootstrap snapshot's time is 1,000; the next one's 10,000.
    assert!(node.clean(by_age, 7_000).unwrap());
    assert_eq!(node.snapshots().iter().map(|(id, _)| id).collect::<Vec<_>>(), made);
    assert_eq!(node.log().log_start_offset(), made[0].end_offset);
    assert!(node.clean(SnapshotRetention { bytes: 1, ms: -1 }, 8_000).unwrap());
    assert_eq!(node.snapshots().iter().map(|(id, _)| id).collect::<Vec<_>>(), made[2..]);
    assert_eq!(names(&fs).iter().filter(|name| name.ends_with(".deleted")).count(), 3);
    node.clean(by_age, 8_000 + 60_000).unwrap();
    assert_eq!(names(&fs), [made[2].file_name()]);
    drop(node);
    let node = started(&fs);
    assert_eq!(node.newest_snapshot().unwrap().unwrap().id, made[2]);
    assert_eq!(node.quorum().voters(), &VoterSet::new([voter(9093)]));
}

#[test]
fn a_log_that_no_snapshot_covers_is_refused() {
    let fs = formatted();
    let mut node = started(&fs);
    append(&mut node, b"a");
    let id = snapshot(&mut node, 7_000, &[b"state"]);
    drop(node);
    let dir = Path::new(LOG_DIR).join(METADATA_DIR);
    fs.remove_file(&dir.join("00000000000000000000.log")).unwrap();
    fs.remove_file(&dir.join("leader-epoch-checkpoint")).unwrap();
    drop(started(&fs));
    fs.remove_file(&dir.join(id.file_name())).unwrap();
    assert!(matches!(open_with(&fs, config(9093)), Err(QuorumError::MissingSnapshot { .. })));
}
