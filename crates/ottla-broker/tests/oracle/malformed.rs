//! Bytes that are no requests: the connection they came on is closed, and no other.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ottla_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse, MetadataRequest};

use crate::client::{Connection, Peer};
use crate::requests::metadata_of;
use crate::servers::Own;

/// What is sent, and what it is.
fn garbage() -> Vec<(&'static str, Vec<u8>)> {
    let frame = |body: &[u8]| [&u32::try_from(body.len()).expect("short").to_be_bytes()[..], body].concat();
    let header =
        |key: i16, version: i16| [key.to_be_bytes(), version.to_be_bytes(), [0, 0], [0, 1], [0, 0]].concat();
    let mut bad_array = header(3, 1);
    bad_array.extend(i32::MAX.to_be_bytes());
    vec![
        ("an unknown key", frame(&header(999, 0))),
        ("a negative key", frame(&header(-1, 0))),
        ("a key that brokers do not serve", frame(&header(52, 0))),
        ("a version too new", frame(&header(3, 99))),
        ("a version too old", frame(&header(1, 0))),
        ("a negative version", frame(&header(3, -1))),
        ("half a header", frame(&[0, 3, 0])),
        ("a header only", frame(&header(3, 1))),
        ("an array without end", frame(&bad_array)),
        ("an empty frame", frame(&[])),
        ("a frame too large", i32::MAX.to_be_bytes().to_vec()),
        ("a negative length", (-1i32).to_be_bytes().to_vec()),
        ("another protocol", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
    ]
}

/// Kafka closes the connection for the same reasons.
pub(crate) fn script(peer: &mut Peer) {
    for (what, bytes) in garbage() {
        peer.note(0, &format!("Malformed: {what}"), &Seen { closed: is_closed(peer.address, &bytes) });
    }
}

#[derive(Debug)]
struct Seen {
    #[allow(dead_code, reason = "read by Debug")]
    closed: bool,
}

fn is_closed(address: SocketAddr, bytes: &[u8]) -> bool {
    use std::io::Write as _;
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(1))).expect("a time-out");
    stream.write_all(bytes).expect("sent");
    // A reset is a close too: unread bytes were on the way.
    match stream.read(&mut [0; 16]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn garbage_closes_only_the_connection_it_came_on() {
    let own = Own::start(&[]);
    let mut other = Connection::open(own.address).expect("a connection");
    for (what, bytes) in garbage() {
        assert!(is_closed(own.address, &bytes), "{what} does not close its connection");
        other.send(0, &ApiVersionsRequest::default()).expect("another connection stays open");
        let answer: ApiVersionsResponse<'_> = other.receive(ApiKey::ApiVersions, 0).expect("an answer");
        assert_eq!(answer.error_code, 0, "after {what}");
    }
}

#[test]
fn requests_sent_at_once_are_answered_in_order() {
    let own = Own::start(&[]);
    let mut connection = Connection::open(own.address).expect("a connection");
    for _ in 0..50 {
        connection.send(0, &ApiVersionsRequest::default()).expect("sent");
    }
    for id in 1..=50_i32 {
        let frame = connection.read_frame().expect("an answer");
        assert_eq!(frame[..4], id.to_be_bytes());
    }
}

#[test]
fn bytes_behind_a_request_are_passed_over() {
    let own = Own::start(&[]);
    let mut connection = Connection::open(own.address).expect("a connection");
    connection.write_frame(&[0, 18, 0, 0, 0, 0, 0, 1, 0, 0, 99]).expect("sent");
    assert_eq!(connection.read_frame().expect("an answer")[..4], [0, 0, 0, 1]);
}

#[test]
fn half_a_request_is_waited_for() {
    let own = Own::start(&[]);
    let mut connection = Connection::open(own.address).expect("a connection");
    let bytes = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0, 0];
    connection.write(&bytes[..6]).expect("sent");
    std::thread::sleep(Duration::from_millis(50));
    connection.write(&bytes[6..]).expect("sent");
    assert_eq!(connection.read_frame().expect("an answer")[..4], [0, 0, 0, 1]);
}

#[test]
fn missing_topics_are_not_made_when_the_broker_forbids_it() {
    let own = Own::start(&[("auto.create.topics.enable", "false")]);
    let mut peer = Peer::new(own.address);
    let request = MetadataRequest { allow_auto_topic_creation: true, ..metadata_of(&["absent"]) };
    for _ in 0..3 {
        let answer = peer.ask(9, &request).expect("an answer");
        assert_eq!((answer.topics[0].error_code, answer.topics[0].partitions.len()), (3, 0));
        std::thread::sleep(Duration::from_millis(100));
    }
    let all =
        peer.ask(9, &MetadataRequest { topics: None, ..MetadataRequest::default() }).expect("an answer");
    assert_eq!(all.topics, []);
}
