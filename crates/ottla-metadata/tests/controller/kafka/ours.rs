//! A standalone node's metadata made by us: quorum, controller and loader driven as a shell does.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ottla_config::{BrokerConfig, Sources};
use ottla_metadata::controller::{
    Context, Controller, Decision, Settings, bootstrap_records, free_of_charge,
};
use ottla_metadata::features::{MetadataVersion, default_levels, supported_features};
use ottla_metadata::image::{Loader, MetadataImage};
use ottla_metadata::{Random, VersionedRecord};
use ottla_protocol::messages as m;
use ottla_quorum::snapshot::SnapshotId;
use ottla_quorum::{
    BatchRecords, Endpoint, FormatMetadata, MetadataLogConfig, QuorumConfig, QuorumNode, Voter, VoterSet,
    open_metadata_log,
};
use ottla_storage::dir::MetaProperties;
use ottla_storage::fs::{Fs, RealFs};
use ottla_storage::log::Log;
use ottla_types::{NodeId, Offset, Uuid};

const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";

pub(crate) struct Node {
    quorum: QuorumNode<Log>,
    controller: Controller,
    loader: Loader,
    applied: Offset,
    port: u16,
    directory: Uuid,
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

pub(crate) fn voter(controller_port: u16, directory: Uuid) -> Voter {
    let endpoint =
        Endpoint { listener: "CONTROLLER".into(), host: "localhost".into(), port: controller_port };
    Voter {
        id: NodeId(1),
        directory: Some(directory),
        endpoints: vec![endpoint],
        min_kraft_version: 0,
        max_kraft_version: 1,
    }
}

impl Node {
    pub(crate) fn format(dir: &Path, port: u16, controller_port: u16, directory: Uuid) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let features = default_levels(MetadataVersion::LATEST);
        let voters = VoterSet::new([voter(controller_port, directory)]);
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let format = FormatMetadata { voters: &voters, features: &features, extra: &[] };
        format.write(fs, dir, now_ms(), 1).unwrap();
        MetaProperties::new(CLUSTER_ID, NodeId(1), directory).write(&RealFs, dir).unwrap();
        Self::open(dir, port, controller_port, directory)
    }

    pub(crate) fn open(dir: &Path, port: u16, controller_port: u16, directory: Uuid) -> Self {
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let (log, _) =
            open_metadata_log(Arc::clone(&fs), dir, MetadataLogConfig::default(), now_ms()).unwrap();
        let config = QuorumConfig {
            node_id: NodeId(1),
            directory_id: directory,
            endpoints: voter(controller_port, directory).endpoints,
            static_voters: VoterSet::default(),
        };
        let mut quorum = QuorumNode::open(fs, dir, config, log, now_ms()).unwrap();
        quorum.start(now_ms()).unwrap();
        quorum.flush(now_ms()).unwrap();
        let text = "node.id=1\nprocess.roles=broker,controller\ncontroller.listener.names=CONTROLLER\n\
                    listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n\
                    controller.quorum.bootstrap.servers=localhost:9093\n";
        let (config, _) =
            BrokerConfig::load(Sources { properties: Some(text), ..Sources::default() }).unwrap();
        let settings = Settings::new(NodeId(1), CLUSTER_ID, vec![NodeId(1)], Arc::new(config));
        let mut controller = Controller::new(settings);
        let mut loader = Loader::default();
        let mut applied = Offset::ZERO;
        if let Some(snapshot) = quorum.newest_snapshot().unwrap() {
            let SnapshotId { end_offset, epoch } = snapshot.id;
            let time = snapshot.last_contained_log_timestamp;
            let image = MetadataImage::from_snapshot(end_offset, epoch, time, snapshot.values()).unwrap();
            controller.load(image.clone());
            loader.load_snapshot(image);
            applied = end_offset;
        }
        let mut node = Self { quorum, controller, loader, applied, port, directory };
        node.apply(true);
        node.controller.activate(now_ms());
        node.controller.end_session(NodeId(1));
        let bootstrap = bootstrap_records(&default_levels(MetadataVersion::LATEST));
        let decision = node.controller.activation(&bootstrap).unwrap();
        node.take(decision);
        node
    }

    /// Reads what is committed; at start the controller replays it too.
    fn apply(&mut self, replay: bool) {
        loop {
            let batches = self.quorum.read_committed(self.applied, 1 << 20).unwrap();
            if batches.is_empty() {
                break;
            }
            for batch in batches {
                match &batch.records {
                    BatchRecords::Control(_) => {
                        self.loader.skip_batch(batch.last_offset, batch.epoch, batch.timestamp_ms);
                    }
                    BatchRecords::Data(values) => {
                        let loaded = self.loader.load_batch(
                            batch.base_offset,
                            batch.epoch,
                            batch.timestamp_ms,
                            batch.values(),
                        );
                        loaded.unwrap();
                        for (offset, value) in (batch.base_offset.0..).zip(values).filter(|_| replay) {
                            let (record, _) = ottla_metadata::decode(value).unwrap();
                            self.controller.replay(&record, Offset(offset)).unwrap();
                        }
                    }
                }
                self.applied = batch.last_offset.next();
            }
        }
        self.loader.publish();
    }

    fn context(&self) -> Context {
        let quorum = self.quorum.quorum();
        Context {
            now_ms: now_ms(),
            next_offset: quorum.end_offset(),
            api_version: 4,
            kraft_version: quorum.kraft_version(),
        }
    }

    fn take<R>(&mut self, decision: Decision<R>) -> R {
        let base = self.quorum.quorum().end_offset();
        if !decision.records.is_empty() {
            let values: Vec<_> = decision.records.iter().map(VersionedRecord::to_bytes).collect();
            let appended = self.quorum.append(&values, decision.atomic, now_ms()).unwrap();
            assert_eq!(appended.base_offset, base);
        }
        let wait_for = self.controller.accept(&decision, base).unwrap();
        self.quorum.flush(now_ms()).unwrap();
        assert!(self.quorum.quorum().high_watermark().unwrap() > wait_for);
        self.apply(false);
        decision.reply
    }

    /// Registers broker 1, creates topics and configures them.
    pub(crate) fn fill(&mut self) {
        use m::broker_registration_request::{BrokerRegistrationRequest, Feature, Listener};
        let mut request = BrokerRegistrationRequest {
            broker_id: 1,
            cluster_id: CLUSTER_ID.into(),
            incarnation_id: Uuid::from_parts(0x1c, 0x2c),
            log_dirs: vec![self.directory],
            previous_broker_epoch: -1,
            ..BrokerRegistrationRequest::default()
        };
        request.listeners.push(Listener {
            name: "PLAINTEXT".into(),
            host: "localhost".into(),
            port: self.port,
            security_protocol: 0,
        });
        for (name, range) in supported_features() {
            request.features.push(Feature {
                name: name.into(),
                min_supported_version: range.min,
                max_supported_version: range.max,
            });
        }
        let decision = self.controller.register_broker(&self.context(), &request);
        let registered = self.take(decision);
        assert_eq!(registered.error_code, 0);
        let request = m::broker_heartbeat_request::BrokerHeartbeatRequest {
            broker_id: 1,
            broker_epoch: registered.broker_epoch,
            current_metadata_offset: self.applied.0 - 1,
            cordoned_log_dirs: Some(Vec::new()),
            ..Default::default()
        };
        let decision = self.controller.broker_heartbeat(&self.context(), &request);
        assert!(!self.take(decision).is_fenced);
        self.create_topics();
    }

    fn create_topics(&mut self) {
        use m::create_topics_request::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
        let topic = |name: &'static str, num_partitions| CreatableTopic {
            name: name.into(),
            num_partitions,
            replication_factor: 1,
            ..CreatableTopic::default()
        };
        let mut topics = vec![topic("ours-one", 1), topic("ours-many", 40)];
        topics[0]
            .configs
            .push(CreatableTopicConfig { name: "retention.ms".into(), value: Some("777".into()) });
        let request = CreateTopicsRequest { topics, ..Default::default() };
        let decision = self.controller.create_topics(&request, &mut Random::from_u64(5), &mut free_of_charge);
        let reply = self.take(decision);
        assert!(reply.topics.iter().all(|topic| topic.error_code == 0), "{reply:?}");
        let request = m::allocate_producer_ids_request::AllocateProducerIdsRequest {
            broker_id: 1,
            broker_epoch: self.epoch(),
        };
        let decision = self.controller.allocate_producer_ids(&request);
        assert_eq!(self.take(decision).error_code, 0);
        let no_op = self.controller.no_op();
        self.take(no_op);
    }

    fn epoch(&self) -> i64 {
        self.controller.image().cluster().broker(NodeId(1)).unwrap().epoch.0
    }

    pub(crate) fn snapshot(&mut self) -> SnapshotId {
        let image = self.loader.image();
        let provenance = image.provenance();
        let id = SnapshotId { end_offset: provenance.last_offset.next(), epoch: provenance.epoch };
        let mut writer = self.quorum.begin_snapshot(id, provenance.time_ms, now_ms(), 9).unwrap().unwrap();
        for record in image.to_records().unwrap() {
            writer.append(record.to_bytes()).unwrap();
        }
        let size = writer.freeze().unwrap();
        self.quorum.finish_snapshot(id, size, provenance.time_ms);
        id
    }

    pub(crate) fn topics(&self) -> BTreeMap<String, Uuid> {
        self.loader.image().topics().iter().map(|topic| (topic.name.to_string(), topic.id)).collect()
    }

    pub(crate) fn voters(&self) -> VoterSet {
        self.quorum.quorum().voters().clone()
    }
}
