//! Large files go in steps: what others see meanwhile, and what a stop, a crash or a reader in the middle leaves.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_storage::dir::{REMOVAL_STEP_BYTES, apply_retention, remove_old_files};
use ottla_storage::fs::{Fs, FsFile, MemFs, OpenMode, exists, read_file};

use super::support::{NOW, Node, formatted, key, names};

const DELETED: &str = "/a/t-0.00000000000000000000000000001234-delete";
const LATER: i64 = NOW + 60_000;
/// More than four steps.
const LARGE: u64 = 4 * REMOVAL_STEP_BYTES + 1;

fn log_file(base: i64) -> String {
    format!("{base:020}.log")
}

fn make_large(fs: &MemFs, path: &Path) {
    let file = fs.open(path, OpenMode::Write).unwrap();
    file.set_len(LARGE).unwrap();
    file.sync_data().unwrap();
}

/// A node with a deleted log that has one large segment among small ones.
fn with_deleted() -> (MemFs, Node) {
    let fs = formatted(&["/a"]);
    let node = Node::start(&fs, &["/a"]).unwrap();
    for topic in ["kept", "t"] {
        node.create(topic, 0).unwrap();
        node.append(topic, 0, 20).unwrap();
        node.flush(topic, 0).unwrap();
    }
    node.delete("t", 0).unwrap();
    make_large(&fs, &Path::new(DELETED).join(log_file(0)));
    (fs, node)
}

fn sizes(fs: &MemFs, dir: &Path) -> Vec<(String, u64)> {
    fs.list(dir).unwrap_or_default().into_iter().map(|(name, info)| (name, info.len)).collect()
}

fn remove(node: &Node, pause: &mut dyn FnMut() -> bool) -> usize {
    node.dirs.remove_deleted(&node.dirs.dirs()[0], LATER, 60_000, pause).0
}

#[test]
fn a_large_segment_shrinks_from_its_end_under_a_name_that_says_what_it_is() {
    let (fs, node) = with_deleted();
    let path = Path::new(DELETED).join(log_file(0) + ".deleted");
    let mut seen = Vec::new();
    let removed = remove(&node, &mut || {
        let left: Vec<String> =
            names(&fs, DELETED).into_iter().filter(|name| name.starts_with("0000")).collect();
        assert!(left.iter().all(|name| name.ends_with(".deleted")), "{left:?}");
        seen.push(fs.info(&path).unwrap().len);
        true
    });
    assert_eq!(removed, 1);
    let expected: Vec<u64> = (0..4).rev().map(|steps| steps * REMOVAL_STEP_BYTES + 1).collect();
    assert_eq!(seen, expected);
    assert!(!exists(&fs, Path::new(DELETED)).unwrap());
}

#[test]
fn a_stop_in_the_middle_leaves_the_rest_to_the_next_start() {
    let (fs, node) = with_deleted();
    let mut pauses = 0;
    let removed = remove(&node, &mut || {
        pauses += 1;
        pauses < 2
    });
    assert_eq!((removed, pauses), (0, 2));
    let file = Path::new(DELETED).join(log_file(0) + ".deleted");
    assert_eq!(fs.info(&file).unwrap().len, LARGE - 2 * REMOVAL_STEP_BYTES);
    // It is not forgotten.
    assert_eq!(remove(&node, &mut || false), 0);
    assert_eq!(fs.info(&file).unwrap().len, LARGE - 3 * REMOVAL_STEP_BYTES);
    let kept = node.offsets("kept", 0);
    assert!(node.stop(None).into_iter().all(|(_, end)| end == Ok(true)));
    let node = Node::start(&fs, &["/a"]).unwrap();
    assert_eq!((node.loads[0].deleted, node.offsets("kept", 0)), (1, kept));
    assert_eq!(remove(&node, &mut || true), 1);
    assert!(!exists(&fs, Path::new(DELETED)).unwrap());
}

#[test]
fn what_is_being_read_stays_whole() {
    let (fs, node) = with_deleted();
    let path = Path::new(DELETED).join(log_file(0));
    let reader = fs.open(&path, OpenMode::Read).unwrap();
    assert_eq!(remove(&node, &mut || true), 0);
    assert_eq!(reader.len().unwrap(), LARGE);
    drop(reader);
    assert_eq!(remove(&node, &mut || true), 1);
    assert!(!exists(&fs, Path::new(DELETED)).unwrap());
}

/// A log whose oldest segments are removed, the first of them large; with a reader of that.
fn with_removed_segments() -> (MemFs, Node, PathBuf, Arc<dyn FsFile>) {
    let fs = formatted(&["/a"]);
    let node = Node::start(&fs, &["/a"]).unwrap();
    node.create("t", 0).unwrap();
    node.append("t", 0, 100).unwrap();
    let path = Path::new("/a/t-0").join(log_file(0));
    let reader = fs.open(&path, OpenMode::Read).unwrap();
    assert!(apply_retention(&node.dirs, &node.dirs.dirs()[0], &node, NOW).unwrap().segments > 10);
    let path = Path::new("/a/t-0").join(log_file(0) + ".deleted");
    make_large(&fs, &path);
    (fs, node, path, reader)
}

fn remove_old(node: &Node, pause: &mut dyn FnMut() -> bool) -> (usize, Option<i64>) {
    remove_old_files(&node.dirs, &node.dirs.dirs()[0], node, LATER, pause).unwrap()
}

#[test]
fn a_removed_segment_waits_for_its_readers() {
    let (fs, node, path, reader) = with_removed_segments();
    let (removed, next_ms) = remove_old(&node, &mut || true);
    assert!(removed > 10 && next_ms == Some(LATER), "{removed} {next_ms:?}");
    assert_eq!(reader.len().unwrap(), LARGE);
    assert_eq!(names(&fs, "/a/t-0").iter().filter(|name| name.ends_with(".deleted")).count(), 1);
    drop(reader);
    assert_eq!(remove_old(&node, &mut || true), (1, None));
    assert!(!exists(&fs, &path).unwrap());
}

#[test]
fn a_removed_segment_that_a_stop_left_is_removed_after_the_next_start() {
    let (fs, node, path, reader) = with_removed_segments();
    drop(reader);
    let mut steps = 2;
    remove_old(&node, &mut || {
        steps -= 1;
        steps > 0
    });
    assert_eq!(fs.info(&path).unwrap().len, LARGE - 2 * REMOVAL_STEP_BYTES);
    let before = node.offsets("t", 0);
    node.stop(None);
    let node = Node::start(&fs, &["/a"]).unwrap();
    assert_eq!(node.offsets("t", 0), before);
    let left: Vec<String> =
        names(&fs, "/a/t-0").into_iter().filter(|name| name.ends_with(".deleted")).collect();
    assert_eq!(left, [log_file(0) + ".deleted"], "small ones go with the start");
    let mut pauses = 0;
    let (removed, next_ms) = remove_old_files(&node.dirs, &node.dirs.dirs()[0], &node, NOW, &mut || {
        pauses += 1;
        true
    })
    .unwrap();
    assert_eq!((removed, next_ms, pauses), (1, None, 2));
    assert!(!exists(&fs, &path).unwrap());
}

#[test]
fn a_crash_at_every_step_leaves_what_the_next_start_finishes() {
    let mut at = 0;
    loop {
        let (fs, node) = with_deleted();
        let kept = node.offsets("kept", 0);
        fs.cut_power_at(fs.operations() + at);
        let is_done = remove(&node, &mut || true) == 1;
        drop(node);
        for seed in 0..4 {
            let after = fs.fork();
            after.crash(seed);
            let context = format!("crash at {at}, seed {seed}");
            for (name, len) in sizes(&after, Path::new(DELETED)) {
                let is_whole = name != log_file(0) || len == LARGE || len < 2000;
                assert!(is_whole, "{context}: {name} with {len} bytes");
            }
            let node = Node::start(&after, &["/a"]).unwrap_or_else(|e| panic!("{context}: {e}"));
            assert_eq!(
                node.offsets("kept", 0).map(|(start, _, end)| (start, end)),
                kept.map(|(start, _, end)| (start, end))
            );
            assert_eq!(node.dirs.place(&key("t", 0)).map(|dir| dir.path().to_owned()), None, "{context}");
            remove(&node, &mut || true);
            assert!(!exists(&after, Path::new(DELETED)).unwrap(), "{context}");
        }
        if is_done {
            assert!(at > 10, "{at} steps");
            return;
        }
        at += 1;
    }
}

/// The files of a log that are in use, and what they hold.
fn live_files(fs: &MemFs, dir: &str) -> Vec<(String, Vec<u8>)> {
    let live = names(fs, dir).into_iter().filter(|name| name.ends_with(".log"));
    live.map(|name| (name.clone(), read_file(fs, &Path::new(dir).join(name), LARGE).unwrap())).collect()
}

#[test]
fn a_crash_at_every_step_of_removing_old_segments_harms_nothing_that_is_in_use() {
    let mut at = 0;
    loop {
        let (fs, node, _, reader) = with_removed_segments();
        drop(reader);
        node.create("kept", 0).unwrap();
        node.append("kept", 0, 20).unwrap();
        node.flush("kept", 0).unwrap();
        let logs = ["/a/t-0", "/a/kept-0"];
        let offsets = |node: &Node| {
            ["t", "kept"].map(|topic| node.offsets(topic, 0).map(|(start, _, end)| (start, end)))
        };
        let (before, files) = (offsets(&node), logs.map(|dir| live_files(&fs, dir)));
        fs.cut_power_at(fs.operations() + at);
        let removed = remove_old_files(&node.dirs, &node.dirs.dirs()[0], &node, LATER, &mut || true);
        let is_done = removed.is_ok();
        drop(node);
        for seed in 0..6 {
            let after = fs.fork();
            after.crash(seed * 1000 + at);
            let context = format!("crash at {at}, seed {seed}");
            // The removed segment may have its old name again, but then it is whole.
            let came_back = after.info(&Path::new(logs[0]).join(log_file(0)));
            assert!(came_back.is_err() || came_back.is_ok_and(|info| info.len == LARGE), "{context}");
            let node = Node::start(&after, &["/a"]).unwrap_or_else(|e| panic!("{context}: {e}"));
            assert_eq!(offsets(&node), before, "{context}");
            apply_retention(&node.dirs, &node.dirs.dirs()[0], &node, NOW).unwrap();
            assert_eq!(remove_old(&node, &mut || true).1, None, "{context}");
            assert_eq!(offsets(&node), before, "{context}");
            assert_eq!(logs.map(|dir| live_files(&after, dir)), files, "{context}");
            assert!(!names(&after, logs[0]).iter().any(|name| name.ends_with(".deleted")), "{context}");
        }
        if is_done {
            assert!(at > 20, "{at} steps");
            return;
        }
        at += 1;
    }
}

#[test]
fn a_disk_that_fails_in_the_middle_takes_the_directory_offline() {
    let (fs, node) = with_deleted();
    let mut pauses = 0;
    let removed = remove(&node, &mut || {
        pauses += 1;
        if pauses == 2 {
            fs.cut_power_at(fs.operations());
        }
        true
    });
    assert_eq!((removed, pauses), (0, 2));
    assert!(!node.dirs.dirs()[0].is_online());
}

#[test]
fn many_logs_are_deleted_with_few_syncs() {
    let fs = formatted(&["/a", "/b"]);
    let node = Node::start(&fs, &["/a", "/b"]).unwrap();
    for partition in 0..600 {
        node.create("many", partition).unwrap();
    }
    node.create("kept", 0).unwrap();
    let logs = (0..600).map(|partition| node.take(&key("many", partition))).collect();
    let before = fs.operations();
    let mut unique = 0;
    let failed = node.dirs.delete_all(
        logs,
        || {
            unique += 1;
            unique
        },
        NOW,
    );
    assert_eq!(failed, []);
    // 300 renames in each directory, and two syncs.
    assert_eq!(fs.operations() - before, 600 + 4);
    for seed in 0..4 {
        let after = fs.fork();
        after.crash(seed);
        let left = ["/a", "/b"]
            .map(|dir| names(&after, dir).iter().filter(|name| name.ends_with("-delete")).count());
        assert_eq!(left, [300, 300]);
    }
    assert_eq!(node.remove_deleted(LATER, 60_000), (600, None));
    assert!(node.offsets("kept", 0).is_some());
}
