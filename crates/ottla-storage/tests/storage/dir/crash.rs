//! A node's whole life, with the power cut at every operation.

use std::path::Path;

use ottla_storage::dir::{Checkpoint, DirOffline, LogKey, NewLog, flush_due, write_checkpoints};
use ottla_storage::fs::{Effect, Fault, Fs, MemFs, Operation};
use ottla_storage::log::ReadRequest;
use ottla_types::{LeaderEpoch, Offset};

use super::support::{NOW, Node, checkpoint, format, formatted, key, names, new_log, offsets};

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
    node.remove_deleted(NOW + 100_000, 60_000);
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

/// A node on which a replica in `/a` is copied to `/b`, all of it durable.
fn about_to_promote() -> (MemFs, Node, LogKey) {
    let fs = formatted(&DIRS);
    let node = Node::start(&fs, &DIRS).unwrap();
    let ids: Vec<_> = node.dirs.dirs().iter().map(|dir| dir.id()).collect();
    node.create_as(NewLog { dir_id: ids[0], ..new_log("t", 0) }).unwrap();
    node.append("t", 0, 3).unwrap();
    node.flush("t", 0).unwrap();
    let future = LogKey::future(key("t", 0).partition);
    node.create_as(NewLog { dir_id: ids[1], key: future.clone(), ..new_log("t", 0) }).unwrap();
    {
        let mut logs = node.logs.lock().unwrap();
        let upper_bound = Offset(3);
        let all = ReadRequest {
            offset: Offset(0),
            max_bytes: 1 << 20,
            min_one_batch: true,
            upper_bound,
            aborted_transactions: false,
        };
        let bytes = logs[&key("t", 0)].log.read(all).unwrap().slice.unwrap().read().unwrap();
        let copy = &mut logs.get_mut(&future).unwrap().log;
        copy.append_as_follower(&bytes, LeaderEpoch(i32::MAX), NOW).unwrap();
        copy.flush(NOW).unwrap();
    }
    (fs, node, future)
}

#[test]
fn a_crash_at_the_end_of_a_move_leaves_one_whole_replica() {
    let mut twins = 0;
    for at in 0.. {
        let (fs, node, future) = about_to_promote();
        fs.cut_power_at(at);
        let mut current = Some(node.take(&key("t", 0)));
        let finished = node.dirs.promote_future(&mut current, node.take(&future), 0x77, NOW).is_ok()
            && !fs.is_powered_off();
        for seed in 0..8 {
            let after = fs.fork();
            after.crash(seed * 1000 + at);
            let is_twin = ["/a", "/b"].iter().all(|dir| names(&after, dir).contains(&"t-0".to_owned()));
            twins += u32::from(is_twin);
            for _ in 0..2 {
                let context = format!("crash before operation {at}, seed {seed}");
                let node = Node::start(&after, &DIRS).unwrap_or_else(|e| panic!("{context}: {e}"));
                let (start, _, end) = node.offsets("t", 0).unwrap_or_else(|| panic!("{context}: gone"));
                assert_eq!((start, end), (0, 3), "{context}");
                assert!(node.dirs.dirs().iter().all(|dir| dir.is_loaded()), "{context}");
                drop(node);
                after.crash(seed);
            }
        }
        if finished {
            break;
        }
    }
    assert!(twins > 0);
}

/// The old replica is back, as if its disk had failed before it was renamed.
fn bring_back_old(fs: &MemFs) {
    let old = Path::new("/a/t-0.00000000000000000000000000000077-delete");
    fs.rename(old, Path::new("/a/t-0")).unwrap();
    fs.sync_dir(Path::new("/a")).unwrap();
}

#[test]
fn of_two_replicas_the_one_with_more_goes_on() {
    let (fs, node, future) = about_to_promote();
    let mut current = Some(node.take(&key("t", 0)));
    let moved = node.dirs.promote_future(&mut current, node.take(&future), 0x77, NOW).unwrap();
    node.logs.lock().unwrap().insert(key("t", 0), moved);
    node.append("t", 0, 2).unwrap();
    node.flush("t", 0).unwrap();
    bring_back_old(&fs);
    drop(node);
    fs.crash(1);
    let node = Node::start(&fs, &DIRS).unwrap();
    assert_eq!(node.dir_of("t", 0).as_deref(), Some(Path::new("/b")));
    assert_eq!(node.offsets("t", 0).map(|(start, _, end)| (start, end)), Some((0, 5)));
    assert_eq!(node.set_aside, [Path::new("/a/t-0.0000000000000000000000000000abcd-stray")]);
}

/// The disk of the copy failed over its new name, and then the one in use was cut to nothing. A start knows only that one has more, as if the
/// disk of the other had failed instead, and clients had been told that the rest is safe.
#[test]
fn of_two_replicas_the_one_with_more_goes_on_though_the_other_was_cut() {
    let (fs, node, future) = about_to_promote();
    fs.inject(Fault::new(Effect::Io).on(Operation::SyncDir).at("/b").times(1));
    let mut current = Some(node.take(&key("t", 0)));
    assert!(node.dirs.promote_future(&mut current, node.take(&future), 0x77, NOW).is_err());
    let mut current = current.unwrap();
    assert_eq!(current.dir.path(), Path::new("/a"));
    current.log.truncate_to(Offset(0), NOW).unwrap();
    // The process ends, the machine does not.
    drop((current, node));
    let node = Node::start(&fs, &DIRS).unwrap();
    assert_eq!(node.dir_of("t", 0).as_deref(), Some(Path::new("/b")));
    assert_eq!(node.offsets("t", 0).map(|(start, _, end)| (start, end)), Some((0, 3)));
    assert_eq!(node.set_aside, [Path::new("/a/t-0.0000000000000000000000000000abcd-stray")]);
}

/// The disk of the old one failed at the end of the move, and what was moved was cut for a new leader before that disk was back.
#[test]
fn of_two_replicas_with_different_ends_the_newer_one_goes_on_where_the_metadata_says() {
    for is_assigned in [true, false] {
        // The node of these tests says that everything is assigned to the first.
        let dirs = if is_assigned { ["/b", "/a"] } else { DIRS };
        let (fs, node, future) = about_to_promote();
        let mut current = Some(node.take(&key("t", 0)));
        let mut moved = node.dirs.promote_future(&mut current, node.take(&future), 0x77, NOW).unwrap();
        moved.log.truncate_to(Offset(1), NOW).unwrap();
        node.logs.lock().unwrap().insert(key("t", 0), moved);
        node.append_in("t", 0, LeaderEpoch(9), 1).unwrap();
        node.flush("t", 0).unwrap();
        bring_back_old(&fs);
        drop(node);
        fs.crash(1);
        let started = Node::start(&fs, &dirs);
        let Ok(node) = started else {
            assert!(!is_assigned);
            continue;
        };
        assert!(is_assigned);
        assert_eq!(node.dir_of("t", 0).as_deref(), Some(Path::new("/b")));
        assert_eq!(node.offsets("t", 0).map(|(start, _, end)| (start, end)), Some((0, 2)));
        assert_eq!(node.set_aside, [Path::new("/a/t-0.0000000000000000000000000000abcd-stray")]);
    }
}

/// A power cut during a move took the first segment of the copy and left a later one, which was completed and put in the place of the
/// whole log.
#[test]
fn of_a_copy_only_what_is_known_to_be_durable_counts_after_a_crash() {
    for is_checkpointed in [false, true] {
        let (fs, node, future) = about_to_promote();
        if is_checkpointed {
            let dir = node.dirs.place(&future).unwrap();
            write_checkpoints(&node.dirs, &dir, &node, &[Checkpoint::RecoveryPoints]).unwrap();
        }
        drop(node);
        let node = Node::start(&fs, &DIRS).unwrap();
        let end = node.logs.lock().unwrap()[&future].log.log_end_offset();
        // Its end is in the active segment, whose indexes nobody has synced.
        assert_eq!(end.0 > 0, is_checkpointed, "{end}");
        assert_eq!(node.offsets("t", 0).map(|(start, _, end)| (start, end)), Some((0, 3)));
    }
}

/// A copy was cut, and grew again over what the checkpoint still called durable: a power cut left it corrupt below there.
#[test]
fn the_recovery_point_of_a_copy_goes_back_with_it() {
    let recovery_point = |fs: &MemFs| checkpoint(fs, "/b", "recovery-point-offset-checkpoint");
    let (fs, node, future) = about_to_promote();
    let dir = node.dirs.place(&future).unwrap();
    write_checkpoints(&node.dirs, &dir, &node, &ALL).unwrap();
    assert_eq!(recovery_point(&fs), offsets(&[("t", 0, 2)]));
    // As after the power has taken the end of the copy.
    node.logs.lock().unwrap().get_mut(&future).unwrap().log.truncate_to(Offset(1), NOW).unwrap();
    drop((node, dir));
    let node = Node::start(&fs, &DIRS).unwrap();
    assert_eq!(recovery_point(&fs), offsets(&[("t", 0, 1)]));
    let mut copy = node.take(&future);
    copy.log.truncate_to(Offset(0), NOW).unwrap();
    node.dirs.checkpoint_cut(&copy).unwrap();
    assert_eq!(recovery_point(&fs), offsets(&[("t", 0, 0)]));
    // Nobody can look at the copy, which is being written to.
    write_checkpoints(&node.dirs, &copy.dir, &node, &ALL).unwrap();
    assert_eq!(recovery_point(&fs), offsets(&[("t", 0, 0)]));
}
