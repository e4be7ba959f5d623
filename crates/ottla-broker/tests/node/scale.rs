//! Many idle connections and many partitions. What they cost is printed; run the large ones with
//! `cargo test -p ottla-broker --test node -- --ignored --nocapture`.

use std::path::PathBuf;
use std::time::Instant;

use ottla_protocol::messages::ListOffsetsRequest;
use ottla_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};

use crate::support::{Client, TestNode};

/// Memory of this process that is in use, in KiB (server and clients together).
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Returns by how many KiB the process grew; other tests that run at the same time count too.
fn connections(count: usize) -> u64 {
    let node = TestNode::start(&[]);
    let before = resident_kib();
    let begin = Instant::now();
    let mut clients: Vec<Client> = Vec::with_capacity(count);
    for _ in 0..count {
        clients.push(node.client());
    }
    // Each was served once, and is silent now.
    for client in &mut clients {
        assert!(client.is_served());
    }
    let grown = resident_kib().saturating_sub(before);
    eprintln!("{count} connections in {:?}: {grown} KiB, both ends together", begin.elapsed());
    assert!(node.client().is_served());
    grown
}

/// Open files of this process in a node's log directory, the descriptors that hold its lock and its volume aside.
fn open_log_files(node: &TestNode) -> Vec<PathBuf> {
    let home = node.log_dir("data");
    let open = std::fs::read_dir("/proc/self/fd").expect("a list").flatten();
    let paths = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    paths.filter(|path| path.starts_with(&home) && *path != home && !path.ends_with(".lock")).collect()
}

/// The offsets of all partitions of a topic at a time (-1: the end).
fn offsets_at(client: &mut Client, topic: &str, partitions: i32, timestamp: i64) -> Vec<i64> {
    let wanted =
        |partition_index| ListOffsetsPartition { partition_index, current_leader_epoch: -1, timestamp };
    let topic =
        ListOffsetsTopic { name: topic.to_owned().into(), partitions: (0..partitions).map(wanted).collect() };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..ListOffsetsRequest::default() };
    let answer = client.ask(7, &request).expect("an answer");
    let found = &answer.topics[0].partitions;
    assert!(found.iter().all(|found| found.error_code == 0), "{found:?}");
    let mut offsets: Vec<_> = found.iter().map(|found| (found.partition_index, found.offset)).collect();
    offsets.sort_unstable();
    offsets.into_iter().map(|(_, offset)| offset).collect()
}

/// A life of many partitions: made, written to, asked for, stopped, found again.
fn partitions(count: i32) {
    let topics = 10;
    let each = count / topics;
    let mut node = TestNode::start(&[("log.durability.policy", "page-cache")]);
    let mut client = node.client();
    let before = resident_kib();
    let begin = Instant::now();
    for index in 0..topics {
        client.create(&format!("many-{index}"), each);
    }
    let grown = resident_kib().saturating_sub(before);
    eprintln!("{count} partitions in {:?}: {grown} KiB", begin.elapsed());
    let nothing = vec![-1; usize::try_from(each).expect("few")];
    assert_eq!(offsets_at(&mut client, "many-0", each, 0), nothing);
    assert!(open_log_files(&node).len() < 50, "partitions that have nothing hold no files open");

    let begin = Instant::now();
    for index in 0..topics {
        client.produce_to(&format!("many-{index}"), 0..each, b"x");
    }
    eprintln!("a record in each in {:?}", begin.elapsed());
    for index in 0..topics {
        let topic = format!("many-{index}");
        assert_eq!(offsets_at(&mut client, &topic, each, -1), vec![1; usize::try_from(each).expect("few")]);
    }
    let open = open_log_files(&node);
    let is_log = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "log");
    assert!(
        open.iter().filter(|path| !is_log(path)).count() < 50,
        "one file for each partition in use: {open:?}"
    );

    drop(client);
    eprintln!("stopped in {:?}", node.stop());
    eprintln!("started again in {:?}", node.start_again());
    let started = node.node.as_ref().expect("it runs").started();
    assert_eq!(started.partitions, usize::try_from(topics * each).expect("few"));
    assert!(open_log_files(&node).len() < 50, "a clean start leaves no log open");
    let mut client = node.client();
    for index in 0..topics {
        let topic = format!("many-{index}");
        assert_eq!(offsets_at(&mut client, &topic, each, 0), vec![0; usize::try_from(each).expect("few")]);
        client.produce_to(&topic, 0..each, b"y");
        assert_eq!(offsets_at(&mut client, &topic, each, -1), vec![2; usize::try_from(each).expect("few")]);
    }
    drop(client);
    eprintln!("stopped in {:?}", node.stop());
}

#[test]
fn idle_connections_do_not_keep_others_out() {
    connections(400);
}

#[test]
#[ignore = "needs 10,000 open files"]
fn five_thousand_idle_connections() {
    let grown = connections(5000);
    assert!(grown < 16 * 5000, "less than 16 KiB each: {grown} KiB");
}

#[test]
fn many_partitions_are_ordinary() {
    partitions(500);
}

#[test]
#[ignore = "takes a minute"]
fn ten_thousand_partitions() {
    partitions(10_000);
}
