//! Limits on connections and requests, and that they can be changed while the node runs.

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ottla_protocol::messages::MetadataRequest;
use ottla_record::{BatchBuilder, Compression};

use crate::support::{Client, PATIENCE, TestNode};

/// Connects until `count` clients are served, and tells how many of `tries` were not.
fn refused(node: &TestNode, tries: usize, open: &mut Vec<Client>) -> usize {
    let mut refused = 0;
    for _ in 0..tries {
        let mut client = node.client();
        if client.is_served() { open.push(client) } else { refused += 1 }
    }
    refused
}

#[test]
fn limits_per_address_change_while_the_node_runs() {
    let node = TestNode::start(&[("max.connections.per.ip", "3")]);
    let mut open = Vec::new();
    assert_eq!(refused(&node, 5, &mut open), 2, "three are open");
    open[0].configure("", &[("max.connections.per.ip", "4")]);
    assert_eq!(refused(&node, 2, &mut open), 1, "and now four");
    open[0].configure("", &[("max.connections.per.ip.overrides", "127.0.0.1:6,localhost:6")]);
    assert_eq!(refused(&node, 3, &mut open), 1, "and six");
}

#[test]
fn a_full_listener_takes_the_next_one_when_another_goes() {
    let node = TestNode::start(&[("listener.name.plaintext.max.connections", "2")]);
    let mut open = Vec::new();
    assert_eq!(refused(&node, 2, &mut open), 0);
    let mut waiting = node.client();
    waiting.stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a socket");
    assert!(!waiting.is_served(), "nothing comes while the listener is full");
    drop(open.remove(0));
    waiting.stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    waiting.receive::<ottla_protocol::messages::ApiVersionsRequest<'_>>(3).expect("the answer comes now");
}

#[test]
fn a_lowered_limit_closes_who_is_idle() {
    let node = TestNode::start(&[]);
    let mut open = Vec::new();
    assert_eq!(refused(&node, 4, &mut open), 0);
    let mut last = open.pop().expect("four");
    last.configure("", &[("max.connections", "1")]);
    for client in &mut open {
        // It is told to close, and does so in its own time.
        assert!(matches!(client.stream.read(&mut [0]), Ok(0)), "closed, as there is room for one");
        assert!(!client.is_served(), "closed, as there is room for one");
    }
    assert!(last.is_served());
}

#[test]
fn connections_above_the_rate_wait() {
    let node = TestNode::start(&[("max.connection.creation.rate", "2")]);
    let mut open = Vec::new();
    let begin = Instant::now();
    // Twenty at once are two per second over ten windows.
    assert_eq!(refused(&node, 23, &mut open), 0);
    assert!(begin.elapsed() >= Duration::from_millis(400), "{:?}", begin.elapsed());
}

#[test]
fn requests_above_the_limit_close_their_connection_only() {
    let node = TestNode::start(&[("socket.request.max.bytes", "5000"), ("queued.max.request.bytes", "6000")]);
    let mut good = node.client();
    for head in [5001_i32, -1, i32::MAX, i32::MIN] {
        let mut bad = node.client();
        bad.stream.write_all(&head.to_be_bytes()).expect("a socket");
        assert_eq!(bad.stream.read(&mut [0]).unwrap_or(0), 0, "closed: {head}");
    }
    assert!(good.is_served());
    // A frame that is begun and not finished holds its part of the memory, and no more.
    let mut slow = node.client();
    slow.stream.write_all(&4000_i32.to_be_bytes()).expect("a socket");
    slow.stream.write_all(&[0; 100]).expect("a socket");
    assert!(good.is_served());
    assert_eq!(good.ask(12, &MetadataRequest::default()).expect("an answer").brokers.len(), 1);
}

#[test]
fn idle_and_half_closed_connections_go() {
    let node = TestNode::start(&[("connections.max.idle.ms", "500")]);
    let mut idle = node.client();
    assert!(idle.is_served());
    assert_eq!(idle.stream.read(&mut [0]).unwrap_or(0), 0, "closed when idle");
    let mut half = node.client();
    half.send(12, &MetadataRequest::default()).expect("a socket");
    half.stream.shutdown(std::net::Shutdown::Write).expect("a socket");
    half.receive::<MetadataRequest<'_>>(12).expect("what was asked is answered");
    assert_eq!(half.stream.read(&mut [0]).unwrap_or(0), 0, "and then it is closed");
}

#[test]
fn batches_that_unpack_to_much_hold_up_their_own_clients_only() {
    const BOMBS: usize = 12;
    let node = TestNode::start(&[]);
    node.client().create("t", 1);
    let mut builder = BatchBuilder::new().codec(Compression::Gzip);
    for _ in 0..64 {
        builder.append(1_700_000_000_000, None, Some(&vec![0; 1 << 20]), &[]).expect("a record");
    }
    let bomb = builder.build().expect("a batch");
    assert!(bomb.len() < 100_000, "it looks small");
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = node.client();
                while answered.load(Ordering::Relaxed) < BOMBS {
                    let answers = client.answers_to_batch("t", [0], bomb.clone());
                    assert_eq!(answers[0].error_code, 0, "{answers:?}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let (mut other, mut served) = (node.client(), 0);
        while answered.load(Ordering::Relaxed) < BOMBS {
            assert!(other.is_served());
            served += 1;
        }
        // On one thread with them about one in turn with each; nothing is said of time, of which a busy machine has little.
        assert!(served > 3 * BOMBS, "only {served} requests were answered beside {BOMBS} batches");
    });
}
