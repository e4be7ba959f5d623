//! Records, errors and partitions as short lines.

use ottla_metadata::VersionedRecord;
use ottla_metadata::image::MetadataImage;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{BrokerRegistrationChangeRecord, MetadataRecord as R, PartitionChangeRecord};
use ottla_protocol::records::FramedRecord as _;
use ottla_types::Uuid;

/// An error code by name, with its text.
pub(crate) fn error(code: i16, message: Option<&str>) -> String {
    let name = ErrorCode::from_code(code).name();
    match message {
        Some(text) => format!("{name} \"{text}\""),
        None => name.to_owned(),
    }
}

fn topic(id: Uuid, image: &MetadataImage) -> String {
    image.topics().by_id(id).map_or_else(|| "new".to_owned(), |topic| topic.name.to_string())
}

fn dirs(ids: &[Uuid]) -> String {
    let name = |id: &Uuid| match *id {
        Uuid::DIR_MIGRATING => "migrating".to_owned(),
        Uuid::DIR_UNASSIGNED => "unassigned".to_owned(),
        Uuid::DIR_LOST => "lost".to_owned(),
        other => {
            let bytes = other.as_bytes();
            format!("{}/{}", bytes[7], bytes[15] - 100)
        }
    };
    format!("[{}]", ids.iter().map(name).collect::<Vec<_>>().join(", "))
}

/// A record as a line; fields with their default are left out.
pub(crate) fn record(record: &VersionedRecord, image: &MetadataImage) -> String {
    let line = match &record.record {
        R::PartitionChange(r) => partition_change(r, image),
        R::BrokerRegistrationChange(r) => registration_change(r),
        R::Topic(r) => format!("Topic {}", r.name),
        R::RemoveTopic(r) => format!("RemoveTopic {}", topic(r.topic_id, image)),
        R::Partition(r) => {
            let mut line = format!(
                "Partition {}-{} replicas={:?} isr={:?} leader={} dirs={}",
                topic(r.topic_id, image),
                r.partition_id,
                r.replicas,
                r.isr,
                r.leader,
                dirs(&r.directories)
            );
            assert_eq!((r.leader_epoch, r.partition_epoch), (0, 0));
            if let Some(elr) = &r.eligible_leader_replicas {
                line += &format!(" elr={elr:?}");
            }
            line
        }
        R::Config(r) => {
            let value = r.value.as_deref().unwrap_or("(deleted)");
            format!("Config {}:{} {}={value}", r.resource_type, r.resource_name, r.name)
        }
        R::FeatureLevel(r) => format!("FeatureLevel {}={}", r.name, r.feature_level),
        R::RegisterBroker(r) => format!(
            "RegisterBroker {} epoch={} fenced={} shutdown={} rack={} dirs={}",
            r.broker_id,
            r.broker_epoch,
            r.fenced,
            r.in_controlled_shutdown,
            r.rack.as_deref().unwrap_or("-"),
            dirs(&r.log_dirs)
        ),
        R::UnregisterBroker(r) => format!("UnregisterBroker {} epoch={}", r.broker_id, r.broker_epoch),
        R::ProducerIds(r) => format!("ProducerIds {} next={}", r.broker_id, r.next_producer_id),
        R::ClearElr(r) => {
            format!("ClearElr {}", if r.topic_name.is_empty() { "(all)" } else { &r.topic_name })
        }
        R::BeginTransaction(r) => format!("BeginTransaction {}", r.name.as_deref().unwrap_or("-")),
        R::AbortTransaction(r) => format!("AbortTransaction {}", r.reason.as_deref().unwrap_or("-")),
        other => other.name().trim_end_matches("Record").to_owned(),
    };
    format!("  v{} {line}", record.version)
}

fn partition_change(r: &PartitionChangeRecord, image: &MetadataImage) -> String {
    let mut line = format!("PartitionChange {}-{}", topic(r.topic_id, image), r.partition_id);
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            line += &format!(" {name}={value}");
        }
    };
    let ids = |ids: &Option<Vec<i32>>| ids.as_ref().map(|ids| format!("{ids:?}"));
    add("isr", ids(&r.isr));
    add("leader", (r.leader != -2).then(|| r.leader.to_string()));
    add("replicas", ids(&r.replicas));
    add("removing", ids(&r.removing_replicas));
    add("adding", ids(&r.adding_replicas));
    add("recovery", (r.leader_recovery_state != -1).then(|| r.leader_recovery_state.to_string()));
    add("elr", ids(&r.eligible_leader_replicas));
    add("last-elr", ids(&r.last_known_elr));
    add("dirs", r.directories.as_ref().map(|ids| dirs(ids)));
    line
}

fn registration_change(r: &BrokerRegistrationChangeRecord) -> String {
    let mut line = format!("BrokerRegistrationChange {} epoch={}", r.broker_id, r.broker_epoch);
    if r.fenced != 0 {
        line += &format!(" fenced={}", r.fenced);
    }
    if r.in_controlled_shutdown != 0 {
        line += &format!(" shutdown={}", r.in_controlled_shutdown);
    }
    if !r.log_dirs.is_empty() {
        line += &format!(" dirs={}", dirs(&r.log_dirs));
    }
    if let Some(cordoned) = &r.cordoned_log_dirs {
        line += &format!(" cordoned={}", dirs(cordoned));
    }
    line
}

/// The partitions of a topic.
pub(crate) fn partition_of(image: &MetadataImage, name: &str) -> Vec<String> {
    let Some(topic) = image.topics().by_name(name) else { return vec!["no such topic".to_owned()] };
    let line = |(index, p): (&i32, &std::sync::Arc<ottla_metadata::image::Partition>)| {
        let ids =
            |list: &[ottla_types::NodeId]| format!("{:?}", list.iter().map(|id| id.0).collect::<Vec<_>>());
        format!(
            "  {name}-{index} leader={} le={} pe={} replicas={} isr={} elr={} last-elr={} {:?}",
            p.leader,
            p.leader_epoch,
            p.partition_epoch,
            ids(&p.replicas),
            ids(&p.isr),
            ids(&p.elr),
            ids(&p.last_known_elr),
            p.recovery
        )
    };
    topic.partitions.iter().map(line).collect()
}
