//! The orderly end, and ends that only look so.

use std::path::{Path, PathBuf};

use ottla_storage::dir::{Admission, LogDirs};
use ottla_storage::fs::{Effect, Fault, Fs, MemFs, Operation};

use super::support::{NOW, Node, checkpoint, formatted, names, offsets, open, put, small_config};

const MARKER: &str = ".kafka_cleanshutdown";

fn running(dirs: &[&str]) -> (MemFs, Node) {
    let fs = formatted(dirs);
    let node = Node::start(&fs, dirs).unwrap();
    for partition in 0..4 {
        node.create("t", partition).unwrap();
        node.append("t", partition, 10).unwrap();
    }
    (fs, node)
}

#[test]
fn after_an_orderly_end_everything_is_there_and_nothing_is_recovered() {
    let (fs, node) = running(&["/a", "/b"]);
    let ends = node.stop(Some(17));
    assert_eq!(ends, [(PathBuf::from("/a"), Ok(true)), (PathBuf::from("/b"), Ok(true))]);
    let files = names(&fs, "/a");
    assert!(files.contains(&MARKER.to_owned()) && !files.contains(&".lock".to_owned()), "{files:?}");
    let ten = offsets(&[("t", 0, 10), ("t", 2, 10)]);
    assert_eq!(checkpoint(&fs, "/a", "recovery-point-offset-checkpoint"), ten);
    assert_eq!(checkpoint(&fs, "/a", "replication-offset-checkpoint"), ten);
    assert_eq!(checkpoint(&fs, "/a", "log-start-offset-checkpoint"), offsets(&[]));

    fs.crash(11);
    assert_eq!(open(&fs, &["/a", "/b"]).unwrap().last_broker_epoch(), Some(17));
    let node = Node::start(&fs, &["/a", "/b"]).unwrap();
    assert!(node.loads.iter().all(|load| load.was_clean && load.jobs == 2));
    for partition in 0..4 {
        assert_eq!(node.offsets("t", partition), Some((0, 10, 10)));
    }
}

#[test]
fn the_order_is_high_watermarks_logs_checkpoints_marker_lock() {
    let (fs, node) = running(&["/a"]);
    fs.take_trace();
    node.stop(None);
    let trace = fs.take_trace();
    let at = |operation, part: &str| {
        let found =
            trace.iter().position(|(op, path)| *op == operation && path.to_string_lossy().contains(part));
        found.unwrap_or_else(|| panic!("no {operation:?} of {part}"))
    };
    let order = [
        at(Operation::Rename, "/a/replication-offset-checkpoint"),
        at(Operation::Sync, "/a/t-0/"),
        at(Operation::Sync, "/a/t-3/"),
        at(Operation::Rename, "/a/recovery-point-offset-checkpoint"),
        at(Operation::Rename, "/a/log-start-offset-checkpoint"),
        at(Operation::Sync, MARKER),
        at(Operation::Remove, "/a/.lock"),
    ];
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn a_log_that_fails_to_close_denies_its_directory_the_marker() {
    let (fs, node) = running(&["/a", "/b"]);
    fs.inject(Fault::new(Effect::Io).on(Operation::Sync).at("/a/t-2/").times(1));
    let ends = node.stop(Some(17));
    assert!(ends[0].1.is_err() && ends[1].1 == Ok(true), "{ends:?}");
    assert!(!names(&fs, "/a").contains(&MARKER.to_owned()));
    assert!(names(&fs, "/b").contains(&MARKER.to_owned()));
    assert!(fs.try_lock(Path::new("/a/.lock")).unwrap().is_some());
    assert_eq!(open(&fs, &["/a", "/b"]).unwrap().last_broker_epoch(), None);
}

#[test]
fn logs_left_open_deny_the_marker() {
    let (fs, node) = running(&["/a"]);
    let logs = node.logs.into_inner().unwrap().into_values().collect();
    let shutdown = node.dirs.begin_shutdown(logs).remove(0);
    assert_eq!(shutdown.finish(None), Ok(false));
    assert!(!names(&fs, "/a").contains(&MARKER.to_owned()));
}

#[test]
fn several_threads_close_the_logs_of_one_directory() {
    let (fs, node) = running(&["/a"]);
    let logs = node.logs.into_inner().unwrap().into_values().collect();
    let shutdown = node.dirs.begin_shutdown(logs).remove(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| shutdown.close_logs(NOW).unwrap());
        }
    });
    assert_eq!(shutdown.finish(None), Ok(true));
    assert_eq!(checkpoint(&fs, "/a", "recovery-point-offset-checkpoint").len(), 4);
}

/// Loads only the first log, then ends.
fn stop_while_loading(dirs: &LogDirs) -> bool {
    let mut loads = dirs.begin_loading(NOW).unwrap();
    let job = loads.remove(0).jobs.remove(0);
    let admission = dirs.admit(job.run(small_config(), 1, NOW), &|_, _| false, 1).unwrap();
    let Admission::Admitted(placed, _) = admission else { panic!("{admission:?}") };
    assert!(!dirs.dirs()[0].is_loaded());
    let shutdown = dirs.begin_shutdown(vec![*placed]).remove(0);
    shutdown.write_high_watermarks().unwrap();
    shutdown.close_logs(NOW).unwrap();
    shutdown.finish(None).unwrap()
}

#[test]
fn an_end_while_loading_is_clean_only_if_the_one_before_was() {
    let (fs, node) = running(&["/a"]);
    node.stop(None);
    put(&fs, "/a/log-start-offset-checkpoint", b"0\n1\nt 3 4\n");
    let unclean = fs.fork();
    unclean.remove_file(&Path::new("/a").join(MARKER)).unwrap();
    for (fs, clean) in [(fs, true), (unclean, false)] {
        assert_eq!(stop_while_loading(&open(&fs, &["/a"]).unwrap()), clean);
        // The checkpoints know the logs that were not loaded, and still do.
        assert_eq!(checkpoint(&fs, "/a", "log-start-offset-checkpoint"), offsets(&[("t", 3, 4)]));
        assert_eq!(checkpoint(&fs, "/a", "recovery-point-offset-checkpoint").len(), 4);
        let node = Node::start(&fs, &["/a"]).unwrap();
        assert_eq!(node.loads[0].was_clean, clean);
        assert_eq!(node.offsets("t", 3), Some((4, 10, 10)));
    }
}

#[test]
fn a_node_that_never_loaded_leaves_no_marker() {
    let fs = formatted(&["/a"]);
    let dirs = open(&fs, &["/a"]).unwrap();
    let shutdown = dirs.begin_shutdown(Vec::new()).remove(0);
    assert_eq!(shutdown.finish(None), Ok(false));
    assert_eq!(names(&fs, "/a"), ["meta.properties"]);
}

/// So many that they are made durable together.
const MANY: i32 = 70;

fn running_with_many() -> (MemFs, Node) {
    let fs = formatted(&["/a"]);
    let node = Node::start(&fs, &["/a"]).unwrap();
    for partition in 0..MANY {
        node.create("many", partition).unwrap();
        if partition % 2 == 0 {
            node.append("many", partition, 2).unwrap();
        }
    }
    (fs, node)
}

fn ends_of_many(node: &Node) -> Vec<Option<(i64, i64, i64)>> {
    (0..MANY).map(|partition| node.offsets("many", partition)).collect()
}

#[test]
fn many_logs_are_made_durable_by_syncing_the_volume() {
    let (fs, node) = running_with_many();
    let before = ends_of_many(&node);
    fs.take_trace();
    assert_eq!(node.stop(Some(5)), [(PathBuf::from("/a"), Ok(true))]);
    let trace = fs.take_trace();
    let count = |wanted| trace.iter().filter(|(operation, _)| *operation == wanted).count();
    assert_eq!(count(Operation::SyncVolume), 2);
    assert!(count(Operation::Sync) < 10, "{} files were synced one by one", count(Operation::Sync));
    let marker = trace.iter().rposition(|(_, path)| path.to_string_lossy().contains(MARKER));
    let volume = trace.iter().rposition(|(operation, _)| *operation == Operation::SyncVolume);
    assert!(volume < marker, "the marker is written last");

    fs.crash(3);
    let node = Node::start(&fs, &["/a"]).unwrap();
    assert!(node.loads.iter().all(|load| load.was_clean && i32::try_from(load.jobs) == Ok(MANY)));
    assert_eq!(ends_of_many(&node), before);
    node.append("many", 1, 1).unwrap();
    node.append("many", 2, 1).unwrap();
}

#[test]
fn a_volume_that_cannot_be_synced_denies_the_marker() {
    let (fs, node) = running_with_many();
    fs.inject(Fault::new(Effect::Io).on(Operation::SyncVolume).times(1));
    let ends = node.stop(Some(5));
    assert!(ends[0].1.is_err(), "{ends:?}");
    assert!(!names(&fs, "/a").contains(&MARKER.to_owned()));
}

#[test]
fn a_power_cut_while_many_logs_are_closed_loses_nothing_that_was_durable() {
    let mut cuts = 0;
    for operation in (0..).step_by(23) {
        let (fs, node) = running_with_many();
        for partition in 0..MANY {
            node.flush("many", partition).unwrap();
            node.append("many", partition, 1).unwrap();
        }
        fs.cut_power_at(fs.operations() + operation);
        if node.stop(Some(5))[0].1 == Ok(true) {
            break;
        }
        cuts += 1;
        fs.crash(operation ^ 0x5eed);
        let node = Node::start(&fs, &["/a"]).unwrap();
        for partition in 0..MANY {
            let (start, _, end) = node.offsets("many", partition).expect("the log is there");
            let durable = if partition % 2 == 0 { 2 } else { 0 };
            assert!(start == 0 && (durable..=durable + 1).contains(&end), "many-{partition} ends at {end}");
        }
    }
    assert!(cuts > 10, "only {cuts} cuts");
}
