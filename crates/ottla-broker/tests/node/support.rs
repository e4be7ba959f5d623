//! A node in this process, and a blunt client.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ottla_broker::{LogLevels, Node};
use ottla_config::{BrokerConfig, Sources};
use ottla_protocol::header::{encode_request, read_response_header};
use ottla_protocol::messages::create_topics_request::CreatableTopic;
use ottla_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::produce_response::PartitionProduceResponse;
use ottla_protocol::messages::{CreateTopicsRequest, IncrementalAlterConfigsRequest, ProduceRequest};
use ottla_protocol::wire::{Reader, Request, decode_shared};
use ottla_record::BatchBuilder;
use ottla_types::Uuid;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The longest that anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct TestNode {
    pub(crate) address: SocketAddr,
    pub(crate) node: Option<Node>,
    pub(crate) runtime: Runtime,
    pub(crate) dir: TempDir,
    config: BrokerConfig,
}

impl TestNode {
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_with_dirs(&["data"], settings)
    }

    /// With these log directories, of which the first has the metadata.
    pub(crate) fn start_with_dirs(log_dirs: &[&str], settings: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().expect("a directory");
        let log_dirs: Vec<String> =
            log_dirs.iter().map(|name| dir.path().join(name).display().to_string()).collect();
        let sockets = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
        let [broker, controller] = sockets.map(|socket| socket.local_addr().expect("bound").port());
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}\n\
             controller.quorum.bootstrap.servers=127.0.0.1:{controller}\nlog.dirs={}\n\
             offsets.topic.num.partitions=1\noffsets.topic.replication.factor=1\ngroup.initial.rebalance.delay.ms=0\n",
            log_dirs.join(",")
        );
        let overrides: Vec<_> =
            settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let sources = Sources { properties: Some(&text), overrides: &overrides };
        let (config, _) = BrokerConfig::load(sources).expect("a valid configuration");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let node = runtime
            .block_on(Node::start(config.clone(), LogLevels::default(), || {}))
            .expect("the node starts");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, broker));
        Self { address, node: Some(node), runtime, dir, config }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address).expect("the node listens")
    }

    /// A log directory's path.
    pub(crate) fn log_dir(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts it again after [`TestNode::stop`], and tells how long that took.
    pub(crate) fn start_again(&mut self) -> Duration {
        assert!(self.node.is_none(), "it was stopped");
        let begin = Instant::now();
        let node = Node::start(self.config.clone(), LogLevels::default(), || {});
        self.node = Some(self.runtime.block_on(node).expect("the node starts again"));
        begin.elapsed()
    }

    /// Stops it, and tells how long that took.
    pub(crate) fn stop(&mut self) -> Duration {
        let begin = Instant::now();
        let node = self.node.take().expect("not stopped before");
        self.runtime.block_on(node.stop()).expect("the node stops");
        begin.elapsed()
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        if self.node.is_some() && !std::thread::panicking() {
            self.stop();
        }
    }
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    correlation_id: i32,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, correlation_id: 0 })
    }

    pub(crate) fn send<'a, R: Request<'a>>(&mut self, version: i16, request: &R) -> io::Result<()> {
        self.correlation_id += 1;
        let frame = encode_request(request, version, self.correlation_id, Some("test")).expect("expressible");
        let frame = frame.into_bytes().expect("in memory");
        let len = i32::try_from(frame.len()).expect("a frame's length").to_be_bytes();
        self.stream.write_all(&[&len, &frame[..]].concat())
    }

    pub(crate) fn receive<'a, R: Request<'a>>(&mut self, version: i16) -> io::Result<R::Response<'static>> {
        let mut len = [0; 4];
        self.stream.read_exact(&mut len)?;
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(len)).map_err(io::Error::other)?];
        self.stream.read_exact(&mut frame)?;
        let frame = bytes::Bytes::from(frame);
        let mut reader = Reader::new(&frame);
        read_response_header(&mut reader, R::KEY, version).map_err(io::Error::other)?;
        let body = frame.slice(reader.position()..);
        decode_shared(&body, version).map_err(|error| io::Error::other(format!("{error}")))
    }

    pub(crate) fn ask<'a, R: Request<'a>>(
        &mut self,
        version: i16,
        request: &R,
    ) -> io::Result<R::Response<'static>> {
        self.send(version, request)?;
        self.receive::<R>(version)
    }

    pub(crate) fn create(&mut self, topic: &str, partitions: i32) -> Uuid {
        let topic = CreatableTopic {
            name: topic.to_owned().into(),
            num_partitions: partitions,
            replication_factor: 1,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, validate_only: false };
        let answer = self.ask(7, &request).expect("an answer");
        assert_eq!(answer.topics[0].error_code, 0, "{:?}", answer.topics[0].error_message);
        answer.topics[0].topic_id
    }

    pub(crate) fn produce(&mut self, topic: &str, value: &[u8]) {
        self.send_record(topic, [0], None, value);
    }

    /// Sends a record that is refused; the error code.
    pub(crate) fn produce_in_vain(&mut self, topic: &str, value: &[u8]) -> i16 {
        self.answers_to_record(topic, [0], None, value)[0].error_code
    }

    pub(crate) fn produce_with_key(&mut self, topic: &str, key: Option<&[u8]>, value: &[u8]) {
        self.send_record(topic, [0], key, value);
    }

    /// Sends a record to each of these partitions.
    pub(crate) fn produce_to(
        &mut self,
        topic: &str,
        partitions: impl IntoIterator<Item = i32>,
        value: &[u8],
    ) {
        self.send_record(topic, partitions, None, value);
    }

    fn send_record(
        &mut self,
        topic: &str,
        partitions: impl IntoIterator<Item = i32>,
        key: Option<&[u8]>,
        value: &[u8],
    ) {
        for response in &self.answers_to_record(topic, partitions, key, value) {
            assert_eq!(response.error_code, 0, "{response:?}");
        }
    }

    fn answers_to_record(
        &mut self,
        topic: &str,
        partitions: impl IntoIterator<Item = i32>,
        key: Option<&[u8]>,
        value: &[u8],
    ) -> Vec<PartitionProduceResponse<'static>> {
        let mut batch = BatchBuilder::new();
        batch.append(1_700_000_000_000, key, Some(value), &[]).expect("a record");
        self.answers_to_batch(topic, partitions, batch.build().expect("a batch"))
    }

    /// Sends the same batch to some partitions.
    pub(crate) fn answers_to_batch(
        &mut self,
        topic: &str,
        partitions: impl IntoIterator<Item = i32>,
        batch: Vec<u8>,
    ) -> Vec<PartitionProduceResponse<'static>> {
        let records = bytes::Bytes::from(batch);
        let partitions = partitions.into_iter();
        let partition_data = partitions
            .map(|index| PartitionProduceData { index, records: Some(records.clone().into()) })
            .collect();
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: topic.to_owned().into(),
                partition_data,
                ..TopicProduceData::default()
            }],
            ..ProduceRequest::default()
        };
        let mut answer = self.ask(11, &request).expect("an answer");
        std::mem::take(&mut answer.responses[0].partition_responses)
    }

    /// Changes the broker's configuration.
    pub(crate) fn configure(&mut self, broker: &str, settings: &[(&str, &str)]) {
        let change = |(key, value): &(&str, &str)| AlterableConfig {
            name: (*key).to_owned().into(),
            config_operation: 0,
            value: Some((*value).to_owned().into()),
        };
        let resource = AlterConfigsResource {
            resource_type: 4,
            resource_name: broker.to_owned().into(),
            configs: settings.iter().map(change).collect(),
        };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        let answer = self.ask(1, &request).expect("an answer");
        assert_eq!(answer.responses[0].error_code, 0, "{answer:?}");
    }

    /// Whether the node answers on this connection.
    pub(crate) fn is_served(&mut self) -> bool {
        self.ask(
            3,
            &ottla_protocol::messages::ApiVersionsRequest {
                client_software_name: "test".into(),
                client_software_version: "1".into(),
                ..Default::default()
            },
        )
        .is_ok()
    }
}
