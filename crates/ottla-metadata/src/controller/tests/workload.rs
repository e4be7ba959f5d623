//! Random requests to a controller, and records that only other parts of a cluster write.

use std::sync::Arc;

use ottla_config::{BrokerConfig, Sources};
use ottla_protocol::messages as m;
use ottla_protocol::messages::MetadataRecord;
use ottla_types::{BrokerEpoch, NodeId, Offset, Uuid};

use crate::controller::{
    Context, Controller, Decision, Settings, TopicAccess, bootstrap_records, free_of_charge,
};
use crate::features::{MetadataVersion, default_levels, supported_features};
use crate::random::Random;
use crate::record::VersionedRecord;

/// A controller under random load, with every batch it wrote.
pub(super) struct Workload {
    pub(super) controller: Controller,
    pub(super) batches: Vec<Vec<VersionedRecord>>,
    random: Random,
    next_offset: Offset,
    now_ms: i64,
    serial: u64,
}

impl Workload {
    pub(super) fn new(seed: u64) -> Self {
        let text = "node.id=1000\nprocess.roles=controller\nlisteners=CONTROLLER://localhost:9093\n\
                    controller.listener.names=CONTROLLER\ncontroller.quorum.bootstrap.servers=localhost:9093\n";
        let (config, _) =
            BrokerConfig::load(Sources { properties: Some(text), ..Sources::default() }).unwrap();
        let settings = Settings::new(NodeId(1000), "cluster", vec![NodeId(1000)], Arc::new(config));
        let mut workload = Self {
            controller: Controller::new(settings),
            batches: Vec::new(),
            random: Random::from_u64(seed),
            next_offset: Offset(3),
            now_ms: 1_000,
            serial: 0,
        };
        workload.controller.activate(0);
        let levels = default_levels(MetadataVersion::LATEST);
        let decision = workload.controller.activation(&bootstrap_records(&levels)).unwrap();
        workload.accept(decision.records);
        for id in 1..=3 {
            workload.register(id);
            workload.heartbeat(id, false, false);
        }
        workload
    }

    /// Takes records over as one batch.
    pub(super) fn accept(&mut self, records: Vec<VersionedRecord>) {
        self.take(&Decision::of(records, ()));
    }

    fn take<R>(&mut self, decision: &Decision<R>) {
        self.controller.accept(decision, self.next_offset).unwrap();
        if !decision.records.is_empty() {
            self.batches.push(decision.records.clone());
            self.next_offset = Offset(self.next_offset.0 + i64::try_from(decision.records.len()).unwrap());
        }
    }

    fn context(&self) -> Context {
        Context { now_ms: self.now_ms, next_offset: self.next_offset, api_version: 4, kraft_version: 1 }
    }

    fn broker(&mut self) -> i32 {
        1 + i32::try_from(self.random.below(4)).unwrap()
    }

    fn epoch(&self, id: i32) -> i64 {
        self.controller.image().cluster().broker(NodeId(id)).map_or(-1, |broker| broker.epoch.0)
    }

    fn name(&mut self) -> String {
        let names = ["a", "b.c", "b_c", "d", "e.f", "long-name"];
        names[self.random.below(names.len())].to_owned()
    }

    /// One random thing happens.
    pub(super) fn step(&mut self) {
        self.now_ms += i64::try_from(self.random.below(1_500)).unwrap();
        match self.random.below(20) {
            0 => {
                let id = self.broker();
                self.register(id);
            }
            1..=5 => {
                let id = self.broker();
                let (fence, shutdown) = (self.random.below(8) == 0, self.random.below(8) == 0);
                self.heartbeat(id, fence, shutdown);
            }
            6..=8 => self.create(),
            9 => self.delete(),
            10 => self.add_partitions(),
            11 => self.configs(),
            12..=14 => self.alter_isr(),
            15 => {
                let decision = self.controller.fence_stale_broker(self.now_ms).unwrap();
                self.take(&decision);
            }
            16 => {
                let decision = if self.random.below(2) == 0 {
                    self.controller.balance_leaders().unwrap()
                } else {
                    self.controller.elect_unclean_leaders().unwrap()
                };
                self.take(&decision);
            }
            17 => {
                let id = self.broker();
                let request = m::allocate_producer_ids_request::AllocateProducerIdsRequest {
                    broker_id: id,
                    broker_epoch: self.epoch(id),
                };
                let decision = self.controller.allocate_producer_ids(&request);
                self.take(&decision);
            }
            18 => {
                let request = m::unregister_broker_request::UnregisterBrokerRequest { broker_id: 4 };
                let decision = self.controller.unregister_broker(&request);
                self.take(&decision);
            }
            _ => self.foreign_record(),
        }
    }

    fn register(&mut self, id: i32) {
        use m::broker_registration_request::{BrokerRegistrationRequest, Feature};
        self.serial += 1;
        let mut request = BrokerRegistrationRequest {
            broker_id: id,
            cluster_id: "cluster".into(),
            incarnation_id: Uuid::from_parts(0x1ca << 32, self.serial),
            previous_broker_epoch: if self.random.below(2) == 0 { self.epoch(id) } else { -1 },
            ..BrokerRegistrationRequest::default()
        };
        let dirs = 1 + u64::try_from(self.random.below(2)).unwrap();
        request.log_dirs = (0..dirs)
            .map(|nth| Uuid::from_parts(0xd1 << 32 | u64::try_from(id).unwrap(), 100 + nth))
            .collect();
        for (name, range) in supported_features() {
            request.features.push(Feature {
                name: name.into(),
                min_supported_version: range.min,
                max_supported_version: range.max,
            });
        }
        let decision = self.controller.register_broker(&self.context(), &request);
        self.take(&decision);
    }

    fn heartbeat(&mut self, id: i32, want_fence: bool, want_shut_down: bool) {
        let epoch = self.epoch(id);
        let known = self.controller.image().cluster().broker(NodeId(id)).cloned();
        let dirs = known.map(|broker| broker.directories.clone()).unwrap_or_default();
        let offline = if dirs.len() > 1 && self.random.below(10) == 0 { vec![dirs[0]] } else { Vec::new() };
        let request = m::broker_heartbeat_request::BrokerHeartbeatRequest {
            broker_id: id,
            broker_epoch: epoch,
            current_metadata_offset: self.next_offset.0 - 1,
            want_fence,
            want_shut_down,
            offline_log_dirs: offline,
            cordoned_log_dirs: (self.random.below(3) == 0).then(Vec::new),
        };
        self.controller.contact(NodeId(id), BrokerEpoch(epoch), self.now_ms);
        let decision = self.controller.broker_heartbeat(&self.context(), &request);
        self.take(&decision);
    }

    fn create(&mut self) {
        use m::create_topics_request::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
        let mut topic = CreatableTopic {
            name: self.name().into(),
            num_partitions: 1 + i32::try_from(self.random.below(5)).unwrap(),
            replication_factor: 1 + i16::try_from(self.random.below(3)).unwrap(),
            ..CreatableTopic::default()
        };
        for (key, value) in [("min.insync.replicas", "2"), ("unclean.leader.election.enable", "true")] {
            if self.random.below(3) == 0 {
                topic.configs.push(CreatableTopicConfig { name: key.into(), value: Some(value.into()) });
            }
        }
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let mut random = Random::from_u64(self.random.next_u64());
        let decision = self.controller.create_topics(&request, &mut random, &mut free_of_charge);
        self.take(&decision);
    }

    fn delete(&mut self) {
        let request = m::delete_topics_request::DeleteTopicsRequest {
            topic_names: vec![self.name().into()],
            ..Default::default()
        };
        let decision = self.controller.delete_topics(
            &self.context(),
            &request,
            &|_| TopicAccess::Delete,
            &mut free_of_charge,
        );
        self.take(&decision);
    }

    fn add_partitions(&mut self) {
        use m::create_partitions_request::{CreatePartitionsRequest, CreatePartitionsTopic};
        let topic = CreatePartitionsTopic {
            name: self.name().into(),
            count: 1 + i32::try_from(self.random.below(8)).unwrap(),
            assignments: None,
        };
        let request = CreatePartitionsRequest { topics: vec![topic], timeout_ms: 0, validate_only: false };
        let mut random = Random::from_u64(self.random.next_u64());
        let decision = self.controller.create_partitions(&request, &mut random, &mut free_of_charge);
        self.take(&decision);
    }

    fn configs(&mut self) {
        use m::incremental_alter_configs_request::{
            AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
        };
        let of_topic = self.random.below(2) == 0;
        let name = if of_topic { self.name() } else { String::new() };
        let value = (1 + self.random.below(3)).to_string();
        let config = AlterableConfig {
            name: "min.insync.replicas".into(),
            config_operation: if of_topic && self.random.below(3) == 0 { 1 } else { 0 },
            value: Some(value.into()),
        };
        let resource = AlterConfigsResource {
            resource_type: if of_topic { 2 } else { 4 },
            resource_name: name.into(),
            configs: vec![config],
        };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        let decision = self.controller.incremental_alter_configs(&request);
        self.take(&decision);
    }

    /// A leader shrinks the ISR to itself, or takes every live replica in.
    fn alter_isr(&mut self) {
        use m::alter_partition_request::{AlterPartitionRequest, BrokerState, PartitionData, TopicData};
        let name = self.name();
        let image = self.controller.image();
        let Some(topic) = image.topics().by_name(&name).cloned() else { return };
        let index = i32::try_from(self.random.below(topic.partitions.len())).unwrap();
        let Some(partition) = topic.partitions.get(&index) else { return };
        let grow = self.random.below(2) == 0;
        let in_sync = |id: &&NodeId| **id == partition.leader || (grow && image.cluster().is_active(**id));
        let isr = partition.replicas.iter().filter(in_sync);
        let request = AlterPartitionRequest {
            broker_id: partition.leader.0,
            broker_epoch: self.epoch(partition.leader.0),
            topics: vec![TopicData {
                topic_id: topic.id,
                partitions: vec![PartitionData {
                    partition_index: index,
                    leader_epoch: partition.leader_epoch.0,
                    new_isr_with_epochs: isr
                        .map(|id| BrokerState { broker_id: id.0, broker_epoch: -1 })
                        .collect(),
                    partition_epoch: partition.partition_epoch,
                    ..PartitionData::default()
                }],
            }],
        };
        let decision = self.controller.alter_partition(&self.context(), &request);
        self.take(&decision);
    }

    /// A record that this controller has no request for yet.
    fn foreign_record(&mut self) {
        let nth = u64::try_from(self.random.below(3)).unwrap();
        let id = Uuid::from_parts(0xac1 << 32, 100 + nth);
        let image = self.controller.image();
        let record: MetadataRecord<'static> = match self.random.below(9) {
            0 => m::ClientQuotaRecord {
                entity: vec![m::client_quota_record::EntityData {
                    entity_type: "user".into(),
                    entity_name: (nth > 0).then(|| format!("u{nth}").into()),
                }],
                key: "producer_byte_rate".into(),
                value: 5.5,
                remove: self.random.below(3) == 0,
            }
            .into(),
            1 => m::AccessControlEntryRecord {
                id,
                resource_name: "r".into(),
                principal: "User:a".into(),
                ..Default::default()
            }
            .into(),
            2 if image.acls().get(id).is_some() => m::RemoveAccessControlEntryRecord { id }.into(),
            3 => m::UserScramCredentialRecord {
                name: format!("u{nth}").into(),
                mechanism: 1,
                salt: vec![1, 2].into(),
                iterations: 4096,
                ..Default::default()
            }
            .into(),
            4 => m::RemoveUserScramCredentialRecord { name: format!("u{nth}").into(), mechanism: 1 }.into(),
            5 => m::DelegationTokenRecord {
                owner: "User:a".into(),
                token_id: format!("t{nth}").into(),
                ..Default::default()
            }
            .into(),
            6 => m::RemoveDelegationTokenRecord { token_id: format!("t{nth}").into() }.into(),
            7 => m::RegisterControllerRecord { controller_id: 1000, ..Default::default() }.into(),
            8 if image.cluster().controller(NodeId(1000)).is_some() => {
                m::UnregisterControllerRecord { controller_id: 1000 }.into()
            }
            _ => m::NoOpRecord::default().into(),
        };
        self.accept(vec![VersionedRecord::new(record, 0)]);
    }
}
