//! What the memory of a running server is bounded by, watched from outside. Takes 16 s and 2 GB of disk when the machine has nothing else
//! to do; the figures (`--nocapture`) of a server that is optimized (`OTTLA_BIN`) are in `docs/performance.md`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_protocol::header::encode_request;
use ottla_protocol::messages::describe_configs_request::DescribeConfigsResource;
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::{DescribeConfigsRequest, ProduceRequest};
use ottla_protocol::wire::Request;
use ottla_record::BatchBuilder;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::server::Server;

const PATIENCE: Duration = Duration::from_secs(300);
const MIB: usize = 1024 * 1024;
/// What the server may take for requests, and again for responses.
const BUDGET: usize = 8 * MIB;
/// What it may take besides, for each connection and once: code, stacks, what the allocator keeps.
const OTHER: usize = 64 * MIB;
/// Its buffers for reading, and what the kernel's side of it needs in the process; one response comes to that.
const PER_CONNECTION: usize = 24 * 1024;

/// A server with small budgets.
fn start() -> Server {
    let options = [
        format!("queued.max.request.bytes={BUDGET}"),
        format!("socket.request.max.bytes={}", 2 * MIB),
        format!("message.max.bytes={}", 2 * MIB),
        "log.durability.policy=page-cache".to_owned(),
    ];
    Server::start(&options.iter().flat_map(|pair| ["-o", pair]).collect::<Vec<_>>())
}

/// Lets this process and its children open as many files as the system allows; tells how many connections that is good for.
fn connections_possible() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("the soft limit may be raised");
    limit.current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(200))
}

fn frame<'a, R: Request<'a>>(version: i16, request: &R) -> Bytes {
    let frame = encode_request(request, version, 7, Some("test")).expect("expressible");
    let frame = frame.into_bytes().expect("in memory");
    let len = i32::try_from(frame.len()).expect("a frame's length").to_be_bytes();
    Bytes::from([&len, &frame[..]].concat())
}

fn produce_frame(value_bytes: usize) -> Bytes {
    let mut batch = BatchBuilder::new();
    batch.append(1_700_000_000_000, None, Some(&vec![b'x'; value_bytes]), &[]).expect("a record");
    let partition = PartitionProduceData { index: 0, records: Some(batch.build().expect("a batch").into()) };
    let topic =
        TopicProduceData { name: "t".into(), partition_data: vec![partition], ..TopicProduceData::default() };
    frame(9, &ProduceRequest { acks: 1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() })
}

/// A small request with a large response.
fn describe_frame() -> Bytes {
    let broker =
        DescribeConfigsResource { resource_type: 4, resource_name: "1".into(), configuration_keys: None };
    let request = DescribeConfigsRequest {
        resources: vec![broker],
        include_synonyms: true,
        include_documentation: true,
    };
    frame(4, &request)
}

async fn receive(stream: &mut TcpStream) -> usize {
    let len = usize::try_from(stream.read_i32().await.expect("an answer")).expect("a length");
    let copied = tokio::io::copy(&mut stream.take(len as u64), &mut tokio::io::sink()).await;
    assert_eq!(usize::try_from(copied.expect("the answer")).unwrap(), len);
    len
}

/// Connections over which nothing was sent yet: a request that is begun has to go on within half a minute. Little is received without
/// being read, so that the server need not make gigabytes of responses until the sockets are full.
async fn connect(server: &Server, connections: usize) -> Vec<TcpStream> {
    let mut streams = Vec::with_capacity(connections);
    for _ in 0..connections {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(16 * 1024).expect("a size that is allowed");
        streams.push(socket.connect(server.address).await.expect("the server listens"));
    }
    streams
}

/// All connections have a large request under way at the same time, none is answered before all have begun.
async fn many_large_requests(server: &Server, connections: usize) {
    let request = produce_frame(MIB);
    let (head, rest) = (request.slice(..1000), request.slice(1000..));
    let mut streams = connect(server, connections).await;
    for stream in &mut streams {
        stream.write_all(&head).await.expect("the socket takes the beginning");
    }
    let mut clients = JoinSet::new();
    for mut stream in streams {
        let rest = rest.clone();
        clients.spawn(async move {
            stream.write_all(&rest).await.expect("the server takes the rest");
            receive(&mut stream).await;
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("every request is answered");
    }
}

/// All connections ask for far more than they read; one that reads is served all the time. Tells how large a response is.
async fn many_slow_readers(server: &Server, connections: usize) -> usize {
    let request = describe_frame();
    let asked = Bytes::from(request.repeat(60));
    let mut streams = connect(server, connections).await;
    for stream in &mut streams {
        stream.write_all(&asked).await.expect("small requests fit the socket");
    }
    let mut reader = TcpStream::connect(server.address).await.expect("the server listens");
    let mut size = 0;
    for _ in 0..20 {
        reader.write_all(&request).await.expect("the server is there");
        size = receive(&mut reader).await;
        assert!(size * 60 > MIB, "the others ask for too little: {size}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Not four of those: they may have waited for the half a minute after which who reads nothing is cut off.
    let mut clients = JoinSet::new();
    for mut stream in connect(server, 4).await {
        let asked = asked.clone();
        clients.spawn(async move {
            stream.write_all(&asked).await.expect("small requests fit the socket");
            tokio::time::sleep(Duration::from_millis(500)).await;
            for _ in 0..60 {
                receive(&mut stream).await;
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("who begins to read gets everything");
    }
    size
}

fn stays_within_its_budget(connections: usize) {
    assert!(connections <= connections_possible(), "needs a higher limit of open files");
    let server = start();
    assert!(server.run(&["topic", "create", "t"]).status.success(), "{}", server.log());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let bound = BUDGET + OTHER + connections * PER_CONNECTION;
    let begin = Instant::now();
    runtime.block_on(async {
        let load = many_large_requests(&server, connections);
        tokio::time::timeout(PATIENCE, load).await.expect("nobody starves");
        eprintln!("large requests: {} MiB at most, {:?}", server.peak_bytes() / MIB, begin.elapsed());
        assert!(server.peak_bytes() < bound, "{} MiB", server.peak_bytes() / MIB);
        let load = many_slow_readers(&server, connections);
        let size = tokio::time::timeout(PATIENCE, load).await.expect("nobody starves");
        eprintln!("slow readers: {} MiB at most, {:?}", server.peak_bytes() / MIB, begin.elapsed());
        // Responses have a budget as well, and each connection may have one that does not fit.
        let bound = bound + BUDGET + connections * size;
        assert!(server.peak_bytes() < bound, "{} MiB with responses of {size}", server.peak_bytes() / MIB);
    });
}

#[test]
fn requests_and_responses_of_two_thousand_connections_stay_within_the_budget() {
    stays_within_its_budget(2000);
}
