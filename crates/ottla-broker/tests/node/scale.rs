//! Many idle connections and many partitions. What they cost is printed; run the large ones with
//! `cargo test -p ottla-broker --test node -- --ignored --nocapture`.

use std::time::Instant;

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

fn partitions(count: i32) {
    let mut node = TestNode::start(&[("log.durability.policy", "page-cache")]);
    let mut client = node.client();
    let before = resident_kib();
    let begin = Instant::now();
    for index in 0..10 {
        client.create(&format!("many-{index}"), count / 10);
    }
    let grown = resident_kib().saturating_sub(before);
    eprintln!("{count} partitions in {:?}: {grown} KiB", begin.elapsed());
    client.produce("many-0", b"x");
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
