//! Between start and end: placing, deleting and moving logs, and the duties.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ottla_storage::dir::{
    Checkpoint, CreateError, LogKey, LogOwner, NewLog, apply_retention, close_idle_files, flush_due,
    remove_old_files, write_checkpoints,
};
use ottla_storage::fs::{Effect, Fault, Operation};
use ottla_storage::log::Log;
use ottla_types::{Offset, TopicPartition, Uuid};

use super::support::{NOW, Node, checkpoint, formatted, key, names, new_log, offsets};

const WRITTEN: [Checkpoint; 3] =
    [Checkpoint::RecoveryPoints, Checkpoint::LogStarts, Checkpoint::HighWatermarks];

#[test]
fn a_new_log_goes_to_the_assigned_directory_or_else_to_the_emptiest() {
    let fs = formatted(&["/a", "/b"]);
    let node = Node::start(&fs, &["/a", "/b"]).unwrap();
    let b = node.dirs.dirs()[1].id();
    node.create_as(NewLog { dir_id: b, ..new_log("t", 0) }).unwrap();
    node.create_as(NewLog { dir_id: b, ..new_log("t", 1) }).unwrap();
    node.create("t", 2).unwrap();
    node.create_as(NewLog { dir_id: Some(Uuid::DIR_UNASSIGNED), ..new_log("t", 3) }).unwrap();
    node.create_as(NewLog { dir_id: Some(Uuid::DIR_LOST), ..new_log("t", 4) }).unwrap();
    let placed: Vec<PathBuf> = (0..5).map(|partition| node.dir_of("t", partition).unwrap()).collect();
    assert_eq!(placed, ["/b", "/b", "/a", "/a", "/a"].map(PathBuf::from));
    assert!(names(&fs, "/b").contains(&"t-1".to_owned()));
    assert!(matches!(node.create("t", 2), Err(CreateError::Exists(_))));
    let unknown = Uuid::from_parts(9, 9);
    let refusal = node.create_as(NewLog { dir_id: Some(unknown), ..new_log("t", 9) });
    assert!(matches!(refusal, Err(CreateError::NoSuchDir(id)) if id == unknown));
    assert_eq!(node.dirs.log_count(), 5);
}

#[test]
fn cordoned_directories_get_only_what_is_assigned_to_them() {
    let fs = formatted(&["/a", "/b"]);
    let node = Node::start(&fs, &["/a", "/b"]).unwrap();
    let ids: Vec<Uuid> = node.dirs.dirs().iter().map(|dir| dir.id().unwrap()).collect();
    node.dirs.set_cordoned(BTreeSet::from([ids[0]]));
    node.create("t", 0).unwrap();
    node.create("t", 1).unwrap();
    node.create_as(NewLog { dir_id: Some(ids[0]), ..new_log("t", 2) }).unwrap();
    node.dirs.set_cordoned(ids.into_iter().collect());
    node.create("t", 3).unwrap();
    let placed: Vec<PathBuf> = (0..4).map(|partition| node.dir_of("t", partition).unwrap()).collect();
    assert_eq!(placed, ["/b", "/b", "/a", "/a"].map(PathBuf::from));
}

#[test]
fn creating_goes_round_a_directory_that_fails() {
    let fs = formatted(&["/a", "/b"]);
    let node = Node::start(&fs, &["/a", "/b"]).unwrap();
    fs.inject(Fault::new(Effect::NoSpace).on(Operation::CreateDir).at("/a/"));
    node.create("t", 0).unwrap();
    assert_eq!(node.dir_of("t", 0), Some(PathBuf::from("/b")));
    assert_eq!(node.dirs.first_offline().unwrap().dir, Path::new("/a"));
    // A replica that is not new may be on the failed disk: an empty log in its place would be wrong.
    let old = NewLog { is_new: false, ..new_log("t", 1) };
    assert!(matches!(node.create_as(old), Err(CreateError::MayBeOffline(_))));
    fs.inject(Fault::new(Effect::Io));
    assert!(matches!(node.create("t", 2), Err(CreateError::NoneAvailable(Some(_)))));
    assert_eq!(node.dirs.online().count(), 0);
    assert!(matches!(node.create("t", 3), Err(CreateError::NoneAvailable(None))));
    assert_eq!(node.dirs.log_count(), 1);
}

#[test]
fn checkpoints_have_what_the_logs_say() {
    let fs = formatted(&["/a", "/b"]);
    let node = Node::start(&fs, &["/a", "/b"]).unwrap();
    for partition in 0..4 {
        node.create("t", partition).unwrap();
    }
    node.append("t", 0, 5).unwrap();
    node.append("t", 2, 5).unwrap();
    node.flush("t", 0).unwrap();
    node.logs.lock().unwrap().get_mut(&key("t", 2)).unwrap().log.advance_log_start(Offset(2)).unwrap();
    let dir = &node.dirs.dirs()[0];
    write_checkpoints(&node.dirs, dir, &node, &WRITTEN).unwrap();
    let read = |name| checkpoint(&fs, "/a", name);
    let recovery_point = node.logs.lock().unwrap()[&key("t", 0)].log.recovery_point();
    assert!(recovery_point > Offset(0));
    assert_eq!(read("recovery-point-offset-checkpoint"), offsets(&[("t", 0, recovery_point.0), ("t", 2, 0)]));
    assert_eq!(read("log-start-offset-checkpoint"), offsets(&[("t", 2, 2)]));
    assert_eq!(read("replication-offset-checkpoint"), offsets(&[("t", 0, 5), ("t", 2, 5)]));
    assert!(!names(&fs, "/b").iter().any(|name| name.contains("checkpoint")));
}

#[test]
fn a_log_that_nobody_owns_yet_keeps_its_entries() {
    let fs = formatted(&["/a"]);
    let node = Node::start(&fs, &["/a"]).unwrap();
    node.create("t", 0).unwrap();
    node.append("t", 0, 5).unwrap();
    node.stop(None);
    let node = Node::start(&fs, &["/a"]).unwrap();
    let placed = node.take(&key("t", 0));
    write_checkpoints(&node.dirs, &node.dirs.dirs()[0], &node, &WRITTEN).unwrap();
    assert_eq!(checkpoint(&fs, "/a", "replication-offset-checkpoint"), offsets(&[("t", 0, 5)]));
    assert_eq!(checkpoint(&fs, "/a", "recovery-point-offset-checkpoint"), offsets(&[("t", 0, 5)]));
    drop(placed);
}

#[test]
fn cleaner_offsets_of_logs_that_are_gone_are_dropped() {
    let fs = formatted(&["/a"]);
    let node = Node::start(&fs, &["/a"]).unwrap();
    node.create("t", 0).unwrap();
    let dir = &node.dirs.dirs()[0];
    dir.update_checkpoint(Checkpoint::CleanerOffsets, |entries| {
        entries.extend(offsets(&[("t", 0, 3), ("u", 0, 4)]));
    })
    .unwrap();
    write_checkpoints(&node.dirs, dir, &node, &[Checkpoint::CleanerOffsets]).unwrap();
    assert_eq!(checkpoint(&fs, "/a", "cleaner-offset-checkpoint"), offsets(&[("t", 0, 3)]));
}

#[test]
fn a_deleted_log_is_renamed_at_once_and_removed_later() {
    let fs = formatted(&["/a"]);
    let node = Node::start(&fs, &["/a"]).unwrap();
    node.create("t", 0).unwrap();
    node.append("t", 0, 5).unwrap();
    node.delete("t", 0).unwrap();
    assert!(names(&fs, "/a").contains(&"t-0.00000000000000000000000000001234-delete".to_owned()));
    assert_eq!(node.dirs.place(&key("t", 0)).map(|dir| dir.path().to_owned()), None);
    node.create("t", 0).unwrap();
    assert_eq!(node.offsets("t", 0), Some((0, 0, 0)));
    assert_eq!(node.remove_deleted(NOW, 60_000), (0, Some(NOW + 60_000)));
    assert_eq!(node.remove_deleted(NOW + 60_001, 60_000), (1, None));
    let left: Vec<String> = names(&fs, "/a").into_iter().filter(|name| name.starts_with("t-")).collect();
    assert_eq!(left, ["t-0"]);
}

#[test]
fn a_new_log_does_not_inherit_offsets_of_a_deleted_one() {
    let fs = formatted(&["/a"]);
    let node = Node::start(&fs, &["/a"]).unwrap();
    node.create("t", 0).unwrap();
    node.append("t", 0, 9).unwrap();
    node.flush("t", 0).unwrap();
    node.logs.lock().unwrap().get_mut(&key("t", 0)).unwrap().log.advance_log_start(Offset(7)).unwrap();
    write_checkpoints(&node.dirs, &node.dirs.dirs()[0], &node, &WRITTEN).unwrap();
    node.delete("t", 0).unwrap();
    // The entries may stay as long as there is no log, also over a restart …
    drop(node);
    fs.crash(5);
    assert_eq!(checkpoint(&fs, "/a", "log-start-offset-checkpoint"), offsets(&[("t", 0, 7)]));
    let node = Node::start(&fs, &["/a"]).unwrap();
    // … but not into the life of the next.
    node.create("t", 0).unwrap();
    node.append("t", 0, 2).unwrap();
    node.flush("t", 0).unwrap();
    drop(node);
    fs.crash(6);
    let node = Node::start(&fs, &["/a"]).unwrap();
    assert_eq!(node.offsets("t", 0), Some((0, 0, 2)));
}

#[test]
fn a_log_set_aside_keeps_its_files() {
    let fs = formatted(&["/a"]);
    let node = Node::start(&fs, &["/a"]).unwrap();
    node.create("t", 0).unwrap();
    let path = node.dirs.set_aside(node.take(&key("t", 0)), 0x99).unwrap();
    assert_eq!(path, Path::new("/a/t-0.00000000000000000000000000000099-stray"));
    assert_eq!(node.dirs.log_count(), 0);
    assert!(names(&fs, path.to_str().unwrap()).contains(&"00000000000000000000.log".to_owned()));
}

#[test]
fn a_caught_up_future_log_takes_the_place_of_the_current_one() {
    let fs = formatted(&["/a", "/b"]);
    let node = Node::start(&fs, &["/a", "/b"]).unwrap();
    let ids: Vec<_> = node.dirs.dirs().iter().map(|dir| dir.id()).collect();
    node.create_as(NewLog { dir_id: ids[0], ..new_log("t", 0) }).unwrap();
    node.append("t", 0, 3).unwrap();
    let partition = TopicPartition::new("t", 0);
    let future = LogKey::future(partition);
    node.create_as(NewLog { dir_id: ids[1], key: future.clone(), ..new_log("t", 0) }).unwrap();
    assert!(names(&fs, "/b").contains(&"t-0.00000000000000000000000000000042-future".to_owned()));
    node.dirs.dirs()[0]
        .update_checkpoint(Checkpoint::CleanerOffsets, |entries| entries.extend(offsets(&[("t", 0, 2)])))
        .unwrap();

    let mut current = Some(node.take(&key("t", 0)));
    let mut moved = node.dirs.promote_future(&mut current, node.take(&future), 0x77, NOW).unwrap();
    assert!(current.is_none());
    assert_eq!(moved.key, key("t", 0));
    assert_eq!(moved.log.dir(), Path::new("/b/t-0"));
    moved.log.flush(NOW).unwrap();
    assert_eq!(node.dir_of("t", 0), Some(PathBuf::from("/b")));
    assert_eq!(node.dirs.place(&future).map(|dir| dir.path().to_owned()), None);
    assert!(names(&fs, "/a").contains(&"t-0.00000000000000000000000000000077-delete".to_owned()));
    assert_eq!(checkpoint(&fs, "/a", "cleaner-offset-checkpoint"), offsets(&[]));
    assert_eq!(checkpoint(&fs, "/b", "cleaner-offset-checkpoint"), offsets(&[("t", 0, 2)]));
}

#[test]
fn a_failed_promotion_leaves_the_current_log_alone() {
    let fs = formatted(&["/a", "/b"]);
    let node = Node::start(&fs, &["/a", "/b"]).unwrap();
    let ids: Vec<_> = node.dirs.dirs().iter().map(|dir| dir.id()).collect();
    node.create_as(NewLog { dir_id: ids[0], ..new_log("t", 0) }).unwrap();
    let future = LogKey::future(TopicPartition::new("t", 0));
    node.create_as(NewLog { dir_id: ids[1], key: future.clone(), ..new_log("t", 0) }).unwrap();
    fs.inject(Fault::new(Effect::Io).on(Operation::Rename).at("/b/"));
    let mut current = Some(node.take(&key("t", 0)));
    let failure = node.dirs.promote_future(&mut current, node.take(&future), 0x77, NOW).unwrap_err();
    assert_eq!(failure.dir, Path::new("/b"));
    assert!(current.is_some_and(|current| current.dir.is_online()));
}

#[test]
fn retention_and_removal_of_files_reach_every_log() {
    let fs = formatted(&["/a"]);
    let node = Node::start(&fs, &["/a"]).unwrap();
    for partition in 0..2 {
        node.create("t", partition).unwrap();
        node.append("t", partition, 100).unwrap();
    }
    let dir = &node.dirs.dirs()[0];
    let done = apply_retention(&node.dirs, dir, &node, NOW).unwrap();
    assert!(done.segments > 20 && done.bytes > 20_000, "{done:?}");
    for partition in 0..2 {
        let (start, _, end) = node.offsets("t", partition).unwrap();
        assert!(start > 70 && end == 100, "{start}");
    }
    assert_eq!(apply_retention(&node.dirs, dir, &node, NOW).unwrap().segments, 0);
    let (removed, next_ms) = remove_old_files(&node.dirs, dir, &node, NOW, &mut || true).unwrap();
    assert_eq!((removed, next_ms), (0, Some(NOW + 60_000)));
    let (removed, next_ms) = remove_old_files(&node.dirs, dir, &node, NOW + 60_000, &mut || true).unwrap();
    assert!(removed >= 2 * done.segments && next_ms.is_none());
    assert!(!names(&fs, "/a/t-0").iter().any(|name| name.ends_with(".deleted")));
}

#[test]
fn due_flushes_make_rolled_segments_durable() {
    let fs = formatted(&["/a"]);
    let node = Node::start(&fs, &["/a"]).unwrap();
    node.create("t", 0).unwrap();
    node.create("t", 1).unwrap();
    node.append("t", 0, 100).unwrap();
    let dir = &node.dirs.dirs()[0];
    assert_eq!(flush_due(&node.dirs, dir, &node, NOW).unwrap(), 1);
    assert_eq!(flush_due(&node.dirs, dir, &node, NOW).unwrap(), 0);
    let durable = node.logs.lock().unwrap()[&key("t", 0)].log.durable_offset();
    assert_eq!(durable, Offset(100));
    node.flush("t", 1).unwrap();
    assert_eq!(close_idle_files(&node.dirs, dir, &node, NOW, 10_000).unwrap(), 2);
    assert_eq!(close_idle_files(&node.dirs, dir, &node, NOW + 10_000, 10_000).unwrap(), 0);
}

#[test]
fn a_failed_sync_takes_only_its_directory_offline() {
    let fs = formatted(&["/a", "/b"]);
    let node = Node::start(&fs, &["/a", "/b"]).unwrap();
    node.create("t", 0).unwrap();
    node.create("t", 1).unwrap();
    for partition in 0..2 {
        node.append("t", partition, 100).unwrap();
    }
    fs.inject(Fault::new(Effect::Io).on(Operation::Sync).at("/a/").times(1));
    let [a, b] = node.dirs.dirs() else { panic!("two directories") };
    let failure = flush_due(&node.dirs, a, &node, NOW).unwrap_err();
    assert!(failure.reason.contains("/a/t-0"), "{failure}");
    assert_eq!(flush_due(&node.dirs, b, &node, NOW).unwrap(), 1);
    assert!(!a.is_online() && b.is_online());
    for result in [
        write_checkpoints(&node.dirs, a, &node, &WRITTEN),
        apply_retention(&node.dirs, a, &node, NOW).map(|_| ()),
        flush_due(&node.dirs, a, &node, NOW).map(|_| ()),
    ] {
        assert_eq!(result, Err(failure.clone()), "the first reason stays");
    }
    assert_eq!(node.dirs.forget_logs_in(a), [key("t", 0)]);
    assert_eq!(node.dirs.logs_in(b), [key("t", 1)]);
    node.append("t", 1, 1).unwrap();
}

/// Lends each log for a ticket only, as if it were out for a moment afterwards.
struct Once<'a>(&'a Node, Mutex<BTreeSet<LogKey>>);

impl LogOwner for Once<'_> {
    fn with_log(&self, key: &LogKey, work: &mut dyn FnMut(&mut Log)) {
        if self.1.lock().unwrap().insert(key.clone()) {
            self.0.with_log(key, work);
        }
    }
}

#[test]
fn a_failed_sync_counts_also_when_its_log_is_out_for_a_moment() {
    let fs = formatted(&["/a"]);
    let node = Node::start(&fs, &["/a"]).unwrap();
    node.create("t", 0).unwrap();
    node.append("t", 0, 100).unwrap();
    fs.inject(Fault::new(Effect::Io).on(Operation::Sync).times(1));
    let [a] = node.dirs.dirs() else { panic!("one directory") };
    assert!(flush_due(&node.dirs, a, &Once(&node, Mutex::default()), NOW).is_err());
    assert!(!a.is_online());
    assert!(node.append("t", 0, 1).is_err());
}

#[test]
fn a_failed_append_or_checkpoint_takes_only_its_directory_offline() {
    for operation in [Operation::Write, Operation::Rename] {
        let fs = formatted(&["/a", "/b"]);
        let node = Node::start(&fs, &["/a", "/b"]).unwrap();
        node.create("t", 0).unwrap();
        node.create("t", 1).unwrap();
        fs.inject(Fault::new(Effect::NoSpace).on(operation).at("/a/"));
        let [a, b] = node.dirs.dirs() else { panic!("two directories") };
        let appended = node.append("t", 0, 50).is_ok();
        assert_eq!(appended, operation != Operation::Write);
        assert!(write_checkpoints(&node.dirs, a, &node, &WRITTEN).is_err());
        write_checkpoints(&node.dirs, b, &node, &WRITTEN).unwrap();
        assert!(!a.is_online() && b.is_online());
    }
}

#[test]
fn a_deletion_waits_for_a_flush_under_way() {
    let fs = formatted(&["/a"]);
    let node = Node::start(&fs, &["/a"]).unwrap();
    node.create("t", 0).unwrap();
    let dir = &node.dirs.dirs()[0];
    let (done, deleted) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let names_held = dir.hold_names();
        scope.spawn(|| done.send(node.delete("t", 0)).unwrap());
        assert!(deleted.recv_timeout(std::time::Duration::from_millis(50)).is_err());
        assert!(names(&fs, "/a").contains(&"t-0".to_owned()));
        drop(names_held);
        deleted.recv().unwrap().unwrap();
    });
    assert!(!names(&fs, "/a").contains(&"t-0".to_owned()));
}
