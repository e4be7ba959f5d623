//! Several log directories: moves between them, and one whose disk cannot be read.

use std::fs;
use std::time::{Duration, Instant};

use ottla_protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::messages::{AlterReplicaLogDirsRequest, DescribeLogDirsRequest, FetchRequest};

use crate::support::{Client, PATIENCE, TestNode};

const KAFKA_STORAGE_ERROR: i16 = 56;

/// A replica as DescribeLogDirs has it: directory, partition, bytes, whether it is the target of a move.
type Place = (String, i32, i64, bool);

fn places(client: &mut Client, topic: &str) -> Vec<Place> {
    let answer = client.ask(4, &DescribeLogDirsRequest { topics: None }).expect("an answer");
    let mut places = Vec::new();
    for dir in &answer.results {
        let name = dir.log_dir.rsplit('/').next().unwrap_or_default().to_owned();
        for topic in dir.topics.iter().filter(|found| found.name == topic) {
            for found in &topic.partitions {
                places.push((name.clone(), found.partition_index, found.partition_size, found.is_future_key));
            }
        }
    }
    places.sort();
    places
}

fn dir_errors(client: &mut Client) -> Vec<(String, i16)> {
    let answer = client.ask(4, &DescribeLogDirsRequest { topics: None }).expect("an answer");
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    answer.results.iter().map(|dir| (name(&dir.log_dir), dir.error_code)).collect()
}

fn move_all(node: &TestNode, client: &mut Client, topic: &str, partitions: i32, to: &str) {
    let request = AlterReplicaLogDirsRequest {
        dirs: vec![AlterReplicaLogDir {
            path: node.log_dir(to).display().to_string().into(),
            topics: vec![AlterReplicaLogDirTopic {
                name: topic.to_owned().into(),
                partitions: (0..partitions).collect(),
            }],
        }],
    };
    let answer = client.ask(2, &request).expect("an answer");
    assert!(answer.results[0].partitions.iter().all(|partition| partition.error_code == 0), "{answer:?}");
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn fetch(client: &mut Client, topic: &str, partition: i32) -> (i16, usize) {
    let wanted = FetchPartition {
        partition,
        partition_max_bytes: 1 << 20,
        current_leader_epoch: -1,
        ..Default::default()
    };
    let request = FetchRequest {
        replica_id: -1,
        max_bytes: 1 << 20,
        min_bytes: 1,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: topic.to_owned().into(),
            partitions: vec![wanted],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    let answer = client.ask(11, &request).expect("an answer");
    let found = &answer.responses[0].partitions[0];
    (found.error_code, found.records.as_ref().map_or(0, |records| records.len()))
}

fn threads_named(name: &str) -> usize {
    let threads = fs::read_dir("/proc/self/task").expect("a list").flatten();
    let names = threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
    names.filter(|found| found.trim() == name).count()
}

#[test]
fn moves_are_made_by_as_many_threads_as_configured() {
    assert_eq!(threads_named("mover-6"), 0, "no other node here has so many");
    let mut node = TestNode::start_with_dirs(&["a", "b"], &[("num.replica.alter.log.dirs.threads", "7")]);
    // A thread takes its name when it runs for the first time.
    wait_until("seven threads", || threads_named("mover-6") == 1);
    assert_eq!(threads_named("mover-7"), 0);
    let mut client = node.client();
    client.create("t", 12);
    for _ in 0..3 {
        client.produce_to("t", 0..12, &[7; 10_000]);
    }
    for target in ["a", "b"] {
        move_all(&node, &mut client, "t", 12, target);
        wait_until("all are moved", || {
            places(&mut client, "t").iter().all(|(dir, _, _, is_future)| dir == target && !is_future)
        });
    }
    for partition in 0..12 {
        assert!(fetch(&mut client, "t", partition).1 > 30_000, "all records have moved");
    }
    node.stop();
}

#[test]
fn a_thread_moves_one_replica_at_a_time_at_the_rate_that_is_allowed() {
    let mut node = TestNode::start_with_dirs(
        &["a", "b"],
        &[
            ("num.replica.alter.log.dirs.threads", "1"),
            ("alter.log.dirs.replication.quota.window.num", "3"),
            ("socket.request.max.bytes", "200000000"),
        ],
    );
    let mut client = node.client();
    client.create("t", 2);
    move_all(&node, &mut client, "t", 2, "a");
    wait_until("both are in one directory", || {
        places(&mut client, "t").iter().all(|(dir, _, _, is_future)| dir == "a" && !is_future)
    });
    for _ in 0..4 {
        client.produce_to("t", 0..2, &[7; 900_000]);
    }
    // What is copied at once is far above it: the next step has to wait for minutes.
    client.configure("1", &[("replica.alter.log.dirs.io.max.bytes.per.second", "2000")]);
    move_all(&node, &mut client, "t", 2, "b");
    let copied = |client: &mut Client| -> Vec<i64> {
        places(client, "t").iter().filter(|place| place.3).map(|place| place.2).collect()
    };
    wait_until("the first step", || copied(&mut client).iter().any(|bytes| *bytes > 0));
    std::thread::sleep(Duration::from_millis(1500));
    let copied = copied(&mut client);
    assert_eq!(copied.iter().filter(|bytes| **bytes > 0).count(), 1, "{copied:?}");
    assert!(copied.iter().sum::<i64>() < 2_000_000, "one step: {copied:?}");
    // A higher rate holds at once, not after the pause.
    client.configure("1", &[("replica.alter.log.dirs.io.max.bytes.per.second", "100000000")]);
    wait_until("both are moved", || {
        places(&mut client, "t").iter().all(|(dir, _, _, is_future)| dir == "b" && !is_future)
    });
    node.stop();
}

#[test]
fn a_segment_that_cannot_be_read_takes_its_directory_offline() {
    let mut node = TestNode::start_with_dirs(&["a", "b"], &[]);
    let mut client = node.client();
    client.create("t", 2);
    client.produce_to("t", 0..2, b"x");
    let places = places(&mut client, "t");
    let in_dir = |dir: &str| places.iter().find(|place| place.0 == dir).expect("one in each").1;
    let (sound, broken) = (in_dir("a"), in_dir("b"));
    drop(client);
    node.stop();
    // After a clean stop no segment is opened before it is read. What is no file cannot be.
    let segment = node.log_dir("b").join(format!("t-{broken}")).join("00000000000000000000.log");
    let bytes = fs::read(&segment).expect("a segment");
    node.start_again();
    fs::remove_file(&segment).expect("removed");
    fs::create_dir(&segment).expect("a directory in its place");
    let mut client = node.client();
    assert_eq!(fetch(&mut client, "t", broken), (KAFKA_STORAGE_ERROR, 0));
    assert_eq!(
        dir_errors(&mut client),
        [("a".to_owned(), 0), ("b".to_owned(), KAFKA_STORAGE_ERROR)],
        "the directory is offline"
    );
    let (error, read) = fetch(&mut client, "t", sound);
    assert!(error == 0 && read > 0, "the other one serves");
    client.produce_to("t", [sound], b"y");
    drop(client);
    node.stop();
    // Repaired and started again, it is there.
    fs::remove_dir(&segment).expect("removed");
    fs::write(&segment, bytes).expect("written");
    node.start_again();
    let mut client = node.client();
    assert!(fetch(&mut client, "t", broken).1 > 0);
}
