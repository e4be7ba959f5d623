//! Makes a change of the metadata real on this broker: logs, leadership, configuration, coordinators
//! (`BrokerMetadataPublisher`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_metadata::controller::Context;
use ottla_metadata::image::{LeaderRecovery, LocalPartition, MetadataDelta, MetadataImage, ResourceKind};
use ottla_protocol::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use ottla_protocol::messages::assign_replicas_to_dirs_request as assign;
use ottla_protocol::messages::{AlterPartitionRequest, AssignReplicasToDirsRequest};
use ottla_storage::dir::{Checkpoint, CreateError};
use ottla_types::{TopicPartition, Uuid};
use tracing::{error, info};

use crate::broker::{Broker, TopicSettingsOf, props};
use crate::cordoned_dirs;
use crate::internal_topics::{CONSUMER_OFFSETS, TRANSACTION_STATE};
use crate::partition::Partition;
use crate::transactions::Transactions;

/// Applies a delta. Logs of new partitions exist before the image is shown, so that whoever sees a topic can use it; logs of
/// deleted ones go after it.
pub(crate) fn publish(broker: &Arc<Broker>, delta: &MetadataDelta) {
    let image = delta.image();
    let changes = delta.changes();
    let local = delta.local_changes(broker.node_id);
    let settings = TopicSettingsOf::new(broker, image);
    let mut created = Vec::new();
    for partition in &local.leaders {
        let is_new = !held(delta.base(), broker, partition);
        match ensure_replica(&settings, partition, is_new) {
            Ok(replica) => created.extend(replica),
            Err(failure) => {
                error!("cannot create a replica of {}-{}: {failure}", partition.topic, partition.index);
            }
        }
    }
    broker.set_image(image.clone());
    if !local.deleted.is_empty() {
        delete_all(broker, &local.deleted);
        let which = [Checkpoint::RecoveryPoints, Checkpoint::LogStarts, Checkpoint::HighWatermarks];
        broker.replicas.checkpoint(broker, &which);
    }
    for partition in &local.elected {
        lead(broker, partition);
    }
    broker.settling.settle(created);
    report_recovered(broker, &local.leaders);
    report_directories(broker, &local.leaders);
    let mut brokers_changed = false;
    let mut topics_changed = BTreeSet::new();
    for resource in &changes.configs {
        match resource.kind {
            ResourceKind::Broker => brokers_changed = true,
            ResourceKind::ClientMetrics => {
                let settings = image.configs().config(resource).map(|config| props(config));
                broker.telemetry.subscribe(&resource.name, &settings.unwrap_or_default());
            }
            ResourceKind::Topic => _ = topics_changed.insert(resource.name.to_string()),
            _ => {}
        }
    }
    if brokers_changed {
        broker.reload_config(image);
        cordoned_dirs::apply(broker);
        broker.cleaner.reconfigure(broker);
    }
    if brokers_changed || !topics_changed.is_empty() {
        update_settings(broker, image, |topic| brokers_changed || topics_changed.contains(topic));
    }
    if !changes.quotas.is_empty() {
        broker.quotas.apply(image.quotas());
    }
    let has_new_topics = changes.topics.values().any(|change| change.created);
    let changed: Vec<Arc<str>> = changes
        .topics
        .keys()
        .filter_map(|id| image.topics().by_id(*id).or_else(|| delta.base().topics().by_id(*id)))
        .map(|topic| topic.name.as_str().into())
        .collect();
    if !changed.is_empty() {
        broker.groups.cluster_changed(&changed, has_new_topics);
    }
    let deleted: Vec<_> = changes
        .topics
        .iter()
        .filter(|(_, change)| change.deleted)
        .filter_map(|(id, _)| Some((delta.base().topics().by_id(*id)?.name.clone(), *id)))
        .collect();
    if !deleted.is_empty() {
        broker.groups.topics_deleted(&deleted);
    }
}

/// Takes up the leadership of everything that the image gives to this broker, at the start.
pub(crate) fn publish_first(broker: &Arc<Broker>, image: &MetadataImage) {
    broker.reload_config(image);
    broker.quotas.apply(image.quotas());
    broker.telemetry.subscribe_all(image);
    let settings = TopicSettingsOf::new(broker, image);
    let mut led = Vec::new();
    for topic in image.topics().iter() {
        for (index, partition) in topic.partitions.iter() {
            if partition.leader != broker.node_id {
                continue;
            }
            let local = LocalPartition {
                topic: topic.name.clone(),
                topic_id: topic.id,
                index: *index,
                partition: Arc::clone(partition),
            };
            // Where a directory is offline it may be there, and an empty log elsewhere would be a loss.
            match ensure_replica(&settings, &local, false) {
                Ok(_) => led.push(local),
                Err(failure) => error!("cannot create a replica of {}-{index}: {failure}", topic.name),
            }
        }
    }
    // Coordinators act on the image as soon as they lead.
    broker.set_image(image.clone());
    for local in &led {
        lead(broker, local);
    }
    broker.groups.cluster_changed(&[], true);
    broker.replicas.dirs().set_cordoned(cordoned_dirs::cordoned(broker));
    report_recovered(broker, &led);
    report_directories(broker, &led);
}

/// Partitions whose leader was elected without being in sync (the only replica, after a crash) are recovered once their
/// log is open: the controller is told, and the partition is ordinary again (KIP-966, `AlterPartition`).
fn report_recovered(broker: &Broker, led: &[LocalPartition]) {
    let mut topics: BTreeMap<Uuid, Vec<PartitionData>> = BTreeMap::new();
    for local in led.iter().filter(|local| local.partition.recovery == LeaderRecovery::Recovering) {
        let isr = local.partition.isr.iter();
        topics.entry(local.topic_id).or_default().push(PartitionData {
            partition_index: local.index,
            leader_epoch: local.partition.leader_epoch.value(),
            new_isr_with_epochs: isr
                .map(|id| BrokerState { broker_id: id.value(), broker_epoch: -1 })
                .collect(),
            leader_recovery_state: 0,
            partition_epoch: local.partition.partition_epoch,
            ..PartitionData::default()
        });
    }
    if topics.is_empty() {
        return;
    }
    let broker_epoch = broker.image().cluster().broker(broker.node_id).map_or(-1, |b| b.epoch.value());
    let request = AlterPartitionRequest {
        broker_id: broker.node_id.value(),
        broker_epoch,
        topics: topics.into_iter().map(|(topic_id, partitions)| TopicData { topic_id, partitions }).collect(),
    };
    // The outcome comes back as a change of the metadata; nobody waits for the reply.
    drop(broker.controller.decide(move |controller, context, _| {
        controller.alter_partition(&Context { api_version: 3, ..*context }, &request)
    }));
}

/// Whether this broker had the replica in an earlier image.
fn held(image: &MetadataImage, broker: &Broker, local: &LocalPartition) -> bool {
    let before = image.topics().partition(local.topic_id, local.index);
    before.is_some_and(|partition| partition.replicas.contains(&broker.node_id))
}

/// Tells the controller in which directory a replica is now.
pub(crate) fn report_directory(broker: &Broker, partition: &Partition) {
    let image = broker.image();
    let Some(known) = image.topics().partition(partition.topic_id, partition.id.partition) else { return };
    report_directories(
        broker,
        &[LocalPartition {
            topic: partition.id.topic.clone(),
            topic_id: partition.topic_id,
            index: partition.id.partition,
            partition: Arc::clone(known),
        }],
    );
}

/// Tells the controller in which directories replicas are, where it knows otherwise or not at all (KIP-858).
fn report_directories(broker: &Broker, local: &[LocalPartition]) {
    let mut found: BTreeMap<Uuid, BTreeMap<Uuid, Vec<i32>>> = BTreeMap::new();
    for local in local {
        let Some(partition) = broker.partition(local.topic_id, local.index) else { continue };
        let dir = partition.dir();
        let Some(dir) = dir.id().filter(|_| dir.is_online()) else { continue };
        if local.partition.directory(broker.node_id) != Some(dir) {
            found.entry(dir).or_default().entry(local.topic_id).or_default().push(local.index);
        }
    }
    if found.is_empty() {
        return;
    }
    let partitions = |indexes: Vec<i32>| {
        indexes.into_iter().map(|partition_index| assign::PartitionData { partition_index }).collect()
    };
    let topics = |topics: BTreeMap<Uuid, Vec<i32>>| {
        let topic = |(topic_id, indexes)| assign::TopicData { topic_id, partitions: partitions(indexes) };
        topics.into_iter().map(topic).collect()
    };
    let request = AssignReplicasToDirsRequest {
        broker_id: broker.node_id.value(),
        broker_epoch: broker.image().cluster().broker(broker.node_id).map_or(-1, |b| b.epoch.value()),
        directories: found
            .into_iter()
            .map(|(id, found)| assign::DirectoryData { id, topics: topics(found) })
            .collect(),
    };
    // The outcome comes back as a change of the metadata; nobody waits for the reply.
    drop(
        broker
            .controller
            .decide(move |controller, context, _| controller.assign_replicas_to_dirs(context, &request)),
    );
}

/// Creates the log of a replica that has none, and returns it then.
fn ensure_replica(
    settings: &TopicSettingsOf<'_>,
    local: &LocalPartition,
    is_new: bool,
) -> Result<Option<Arc<Partition>>, CreateError> {
    let broker = settings.broker;
    if broker.partition(local.topic_id, local.index).is_some() {
        return Ok(None);
    }
    let id = TopicPartition { topic: local.topic.clone(), partition: local.index };
    let dir_id = local.partition.directory(broker.node_id);
    let partition = broker.replicas.create(settings, id, local.topic_id, dir_id, is_new)?;
    broker.add_partition(Arc::clone(&partition));
    Ok(Some(partition))
}

fn lead(broker: &Arc<Broker>, local: &LocalPartition) {
    let Some(partition) = broker.partition(local.topic_id, local.index) else { return };
    partition.update(|replica| ((), replica.lead(local.partition.leader_epoch)));
    match local.topic.as_str() {
        CONSUMER_OFFSETS => broker.groups.lead(broker, partition),
        TRANSACTION_STATE => Transactions::lead(broker, partition),
        _ => {}
    }
}

fn delete_all(broker: &Broker, deleted: &[LocalPartition]) {
    let mut partitions = Vec::with_capacity(deleted.len());
    for local in deleted {
        let Some(partition) = broker.remove_partition(local.topic_id, local.index) else { continue };
        match local.topic.as_str() {
            CONSUMER_OFFSETS => broker.groups.resign(local.index),
            TRANSACTION_STATE => broker.transactions.resign(local.index),
            _ => {}
        }
        info!(partition = %partition.id, "deleting the replica");
        partitions.push(partition);
    }
    broker.replicas.delete_all(&partitions);
}

fn update_settings(broker: &Arc<Broker>, image: &MetadataImage, is_affected: impl Fn(&str) -> bool) {
    let settings = TopicSettingsOf::new(broker, image);
    for partition in broker.partitions() {
        if is_affected(&partition.id.topic) {
            partition.update_settings(settings.topic(&partition.id.topic));
        }
    }
}
