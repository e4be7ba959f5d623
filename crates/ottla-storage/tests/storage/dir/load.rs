//! What a start finds among the partition directories.

use std::path::{Path, PathBuf};

use ottla_record::Batches;
use ottla_storage::dir::{Checkpoint, write_checkpoints};
use ottla_storage::fs::{Effect, Fault, Fs, MemFs, Operation};
use ottla_storage::log::{Log, ReadRequest};
use ottla_types::{LeaderEpoch, Offset};

use super::support::{DirSummary, NOW, Node, TOPIC_ID, checkpoint, formatted, key, names, open, put};

#[test]
fn loads_current_and_future_logs_and_leaves_the_rest() {
    let fs = formatted(&["/a"]);
    for name in [
        "t-0",
        "t-1.0123456789abcdef0123456789abcdef-future",
        "u-0.00000000000000000000000000000001-delete",
        "v-0.x-stray",
        "__cluster_metadata-0",
        "remote-log-index-cache",
    ] {
        fs.create_dir_all(&Path::new("/a").join(name)).unwrap();
    }
    put(&fs, "/a/plain-file", b"");
    let node = Node::start(&fs, &["/a"]).unwrap();
    let expected = DirSummary { dir: PathBuf::from("/a"), was_clean: false, jobs: 2, strays: 1, deleted: 1 };
    assert_eq!(node.loads, [expected]);
    assert_eq!(node.dirs.log_count(), 2);
    assert!(node.dirs.dirs()[0].is_loaded());
    let kinds: Vec<bool> = node.logs.lock().unwrap().keys().map(|key| key.is_future).collect();
    assert_eq!(kinds, [false, true]);
    assert_eq!(node.remove_deleted(NOW + 59_999, 60_000), (0, Some(NOW + 60_000)));
    assert_eq!(node.remove_deleted(NOW + 60_000, 60_000), (1, None));
    assert!(!names(&fs, "/a").iter().any(|name| name.ends_with("-delete")));
    assert!(names(&fs, "/a").contains(&"v-0.x-stray".to_owned()));
}

#[test]
fn a_foreign_directory_stops_the_start_before_anything_is_touched() {
    let fs = formatted(&["/a", "/b"]);
    put(&fs, "/a/.kafka_cleanshutdown", b"");
    fs.create_dir_all(Path::new("/b/lost+found")).unwrap();
    let dirs = open(&fs, &["/a", "/b"]).unwrap();
    let refusal = dirs.begin_loading(NOW).unwrap_err().to_string();
    assert!(refusal.starts_with("'lost+found' is not in the form of topic-partition"), "{refusal}");
    assert!(names(&fs, "/a").contains(&".kafka_cleanshutdown".to_owned()));
}

#[test]
fn one_partition_in_two_directories_stops_the_start_unless_one_is_stray() {
    let fs = formatted(&["/a", "/b"]);
    fs.create_dir_all(Path::new("/a/t-0")).unwrap();
    fs.create_dir_all(Path::new("/b/t-0")).unwrap();
    let refusal = Node::start(&fs.fork(), &["/a", "/b"]).err().unwrap().to_string();
    assert!(refusal.starts_with("partition t-0 is in both /a/t-0 and /b/t-0"), "{refusal}");

    put(&fs, "/b/t-0/partition.metadata", format!("version: 0\ntopic_id: {TOPIC_ID}").as_bytes());
    let node = Node::start_with(&fs, &["/a", "/b"], &|_, id| id != Some(TOPIC_ID)).unwrap();
    assert_eq!(node.dir_of("t", 0), Some(PathBuf::from("/b")));
    let aside = PathBuf::from("/a/t-0.0000000000000000000000000000abcd-stray");
    assert_eq!(node.set_aside, [aside]);
    assert!(names(&fs, "/a").contains(&"t-0.0000000000000000000000000000abcd-stray".to_owned()));
}

#[test]
fn a_future_log_beside_the_current_one_in_another_directory_is_no_duplicate() {
    let fs = formatted(&["/a", "/b"]);
    fs.create_dir_all(Path::new("/a/t-0")).unwrap();
    fs.create_dir_all(Path::new("/b/t-0.x-future")).unwrap();
    let node = Node::start(&fs, &["/a", "/b"]).unwrap();
    assert_eq!(node.dirs.log_count(), 2);
}

#[test]
fn the_marker_is_gone_for_good_when_loading_begins() {
    let fs = formatted(&["/a"]);
    put(&fs, "/a/.kafka_cleanshutdown", b"");
    let node = Node::start(&fs, &["/a"]).unwrap();
    assert!(node.loads[0].was_clean);
    drop(node);
    fs.crash(3);
    assert!(!Node::start(&fs, &["/a"]).unwrap().loads[0].was_clean);
}

#[test]
fn an_unreadable_checkpoint_takes_its_directory_offline_and_the_others_go_on() {
    for name in [
        "recovery-point-offset-checkpoint",
        "log-start-offset-checkpoint",
        "replication-offset-checkpoint",
        "cleaner-offset-checkpoint",
    ] {
        let fs = formatted(&["/a", "/b"]);
        fs.create_dir_all(Path::new("/a/t-0")).unwrap();
        fs.create_dir_all(Path::new("/b/t-1")).unwrap();
        put(&fs, &format!("/a/{name}"), b"0\n1\n");
        let node = Node::start(&fs, &["/a", "/b"]).unwrap();
        let offline = node.dirs.first_offline().unwrap();
        assert_eq!(offline.dir, Path::new("/a"));
        assert_eq!(offline.reason, format!("checkpoint /a/{name} says 1 entries but has 0"));
        assert_eq!((node.offsets("t", 0), node.offsets("t", 1)), (None, Some((0, 0, 0))));
        // The lock is given back, so that somebody can look after the disk.
        assert!(fs.try_lock(Path::new("/a/.lock")).unwrap().is_some());
    }
}

#[test]
fn a_log_that_cannot_be_opened_takes_its_directory_offline() {
    let fs = formatted(&["/a", "/b"]);
    for path in ["/a/t-0", "/a/t-1", "/b/t-2"] {
        fs.create_dir_all(Path::new(path)).unwrap();
    }
    put(&fs, "/a/t-1/leader-epoch-checkpoint", b"nonsense");
    let node = Node::start(&fs, &["/a", "/b"]).unwrap();
    assert_eq!(node.dirs.online().count(), 1);
    assert!(node.dirs.place(&key("t", 0)).is_none());
    assert_eq!(node.dir_of("t", 2), Some(PathBuf::from("/b")));
}

#[test]
fn without_any_working_directory_there_is_no_start() {
    let fs = formatted(&["/a", "/b"]);
    let dirs = open(&fs, &["/a", "/b"]).unwrap();
    fs.inject(Fault::new(Effect::Io).on(Operation::Look));
    let refusal = dirs.begin_loading(NOW).unwrap_err().to_string();
    assert!(refusal.starts_with("all log directories have failed: log directory /a is offline"), "{refusal}");
}

#[test]
fn opens_logs_with_the_checkpointed_offsets() {
    let fs = formatted(&["/a"]);
    let node = Node::start(&fs, &["/a"]).unwrap();
    node.create("t", 0).unwrap();
    node.append("t", 0, 30).unwrap();
    node.flush("t", 0).unwrap();
    drop(node);
    put(&fs, "/a/recovery-point-offset-checkpoint", b"0\n1\nt 0 30\n");
    put(&fs, "/a/log-start-offset-checkpoint", b"0\n1\nt 0 3\n");
    put(&fs, "/a/replication-offset-checkpoint", b"0\n1\nt 0 20\n");
    fs.crash(0);
    let node = Node::start(&fs, &["/a"]).unwrap();
    assert_eq!(node.offsets("t", 0), Some((3, 20, 30)));
}

/// As in Apache Kafka 4.4, where a line with words instead of numbers even ends the process.
#[test]
fn a_future_log_that_cannot_be_read_takes_its_directory_offline_and_no_other() {
    for epochs in ["0\n2\n0 0\n", "0\n1\nnot numbers\n"] {
        let fs = formatted(&["/a", "/b"]);
        let node = Node::start(&fs, &["/a", "/b"]).unwrap();
        node.create("t", 0).unwrap();
        drop(node);
        let future = "/b/t-0.0123456789abcdef0123456789abcdef-future";
        put(&fs, &format!("{future}/leader-epoch-checkpoint"), epochs.as_bytes());
        let node = Node::start(&fs, &["/a", "/b"]).unwrap();
        let online: Vec<bool> = node.dirs.dirs().iter().map(|dir| dir.is_online()).collect();
        assert_eq!((online, node.dir_of("t", 0)), (vec![true, false], Some(PathBuf::from("/a"))));
        assert!(names(&fs, future).contains(&"leader-epoch-checkpoint".to_owned()), "nothing is removed");
    }
}

/// All records of a log, one after the other without a gap.
fn is_whole(log: &Log) -> bool {
    let mut next = log.log_start_offset();
    while next < log.log_end_offset() {
        let read = log.read(ReadRequest {
            offset: next,
            max_bytes: 1 << 20,
            min_one_batch: true,
            upper_bound: log.log_end_offset(),
            aborted_transactions: false,
        });
        let slice = read.unwrap().slice;
        let bytes = slice.map(|slice| slice.read().unwrap()).unwrap_or_default();
        let before = next;
        for batch in Batches::new(&bytes).flatten() {
            if batch.base_offset() != next {
                return false;
            }
            next = batch.next_offset();
        }
        if next == before {
            return false;
        }
    }
    true
}

/// A crash came between a cut and the writing of the recovery point, which stayed above all that was appended afterwards: another
/// crash could take the end of a segment, and nobody looked.
#[test]
fn a_log_that_ends_below_its_recovery_point_has_that_written_anew() {
    let fs = formatted(&["/a"]);
    let node = Node::start(&fs, &["/a"]).unwrap();
    node.create("t", 0).unwrap();
    node.append("t", 0, 14).unwrap();
    node.flush("t", 0).unwrap();
    let dir = &node.dirs.dirs()[0];
    write_checkpoints(&node.dirs, dir, &node, &[Checkpoint::RecoveryPoints]).unwrap();
    let point = |fs: &MemFs| checkpoint(fs, "/a", "recovery-point-offset-checkpoint")[&key("t", 0).partition];
    assert!(point(&fs) > Offset(10));
    node.logs.lock().unwrap().get_mut(&key("t", 0)).unwrap().log.truncate_to(Offset(6), NOW).unwrap();
    drop(node);
    let node = Node::start(&fs, &["/a"]).unwrap();
    assert_eq!(node.offsets("t", 0).map(|(start, _, end)| (start, end)), Some((0, 6)));
    assert!(point(&fs) <= Offset(6));
    // A segment begins between its end and where the recovery point was.
    node.append_in("t", 0, LeaderEpoch(1), 6).unwrap();
    drop(node);
    for seed in 0..32 {
        let after = fs.fork();
        after.crash(seed);
        let node = Node::start(&after, &["/a"]).unwrap();
        assert!(is_whole(&node.logs.lock().unwrap()[&key("t", 0)].log), "seed {seed}");
        assert!(node.offsets("t", 0).is_some_and(|(start, _, end)| start == 0 && end >= 6), "seed {seed}");
    }
}

#[test]
fn the_recovery_points_of_many_logs_that_end_below_them_are_written_at_once() {
    let fs = formatted(&["/a"]);
    let node = Node::start(&fs, &["/a"]).unwrap();
    for partition in 0..8 {
        node.create("t", partition).unwrap();
        node.append("t", partition, 2).unwrap();
        node.flush("t", partition).unwrap();
    }
    drop(node);
    let lines: String = (0..8).map(|partition| format!("t {partition} 9\n")).collect();
    put(&fs, "/a/recovery-point-offset-checkpoint", format!("0\n8\n{lines}").as_bytes());
    fs.inject(Fault::new(Effect::Io).on(Operation::Rename).at("recovery-point-offset-checkpoint").after(1));
    let node = Node::start(&fs, &["/a"]).unwrap();
    assert_eq!(node.dirs.first_offline(), None, "it was written twice");
    let points = checkpoint(&fs, "/a", "recovery-point-offset-checkpoint");
    assert_eq!(points.len(), 8);
    assert!(points.values().all(|point| *point <= Offset(2)), "{points:?}");
}

/// The kernel showed the topic id after a sync of it had failed, and no later sync wrote it: a power cut then made the log one of no topic.
#[test]
fn a_topic_id_whose_sync_failed_is_written_again() {
    for is_stopped in [false, true] {
        for seed in 0..8 {
            let fs = formatted(&["/a", "/b"]);
            let node = Node::start(&fs, &["/a", "/b"]).unwrap();
            node.create("t", 0).unwrap();
            node.append("t", 0, 2).unwrap();
            fs.inject(Fault::new(Effect::Io).on(Operation::Sync).at("t-0/partition.metadata").times(1));
            assert!(node.flush("t", 0).is_err());
            drop(node);
            // The process starts again, the machine does not.
            let node = Node::start(&fs, &["/a", "/b"]).unwrap();
            if is_stopped {
                assert!(node.stop(None).into_iter().all(|(_, end)| end == Ok(true)));
            } else {
                node.flush("t", 0).unwrap();
                drop(node);
            }
            fs.crash(seed);
            let node = Node::start(&fs, &["/a", "/b"]).unwrap();
            let topic_id = node.logs.lock().unwrap()[&key("t", 0)].log.topic_id();
            assert_eq!(topic_id, Some(TOPIC_ID), "stopped: {is_stopped}, seed {seed}");
        }
    }
}
