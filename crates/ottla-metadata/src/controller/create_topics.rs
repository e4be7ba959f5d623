//! CreateTopics.

use std::collections::{BTreeMap, BTreeSet};

use ottla_config::BrokerConfig;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::TopicRecord;
use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ottla_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};
use ottla_types::{TopicError, TopicName, Uuid};

use super::{ChargePartitions, Controller, Decision, MAX_PARTITIONS_PER_REQUEST, placement};
use crate::features::MetadataVersion;
use crate::image::{ConfigResource, Partition};
use crate::record::VersionedRecord;
use crate::{ApiError, Random};

/// The topic of the metadata log, which exists without being created.
const METADATA_TOPIC: &str = "__cluster_metadata";

impl Controller {
    /// Answers CreateTopics (v2-7). The shell leaves out topics that the client may not create, adds their errors, and blanks
    /// the configuration of those that the client may not describe.
    pub fn create_topics(
        &self,
        request: &CreateTopicsRequest<'_>,
        random: &mut Random,
        charge: ChargePartitions<'_>,
    ) -> Decision<CreateTopicsResponse<'static>> {
        let refuse_all = |error: &ApiError| {
            let topics = request.topics.iter().map(|topic| refused(&topic.name, error)).collect();
            Decision::atomic(Vec::new(), CreateTopicsResponse { topics, ..Default::default() })
        };
        let version = match self.version() {
            Ok(version) => version,
            Err(error) => return refuse_all(&error),
        };
        let duplicates = duplicate_names(request);
        let wanted: Vec<_> = request
            .topics
            .iter()
            .filter(|topic| !duplicates.contains(topic.name.as_ref()) && topic.name != METADATA_TOPIC)
            .collect();
        if self.too_many_partitions(&wanted) {
            let text = "Excessively large number of partitions per request.";
            return refuse_all(&ApiError::new(ErrorCode::PolicyViolation, text));
        }
        let mut records = Vec::new();
        let mut response = CreateTopicsResponse::default();
        let config = self.current_config();
        for topic in wanted {
            let result = self.create_topic(version, topic, &config, random, &mut records, charge);
            response.topics.push(result.unwrap_or_else(|error| refused(&topic.name, &error)));
        }
        let duplicate = ApiError::new(ErrorCode::InvalidRequest, "Duplicate topic name.");
        response.topics.extend(duplicates.iter().map(|name| refused(name, &duplicate)));
        if request.topics.iter().any(|topic| topic.name == METADATA_TOPIC)
            && !duplicates.contains(METADATA_TOPIC)
        {
            let text = format!("Creation of internal topic {METADATA_TOPIC} is prohibited.");
            response.topics.push(refused(METADATA_TOPIC, &ApiError::new(ErrorCode::InvalidRequest, text)));
        }
        let decision = Decision::atomic(records, response);
        if request.validate_only { decision.without_records() } else { decision }
    }

    fn too_many_partitions(&self, topics: &[&CreatableTopic<'_>]) -> bool {
        let count = |topic: &&CreatableTopic<'_>| match topic.num_partitions {
            _ if !topic.assignments.is_empty() => topic.assignments.len(),
            -1 => usize::try_from(self.settings.default_partitions).unwrap_or(0),
            other => usize::try_from(other).unwrap_or(0),
        };
        topics.iter().map(count).fold(0, usize::saturating_add) > MAX_PARTITIONS_PER_REQUEST
    }

    fn create_topic(
        &self,
        version: MetadataVersion,
        topic: &CreatableTopic<'_>,
        config: &BrokerConfig,
        random: &mut Random,
        records: &mut Vec<VersionedRecord>,
        charge: ChargePartitions<'_>,
    ) -> Result<CreatableTopicResult<'static>, ApiError> {
        self.check_new_name(&topic.name)?;
        let overrides = creation_configs(topic)?;
        let resource = ConfigResource::topic(&topic.name);
        let config_records = self.config_records_of_new(&resource, &overrides)?;
        let partitions = if topic.assignments.is_empty() {
            self.place_topic(version, topic, random)?
        } else {
            self.assign_topic(version, topic)?
        };
        charge(partitions.len())?;
        let topic_id = random.uuid();
        records.push(VersionedRecord::new(TopicRecord { name: topic.name.to_string().into(), topic_id }, 0));
        records.extend(config_records);
        let with_elr = self.image.features().elr_enabled();
        for (index, partition) in (0..).zip(&partitions) {
            let record = partition.to_record(topic_id, index, version, with_elr);
            records.push(record.expect("made for this version"));
        }
        Ok(created(topic, topic_id, &partitions, config, &overrides))
    }

    fn check_new_name(&self, name: &str) -> Result<(), ApiError> {
        check_topic_name(name)?;
        if self.image.topics().id(name).is_some() {
            let text = format!("Topic '{name}' already exists.");
            return Err(ApiError::new(ErrorCode::TopicAlreadyExists, text));
        }
        if let Some(other) = self.index.colliding(name) {
            let text = format!("Topic '{name}' collides with existing topic: {other}");
            return Err(ApiError::new(ErrorCode::InvalidTopicException, text));
        }
        Ok(())
    }

    fn assign_topic(
        &self,
        version: MetadataVersion,
        topic: &CreatableTopic<'_>,
    ) -> Result<Vec<Partition>, ApiError> {
        if topic.replication_factor != -1 {
            return Err(ApiError::new(
                ErrorCode::InvalidRequest,
                "A manual partition assignment was specified, but replication factor was not set to -1.",
            ));
        }
        if topic.num_partitions != -1 {
            return Err(ApiError::new(
                ErrorCode::InvalidRequest,
                "A manual partition assignment was specified, but numPartitions was not set to -1.",
            ));
        }
        let mut partitions = BTreeMap::new();
        let mut replication_factor = None;
        for assignment in &topic.assignments {
            let index = assignment.partition_index;
            if partitions.contains_key(&index) {
                let text = format!("Found multiple manual partition assignments for partition {index}");
                return Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, text));
            }
            let replicas = self.check_manual_assignment(&assignment.broker_ids, replication_factor)?;
            replication_factor = Some(replicas.len());
            let isr = self.active_of_manual(&replicas, index)?;
            partitions.insert(index, self.new_partition(version, replicas, isr));
        }
        if !partitions.keys().copied().eq((0..).take(partitions.len())) {
            let text = "partitions should be a consecutive 0-based integer sequence";
            return Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, text));
        }
        Ok(partitions.into_values().collect())
    }

    fn place_topic(
        &self,
        version: MetadataVersion,
        topic: &CreatableTopic<'_>,
        random: &mut Random,
    ) -> Result<Vec<Partition>, ApiError> {
        let replication_factor = match topic.replication_factor {
            -1 => self.settings.default_replication_factor,
            factor if factor > 0 => factor,
            _ => {
                let text = "Replication factor must be larger than 0, or -1 to use the default value.";
                return Err(ApiError::new(ErrorCode::InvalidReplicationFactor, text));
            }
        };
        let count = match topic.num_partitions {
            -1 => self.settings.default_partitions,
            count if count > 0 => count,
            _ => {
                let text = "Number of partitions was set to an invalid non-positive value.";
                return Err(ApiError::new(ErrorCode::InvalidPartitions, text));
            }
        };
        let count = usize::try_from(count).unwrap_or(0);
        let placed =
            placement::place(&self.usable_brokers(), count, replication_factor, random).map_err(|text| {
                let text = format!("Unable to replicate the partition {replication_factor} time(s): {text}");
                ApiError::new(ErrorCode::InvalidReplicationFactor, text)
            })?;
        let partition = |replicas: Vec<_>| {
            let isr = self.active_of_placed(&replicas, replication_factor)?;
            Ok(self.new_partition(version, replicas, isr))
        };
        placed.into_iter().map(partition).collect()
    }

    /// The node's configuration with what is set dynamically: what new topics start from.
    fn current_config(&self) -> BrokerConfig {
        let props = |resource: &ConfigResource| {
            let config = self.image.configs().config(resource);
            config.into_iter().flat_map(|c| c.iter()).map(|(k, v)| (k.to_string(), v.to_string())).collect()
        };
        let cluster = props(&ConfigResource::all_brokers());
        let node = props(&ConfigResource::broker(self.settings.node_id));
        let dynamic = self.settings.config.with_dynamic(&cluster, &node);
        dynamic.map_or_else(|_| BrokerConfig::clone(&self.settings.config), |(config, _)| config)
    }
}

/// Checks the form of a topic name.
pub(super) fn check_topic_name(name: &str) -> Result<(), ApiError> {
    TopicName::check(name).map_err(|error| {
        let text = match error {
            TopicError::Dots => format!("Topic name is invalid: '{name}' is not allowed"),
            other => other.to_string(),
        };
        ApiError::new(ErrorCode::InvalidTopicException, text)
    })
}

fn duplicate_names(request: &CreateTopicsRequest<'_>) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let again = request.topics.iter().filter(|topic| !seen.insert(topic.name.as_ref()));
    again.map(|topic| topic.name.to_string()).collect()
}

fn creation_configs(topic: &CreatableTopic<'_>) -> Result<BTreeMap<String, String>, ApiError> {
    let missing: Vec<_> =
        topic.configs.iter().filter(|c| c.value.is_none()).map(|c| c.name.as_ref()).collect();
    if !missing.is_empty() {
        let text = format!("Null value not supported for topic configs: {}", missing.join(","));
        return Err(ApiError::new(ErrorCode::InvalidConfig, text));
    }
    let pair = |c: &ottla_protocol::messages::create_topics_request::CreatableTopicConfig<'_>| {
        Some((c.name.to_string(), c.value.as_ref()?.to_string()))
    };
    Ok(topic.configs.iter().filter_map(pair).collect())
}

fn refused(name: &str, error: &ApiError) -> CreatableTopicResult<'static> {
    CreatableTopicResult {
        name: name.to_owned().into(),
        error_code: error.code.code(),
        error_message: error.message.clone().map(Into::into),
        ..CreatableTopicResult::default()
    }
}

fn created(
    topic: &CreatableTopic<'_>,
    topic_id: Uuid,
    partitions: &[Partition],
    config: &BrokerConfig,
    overrides: &BTreeMap<String, String>,
) -> CreatableTopicResult<'static> {
    let entries = ottla_config::describe_topic(config, overrides).unwrap_or_default();
    let configs = entries.into_iter().map(|entry| CreatableTopicConfigs {
        // Kafka's controller repeats the text it was given; DescribeConfigs shows what it means.
        value: overrides.get(&entry.name).cloned().or(entry.value).map(Into::into),
        name: entry.name.into(),
        read_only: entry.read_only,
        config_source: entry.source.id(),
        is_sensitive: entry.is_sensitive,
    });
    let replication_factor = partitions.first().map_or(0, |partition| partition.replicas.len());
    CreatableTopicResult {
        name: topic.name.to_string().into(),
        topic_id,
        error_code: ErrorCode::None.code(),
        error_message: None,
        topic_config_error_code: ErrorCode::None.code(),
        num_partitions: i32::try_from(partitions.len()).unwrap_or(i32::MAX),
        replication_factor: i16::try_from(replication_factor).unwrap_or(i16::MAX),
        configs: Some(configs.collect()),
    }
}
