//! A node stops within seconds whatever its clients do.

use std::io::Write as _;
use std::time::Duration;

use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::messages::{FetchRequest, JoinGroupRequest};

use crate::support::{Client, TestNode};

fn fetch(max_wait_ms: i32, min_bytes: i32) -> FetchRequest<'static> {
    let partition = FetchPartition { partition_max_bytes: 1 << 20, ..FetchPartition::default() };
    FetchRequest {
        replica_id: -1,
        max_wait_ms,
        min_bytes,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![FetchTopic { topic: "t".into(), partitions: vec![partition], ..FetchTopic::default() }],
        ..FetchRequest::default()
    }
}

#[test]
fn whatever_clients_do_a_node_stops_within_seconds() {
    let mut node = TestNode::start(&[]);
    let mut client = node.client();
    client.create("t", 1);
    for _ in 0..20 {
        client.produce("t", &[1; 500_000]);
    }
    let mut clients: Vec<Client> = (0..6).map(|_| node.client()).collect();
    clients[0].send(12, &fetch(600_000, 1 << 30)).expect("a long poll");
    clients[1].stream.write_all(&[0, 0, 1]).expect("half of a length");
    clients[2].stream.write_all(&[0, 0, 16, 0, 0, 3]).expect("half of a frame");
    // Never reads what it asks for.
    for _ in 0..60 {
        clients[3].send(12, &fetch(0, 1)).expect("a request");
    }
    let join = JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 300_000,
        rebalance_timeout_ms: 300_000,
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".into(), ..Default::default() }],
        ..Default::default()
    };
    clients[4].send(3, &join).expect("a request");
    std::thread::sleep(Duration::from_millis(300));
    let took = node.stop();
    assert!(took < Duration::from_secs(15), "{took:?}");
}
