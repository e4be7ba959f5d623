//! A controller driven by text.

mod show;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_config::{BrokerConfig, Sources};
use ottla_metadata::controller::{
    Context, Controller, Decision, Settings, TopicAccess, bootstrap_records, free_of_charge,
};
use ottla_metadata::features::{METADATA_VERSION, default_levels, supported_features};
use ottla_metadata::image::{Loader, MetadataImage};
use ottla_metadata::{Random, features::MetadataVersion};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages as m;
use ottla_types::{BrokerEpoch, LeaderEpoch, NodeId, Offset, Uuid};

const CLUSTER_ID: &str = "cluster";

/// A controller with everything around it that a scenario needs.
pub(crate) struct Cluster {
    controller: Controller,
    loader: Loader,
    next_offset: Offset,
    now_ms: i64,
    random: Random,
    starts: u64,
}

/// `key=value` words of a command.
struct Args<'a> {
    words: Vec<&'a str>,
    named: BTreeMap<&'a str, &'a str>,
}

impl<'a> Args<'a> {
    fn parse(text: &'a str) -> Self {
        let (mut words, mut named) = (Vec::new(), BTreeMap::new());
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some((key, value)) => drop(named.insert(key, value)),
                None => words.push(word),
            }
        }
        Self { words, named }
    }

    fn word(&self, at: usize) -> &'a str {
        self.words.get(at).copied().unwrap_or_else(|| panic!("word {at} is missing"))
    }

    fn number<T: std::str::FromStr>(&self, key: &str, default: T) -> T {
        self.named
            .get(key)
            .map_or(default, |text| text.parse().ok().unwrap_or_else(|| panic!("{key}={text}")))
    }

    fn flag(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    fn id(&self, at: usize) -> i32 {
        self.word(at).parse().expect("a number")
    }
}

fn list(text: &str) -> Vec<i32> {
    text.split(',').filter(|part| !part.is_empty()).map(|part| part.parse().expect("a number")).collect()
}

pub(crate) fn directory(broker: i32, nth: u64) -> Uuid {
    Uuid::from_parts(0xd1 << 32 | u64::try_from(broker).unwrap(), 100 + nth)
}

fn settings() -> Settings {
    let text = "node.id=1000\nprocess.roles=controller\nlisteners=CONTROLLER://localhost:9093\n\
                controller.listener.names=CONTROLLER\ncontroller.quorum.bootstrap.servers=localhost:9093\n";
    let (config, _) = BrokerConfig::load(Sources { properties: Some(text), ..Sources::default() }).unwrap();
    Settings::new(NodeId(1000), CLUSTER_ID, vec![NodeId(1000)], Arc::new(config))
}

impl Cluster {
    pub(crate) fn new() -> Self {
        Self {
            controller: Controller::new(settings()),
            loader: Loader::default(),
            next_offset: Offset(3),
            now_ms: 1_000_000,
            random: Random::from_u64(1),
            starts: 0,
        }
    }

    fn context(&self, api_version: i16) -> Context {
        Context { now_ms: self.now_ms, next_offset: self.next_offset, api_version, kraft_version: 1 }
    }

    /// Takes a decision over and prints its reply (as `reply` does) and its records.
    fn accept<R>(&mut self, decision: Decision<R>, reply: impl FnOnce(&R) -> Vec<String>) -> Vec<String> {
        let mut lines = reply(&decision.reply);
        let values: Vec<_> = decision.records.iter().map(|record| record.to_bytes()).collect();
        for record in &decision.records {
            let before = self.controller.image().clone();
            lines.push(show::record(record, &before));
        }
        self.controller.accept(&decision, self.next_offset).unwrap();
        if !values.is_empty() {
            let epoch = LeaderEpoch(1);
            let values_of = values.iter().map(Vec::as_slice);
            self.loader.load_batch(self.next_offset, epoch, self.now_ms, values_of).unwrap();
            self.next_offset = Offset(self.next_offset.0 + i64::try_from(values.len()).unwrap());
        }
        self.loader.publish();
        lines
    }

    /// What must hold after each command.
    pub(crate) fn check(&self) {
        let image = self.controller.image();
        let parts = |image: &MetadataImage| (image.to_records().unwrap(), image.features().clone());
        assert_eq!(parts(image), parts(self.loader.image()), "controller and loader agree");
        let again = self.restarted(image.clone());
        assert_eq!(parts(again.image()), parts(image));
        for topic in image.topics().iter() {
            for partition in topic.partitions.values() {
                let replicas: BTreeSet<_> = partition.replicas.iter().collect();
                assert_eq!(replicas.len(), partition.replicas.len());
                assert!(partition.isr.iter().all(|id| replicas.contains(id)), "{partition:?}");
                assert!(partition.elr.iter().all(|id| replicas.contains(id) && !partition.isr.contains(id)));
                assert!(
                    !partition.has_leader() || partition.isr.contains(&partition.leader),
                    "{partition:?}"
                );
                assert_eq!(partition.directories.len(), partition.replicas.len());
            }
        }
    }

    fn restarted(&self, image: MetadataImage) -> Controller {
        let mut controller = Controller::new(settings());
        controller.load(image);
        controller
    }

    /// Runs a command and returns what it printed.
    pub(crate) fn run(&mut self, command: &str) -> Vec<String> {
        let args = Args::parse(command);
        match args.word(0) {
            "activate" => self.activate(&args),
            "restart" => {
                self.controller = self.restarted(self.controller.image().clone());
                self.controller.activate(self.now_ms);
                if let Some(id) = args.named.get("local") {
                    self.controller.end_session(NodeId(id.parse().unwrap()));
                }
                Vec::new()
            }
            "wait" => {
                self.now_ms += args.word(1).parse::<i64>().unwrap();
                Vec::new()
            }
            "register" => self.register(&args),
            "unregister" => {
                let request = m::unregister_broker_request::UnregisterBrokerRequest { broker_id: args.id(1) };
                let decision = self.controller.unregister_broker(&request);
                self.accept(decision, |r| vec![show::error(r.error_code, r.error_message.as_deref())])
            }
            "heartbeat" => self.heartbeat(&args),
            "fence-stale" => {
                let decision = self.controller.fence_stale_broker(self.now_ms).unwrap();
                self.accept(decision, |more| vec![format!("more={more}")])
            }
            "balance" => {
                let decision = self.controller.balance_leaders().unwrap();
                self.accept(decision, |more| vec![format!("more={more}")])
            }
            "elect-unclean" => {
                let decision = self.controller.elect_unclean_leaders().unwrap();
                self.accept(decision, |more| vec![format!("more={more}")])
            }
            "create" => self.create(&args),
            "delete" => self.delete(&args),
            "add-partitions" => self.add_partitions(&args),
            "alter-config" => self.alter_config(&args),
            "replace-config" => self.replace_config(&args),
            "producer-ids" => {
                let request = m::allocate_producer_ids_request::AllocateProducerIdsRequest {
                    broker_id: args.id(1),
                    broker_epoch: self.epoch(args.id(1)),
                };
                let decision = self.controller.allocate_producer_ids(&request);
                self.accept(decision, |r| {
                    let block = format!(" start={} len={}", r.producer_id_start, r.producer_id_len);
                    vec![show::error(r.error_code, None) + &block]
                })
            }
            "features" => self.features(&args),
            "alter-isr" => self.alter_isr(&args),
            "elect" => self.elect(&args),
            "reassign" => self.reassign(&args),
            "reassignments" => self.reassignments(),
            "show" => show::partition_of(self.controller.image(), args.word(1)),
            other => panic!("unknown command {other}"),
        }
    }

    fn epoch(&self, broker: i32) -> i64 {
        self.controller.image().cluster().broker(NodeId(broker)).map_or(-1, |broker| broker.epoch.0)
    }

    fn activate(&mut self, args: &Args<'_>) -> Vec<String> {
        let version = MetadataVersion::from_level(args.number("metadata.version", 33)).unwrap();
        let mut levels = default_levels(version);
        if args.flag("no-elr") {
            levels.remove("eligible.leader.replicas.version");
        }
        self.controller.activate(self.now_ms);
        let decision = self.controller.activation(&bootstrap_records(&levels)).unwrap();
        self.accept(decision, |()| Vec::new())
    }

    fn register(&mut self, args: &Args<'_>) -> Vec<String> {
        use m::broker_registration_request::{BrokerRegistrationRequest, Feature, Listener};
        let id = args.id(1);
        if !args.flag("same") {
            self.starts += 1;
        }
        let mut request = BrokerRegistrationRequest {
            broker_id: id,
            cluster_id: args.named.get("cluster").copied().unwrap_or(CLUSTER_ID).to_owned().into(),
            incarnation_id: Uuid::from_parts(0x1ca << 32, self.starts),
            rack: args.named.get("rack").map(|rack| (*rack).to_owned().into()),
            previous_broker_epoch: args.number("previous", -1),
            ..BrokerRegistrationRequest::default()
        };
        let dirs: u64 = args.number("dirs", 1);
        let owner = args.number("dirs-of", id);
        request.log_dirs = (0..dirs).map(|nth| directory(owner, nth)).collect();
        request.listeners.push(Listener {
            name: "PLAINTEXT".into(),
            host: "localhost".into(),
            port: 9092,
            security_protocol: 0,
        });
        for (name, range) in supported_features() {
            if args.named.get("without") == Some(&name) {
                continue;
            }
            let max = if name == METADATA_VERSION { args.number("max", range.max) } else { range.max };
            request.features.push(Feature {
                name: name.into(),
                min_supported_version: range.min,
                max_supported_version: max,
            });
        }
        let decision = self.controller.register_broker(&self.context(args.number("version", 4)), &request);
        self.accept(decision, |r| {
            vec![show::error(r.error_code, None) + &format!(" epoch={}", r.broker_epoch)]
        })
    }

    fn heartbeat(&mut self, args: &Args<'_>) -> Vec<String> {
        let id = args.id(1);
        let epoch = args.number("epoch", self.epoch(id));
        let offline = args.named.get("offline").map_or_else(Vec::new, |text| list(text));
        let cordoned = args.named.get("cordoned").map(|text| list(text));
        let dirs =
            |nth: Vec<i32>| nth.into_iter().map(|nth| directory(id, u64::try_from(nth).unwrap())).collect();
        let request = m::broker_heartbeat_request::BrokerHeartbeatRequest {
            broker_id: id,
            broker_epoch: epoch,
            current_metadata_offset: args.number("offset", self.next_offset.0 - 1),
            want_fence: args.flag("fence"),
            want_shut_down: args.flag("shutdown"),
            offline_log_dirs: dirs(offline),
            cordoned_log_dirs: cordoned.map(dirs),
        };
        self.controller.contact(NodeId(id), BrokerEpoch(epoch), self.now_ms);
        let decision = self.controller.broker_heartbeat(&self.context(2), &request);
        self.accept(decision, |r| {
            let state = format!(
                " caught-up={} fenced={} shut-down={}",
                r.is_caught_up, r.is_fenced, r.should_shut_down
            );
            vec![show::error(r.error_code, None) + &state]
        })
    }

    fn create(&mut self, args: &Args<'_>) -> Vec<String> {
        use m::create_topics_request::{
            CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
        };
        let mut request = CreateTopicsRequest { validate_only: args.flag("validate"), ..Default::default() };
        for name in args.word(1).split(',') {
            let mut topic = CreatableTopic {
                name: name.to_owned().into(),
                num_partitions: args.number("partitions", -1),
                replication_factor: args.number("rf", -1),
                ..CreatableTopic::default()
            };
            for (key, value) in args.named.iter().filter(|(key, _)| key.contains('.')) {
                let value = Some((*value).to_owned().into()).filter(|v| v != "null");
                topic.configs.push(CreatableTopicConfig { name: (*key).to_owned().into(), value });
            }
            for assignment in args.named.get("assign").iter().flat_map(|text| text.split('/')) {
                let (index, brokers) = assignment.split_once(':').unwrap();
                topic.assignments.push(CreatableReplicaAssignment {
                    partition_index: index.parse().unwrap(),
                    broker_ids: list(brokers),
                });
            }
            request.topics.push(topic);
        }
        let decision = self.controller.create_topics(&request, &mut self.random, &mut free_of_charge);
        self.accept(decision, |r| {
            let line = |t: &m::create_topics_response::CreatableTopicResult<'_>| {
                let mut line =
                    format!("{}: {}", t.name, show::error(t.error_code, t.error_message.as_deref()));
                if t.error_code == ErrorCode::None.code() {
                    let configs = t.configs.as_ref().map_or(0, Vec::len);
                    assert!(configs > 25, "effective configuration is told");
                    line += &format!(" partitions={} rf={}", t.num_partitions, t.replication_factor);
                }
                line
            };
            r.topics.iter().map(line).collect()
        })
    }

    fn delete(&mut self, args: &Args<'_>) -> Vec<String> {
        use m::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
        let mut request = DeleteTopicsRequest::default();
        for name in args.named.get("names").iter().flat_map(|text| text.split(',')) {
            let name = Some(name.to_owned().into());
            request.topics.push(DeleteTopicState { name, topic_id: Uuid::ZERO });
        }
        for name in args.named.get("ids-of").iter().flat_map(|text| text.split(',')) {
            let topic_id = self.controller.image().topics().id(name).unwrap_or(Uuid::from_parts(9, 9));
            request.topics.push(DeleteTopicState { name: None, topic_id });
        }
        let denied = args.named.get("denied").copied();
        let access =
            |name: &str| if Some(name) == denied { TopicAccess::Describe } else { TopicAccess::Delete };
        let decision =
            self.controller.delete_topics(&self.context(6), &request, &access, &mut free_of_charge);
        self.accept(decision, |r| {
            let line = |t: &m::delete_topics_response::DeletableTopicResult<'_>| {
                let name = t.name.as_deref().unwrap_or("(no name)");
                format!("{name}: {}", show::error(t.error_code, t.error_message.as_deref()))
            };
            r.responses.iter().map(line).collect()
        })
    }

    fn add_partitions(&mut self, args: &Args<'_>) -> Vec<String> {
        use m::create_partitions_request::{
            CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
        };
        let assignments = args.named.get("assign").map(|text| {
            let one = |brokers: &str| CreatePartitionsAssignment { broker_ids: list(brokers) };
            text.split('/').map(one).collect()
        });
        let topic = |name: &str| CreatePartitionsTopic {
            name: name.to_owned().into(),
            count: args.number("count", 1),
            assignments: assignments.clone(),
        };
        let topics = args.word(1).split(',').map(topic).collect();
        let request = CreatePartitionsRequest { topics, timeout_ms: 0, validate_only: args.flag("validate") };
        let decision = self.controller.create_partitions(&request, &mut self.random, &mut free_of_charge);
        self.accept(decision, |r| {
            let line = |t: &m::create_partitions_response::CreatePartitionsTopicResult<'_>| {
                format!("{}: {}", t.name, show::error(t.error_code, t.error_message.as_deref()))
            };
            r.results.iter().map(line).collect()
        })
    }

    fn alter_config(&mut self, args: &Args<'_>) -> Vec<String> {
        use m::incremental_alter_configs_request::{
            AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
        };
        let (kind, name) = args.word(1).split_once(':').unwrap();
        let operation = match args.word(2) {
            "set" => 0,
            "delete" => 1,
            "append" => 2,
            "subtract" => 3,
            _ => 9,
        };
        let config = |(key, value): (&&str, &&str)| AlterableConfig {
            name: (*key).to_owned().into(),
            config_operation: operation,
            value: Some((*value).to_owned().into()).filter(|v| v != "null"),
        };
        let resource = AlterConfigsResource {
            resource_type: kind.parse().unwrap(),
            resource_name: name.to_owned().into(),
            configs: args.named.iter().map(config).collect(),
        };
        let resources = vec![resource.clone(); if args.flag("twice") { 2 } else { 1 }];
        let request = IncrementalAlterConfigsRequest { resources, validate_only: args.flag("validate") };
        let decision = self.controller.incremental_alter_configs(&request);
        self.accept(decision, |r| {
            r.responses.iter().map(|t| show::error(t.error_code, t.error_message.as_deref())).collect()
        })
    }

    fn replace_config(&mut self, args: &Args<'_>) -> Vec<String> {
        use m::alter_configs_request::{AlterConfigsRequest, AlterConfigsResource, AlterableConfig};
        let (kind, name) = args.word(1).split_once(':').unwrap();
        let config = |(key, value): (&&str, &&str)| AlterableConfig {
            name: (*key).to_owned().into(),
            value: Some((*value).to_owned().into()),
        };
        let resource = AlterConfigsResource {
            resource_type: kind.parse().unwrap(),
            resource_name: name.to_owned().into(),
            configs: args.named.iter().map(config).collect(),
        };
        let decision = self
            .controller
            .alter_configs(&AlterConfigsRequest { resources: vec![resource], validate_only: false });
        self.accept(decision, |r| {
            r.responses.iter().map(|t| show::error(t.error_code, t.error_message.as_deref())).collect()
        })
    }

    fn features(&mut self, args: &Args<'_>) -> Vec<String> {
        use m::update_features_request::{FeatureUpdateKey, UpdateFeaturesRequest};
        let upgrade_type = match args.word(1) {
            "upgrade" => 1,
            "downgrade" => 2,
            "unsafe" => 3,
            _ => 0,
        };
        let update = |(name, level): (&&str, &&str)| FeatureUpdateKey {
            feature: (*name).to_owned().into(),
            max_version_level: level.parse().unwrap(),
            allow_downgrade: false,
            upgrade_type,
        };
        let request = UpdateFeaturesRequest {
            timeout_ms: 0,
            feature_updates: args.named.iter().map(update).collect(),
            validate_only: args.flag("validate"),
        };
        let decision = self.controller.update_features(&self.context(2), &request);
        self.accept(decision, |r| vec![show::error(r.error_code, r.error_message.as_deref())])
    }

    fn alter_isr(&mut self, args: &Args<'_>) -> Vec<String> {
        use m::alter_partition_request::{AlterPartitionRequest, BrokerState, PartitionData, TopicData};
        let (name, index) = args.word(1).rsplit_once('-').unwrap();
        let sender = args.number("from", 0);
        let topic = self.controller.image().topics().by_name(name).unwrap().clone();
        let index: i32 = index.parse().unwrap();
        let partition = topic.partitions.get(&index).unwrap();
        let isr = list(args.named["isr"]);
        let state = |id: &i32| BrokerState {
            broker_id: *id,
            broker_epoch: args.number("member-epoch", self.epoch(*id)),
        };
        let data = PartitionData {
            partition_index: index,
            leader_epoch: partition.leader_epoch.0 + args.number("leader-epoch", 0),
            new_isr: Vec::new(),
            new_isr_with_epochs: isr.iter().map(state).collect(),
            leader_recovery_state: args.number("recovery", 0),
            partition_epoch: partition.partition_epoch + args.number("partition-epoch", 0),
        };
        let request = AlterPartitionRequest {
            broker_id: sender,
            broker_epoch: args.number("epoch", self.epoch(sender)),
            topics: vec![TopicData { topic_id: topic.id, partitions: vec![data] }],
        };
        let decision = self.controller.alter_partition(&self.context(3), &request);
        self.accept(decision, |r| {
            if r.error_code != 0 {
                return vec![show::error(r.error_code, None)];
            }
            let line = |p: &m::alter_partition_response::PartitionData| {
                let state = format!(
                    " leader={} epoch={} isr={:?} pe={}",
                    p.leader_id, p.leader_epoch, p.isr, p.partition_epoch
                );
                show::error(p.error_code, None) + if p.error_code == 0 { &state } else { "" }
            };
            r.topics.iter().flat_map(|t| &t.partitions).map(line).collect()
        })
    }

    fn elect(&mut self, args: &Args<'_>) -> Vec<String> {
        use m::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};
        let topic_partitions = args.named.get("partition").map(|text| {
            let (topic, index) = text.rsplit_once('-').unwrap();
            vec![TopicPartitions { topic: topic.to_owned().into(), partitions: vec![index.parse().unwrap()] }]
        });
        let election_type = if args.flag("unclean") { 1 } else { 0 };
        let request = ElectLeadersRequest { election_type, topic_partitions, timeout_ms: 0 };
        let decision = self.controller.elect_leaders(&request);
        self.accept(decision, |r| {
            let mut lines = Vec::new();
            for topic in &r.replica_election_results {
                for p in &topic.partition_result {
                    let error = show::error(p.error_code, p.error_message.as_deref());
                    lines.push(format!("{}-{}: {error}", topic.topic, p.partition_id));
                }
            }
            lines
        })
    }

    /// `reassign foo-0 replicas=2,3 [keep-factor]`, or without `replicas` to cancel.
    fn reassign(&mut self, args: &Args<'_>) -> Vec<String> {
        use m::alter_partition_reassignments_request as request;
        let (topic, index) = args.word(1).rsplit_once('-').unwrap();
        let partition = request::ReassignablePartition {
            partition_index: index.parse().unwrap(),
            replicas: args.named.get("replicas").map(|text| list(text)),
        };
        let request = request::AlterPartitionReassignmentsRequest {
            allow_replication_factor_change: !args.flag("keep-factor"),
            topics: vec![request::ReassignableTopic {
                name: topic.to_owned().into(),
                partitions: vec![partition],
            }],
            ..Default::default()
        };
        let decision = self.controller.alter_partition_reassignments(&request);
        self.accept(decision, |r| {
            let partitions = r.responses.iter().flat_map(|topic| &topic.partitions);
            partitions.map(|p| show::error(p.error_code, p.error_message.as_deref())).collect()
        })
    }

    fn reassignments(&self) -> Vec<String> {
        let listed = self.controller.list_partition_reassignments(&Default::default());
        let show = |topic: &m::list_partition_reassignments_response::OngoingTopicReassignment<'_>| {
            let line = |p: &m::list_partition_reassignments_response::OngoingPartitionReassignment| {
                format!(
                    "{}-{} replicas={:?} adding={:?} removing={:?}",
                    topic.name, p.partition_index, p.replicas, p.adding_replicas, p.removing_replicas
                )
            };
            topic.partitions.iter().map(line).collect::<Vec<_>>()
        };
        listed.topics.iter().flat_map(show).collect()
    }
}
