//! Events as lines of a trace.

use ottla_coordinator::group::{Effect, GroupMetadata, GroupRecord, GroupResponse};
use ottla_protocol::ErrorCode;

use super::Event;

fn error(code: i16) -> &'static str {
    ErrorCode::from_code(code).name()
}

pub(crate) fn event(event: &Event) -> String {
    match event {
        Event::Timer(key) => format!("timer {key}"),
        Event::Effect(Effect::Schedule { key, at_ms }) => format!("schedule {key} at {at_ms}"),
        Event::Effect(Effect::Cancel { key }) => format!("cancel {key}"),
        Event::Effect(Effect::ResolveRegexes { group, regexes }) => {
            format!("resolve {group} {}", regexes.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" "))
        }
        Event::Effect(Effect::Note { group, text }) => format!("note {group}: {text}"),
        Event::Effect(Effect::Reply { token, response }) => {
            format!("reply <{}> {}", token.0, reply(response))
        }
        Event::Appended(append) => {
            let records: Vec<String> = append.records.iter().map(record).collect();
            let atomic = if append.atomic { "" } else { " (not atomic)" };
            let producer = append.producer.map(|(id, epoch)| format!(" by producer {id} epoch {epoch}"));
            format!(
                "append #{}{atomic}{}\n  {}",
                append.id.0,
                producer.unwrap_or_default(),
                records.join("\n  ")
            )
        }
        Event::Refused(id) => format!("refused #{}", id.0),
        Event::Committed(id) => format!("committed #{}", id.0),
        Event::Failed(id, error) => format!("failed #{} {}", id.0, error.name()),
    }
}

fn or_null(text: Option<&str>) -> &str {
    text.unwrap_or("null")
}

/// A consumer subscription as its topics, other bytes as text.
pub(crate) fn bytes(bytes: &[u8]) -> String {
    subscription(bytes).unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned())
}

fn subscription(bytes: &[u8]) -> Option<String> {
    let mut rest = bytes.strip_prefix(b"\0\0")?;
    let (count, tail) = rest.split_first_chunk::<4>()?;
    rest = tail;
    let mut topics = Vec::new();
    for _ in 0..i32::from_be_bytes(*count) {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        let (name, tail) = tail.split_at_checked(u16::from_be_bytes(*length).into())?;
        topics.push(std::str::from_utf8(name).ok()?);
        rest = tail;
    }
    Some(topics.join("+"))
}

fn reply(response: &GroupResponse) -> String {
    match response {
        GroupResponse::JoinGroup(r) => {
            let members: Vec<String> = r
                .members
                .iter()
                .map(|m| {
                    let instance =
                        m.group_instance_id.as_ref().map(|id| format!("({id})")).unwrap_or_default();
                    format!("{}{instance}:{}", m.member_id, bytes(&m.metadata))
                })
                .collect();
            let skip = if r.skip_assignment { " skip_assignment" } else { "" };
            format!(
                "JoinGroup {} member={} generation={} protocol={}/{} leader={} members=[{}]{skip}",
                error(r.error_code),
                r.member_id,
                r.generation_id,
                or_null(r.protocol_type.as_deref()),
                or_null(r.protocol_name.as_deref()),
                r.leader,
                members.join(" ")
            )
        }
        GroupResponse::SyncGroup(r) => format!(
            "SyncGroup {} protocol={}/{} assignment={}",
            error(r.error_code),
            or_null(r.protocol_type.as_deref()),
            or_null(r.protocol_name.as_deref()),
            bytes(&r.assignment)
        ),
        GroupResponse::Heartbeat(r) => format!("Heartbeat {}", error(r.error_code)),
        GroupResponse::LeaveGroup(r) => {
            let members: Vec<String> = r
                .members
                .iter()
                .map(|m| {
                    let instance =
                        m.group_instance_id.as_ref().map(|id| format!("({id})")).unwrap_or_default();
                    format!("{}{instance}:{}", m.member_id, error(m.error_code))
                })
                .collect();
            format!("LeaveGroup {} members=[{}]", error(r.error_code), members.join(" "))
        }
        other => offsets(other),
    }
}

fn offsets(response: &GroupResponse) -> String {
    let mut parts = Vec::new();
    match response {
        GroupResponse::OffsetCommit(r) => {
            for topic in &r.topics {
                parts.extend(
                    topic
                        .partitions
                        .iter()
                        .map(|p| format!("{}-{}:{}", topic.name, p.partition_index, error(p.error_code))),
                );
            }
            format!("OffsetCommit [{}]", parts.join(" "))
        }
        GroupResponse::TxnOffsetCommit(r) => {
            for topic in &r.topics {
                parts.extend(
                    topic
                        .partitions
                        .iter()
                        .map(|p| format!("{}-{}:{}", topic.name, p.partition_index, error(p.error_code))),
                );
            }
            format!("TxnOffsetCommit [{}]", parts.join(" "))
        }
        GroupResponse::OffsetDelete(r) => {
            for topic in &r.topics {
                parts.extend(
                    topic
                        .partitions
                        .iter()
                        .map(|p| format!("{}-{}:{}", topic.name, p.partition_index, error(p.error_code))),
                );
            }
            format!("OffsetDelete {} [{}]", error(r.error_code), parts.join(" "))
        }
        GroupResponse::OffsetFetch(r) => {
            for topic in &r.topics {
                parts.extend(topic.partitions.iter().map(|p| {
                    let error =
                        if p.error_code == 0 { String::new() } else { format!(" {}", error(p.error_code)) };
                    format!(
                        "{}-{}={} epoch={} metadata='{}'{error}",
                        topic.name,
                        p.partition_index,
                        p.committed_offset,
                        p.committed_leader_epoch,
                        or_null(p.metadata.as_deref()),
                    )
                }));
            }
            format!("OffsetFetch {} {} [{}]", r.group_id, error(r.error_code), parts.join("; "))
        }
        other => groups(other),
    }
}

fn groups(response: &GroupResponse) -> String {
    let mut parts = Vec::new();
    match response {
        GroupResponse::DescribeGroups(r) => {
            for group in &r.groups {
                let members: Vec<String> = group
                    .members
                    .iter()
                    .map(|m| {
                        format!(
                            "{} {} {} {} metadata={} assignment={}",
                            m.member_id,
                            or_null(m.group_instance_id.as_deref()),
                            m.client_id,
                            m.client_host,
                            bytes(&m.member_metadata),
                            bytes(&m.member_assignment)
                        )
                    })
                    .collect();
                parts.push(format!(
                    "{} {} state={} protocol={}/{} members=[{}] message={}",
                    group.group_id,
                    error(group.error_code),
                    group.group_state,
                    group.protocol_type,
                    group.protocol_data,
                    members.join("; "),
                    or_null(group.error_message.as_deref())
                ));
            }
            format!("DescribeGroups\n  {}", parts.join("\n  "))
        }
        GroupResponse::ListGroups(r) => {
            parts.extend(
                r.groups.iter().map(|g| {
                    format!("{}:{}:{}:{}", g.group_id, g.protocol_type, g.group_state, g.group_type)
                }),
            );
            format!("ListGroups {} [{}]", error(r.error_code), parts.join(" "))
        }
        GroupResponse::DeleteGroups(r) => {
            parts.extend(r.results.iter().map(|g| format!("{}:{}", g.group_id, error(g.error_code))));
            format!("DeleteGroups [{}]", parts.join(" "))
        }
        other => super::consumers::reply(other),
    }
}

pub(crate) fn record(record: &GroupRecord) -> String {
    match record {
        GroupRecord::OffsetCommit { group, topic, partition, value: None } => {
            format!("offset {group} {topic}-{partition} tombstone")
        }
        GroupRecord::OffsetCommit { group, topic, partition, value: Some(value) } => {
            let expire = value.expire_timestamp_ms.map(|at| format!(" expire={at}")).unwrap_or_default();
            format!(
                "offset {group} {topic}-{partition} = {} epoch={} metadata='{}' at={}{expire}",
                value.offset, value.leader_epoch, value.metadata, value.commit_timestamp_ms
            )
        }
        GroupRecord::GroupMetadata { group, value: None } => format!("group {group} tombstone"),
        GroupRecord::GroupMetadata { group, value: Some(value) } => {
            format!("group {group} {}", generation(value))
        }
        GroupRecord::Consumer(record) => super::consumers::record(record),
        GroupRecord::Foreign { key, value } => {
            format!(
                "type {} {} {}",
                key.record_type(),
                key.group(),
                if value.is_some() { "value" } else { "tombstone" }
            )
        }
    }
}

pub(crate) fn generation(value: &GroupMetadata) -> String {
    let members: Vec<String> = value
        .members
        .iter()
        .map(|m| {
            let instance = m.instance_id.as_ref().map(|id| format!("({id})")).unwrap_or_default();
            format!("{}{instance}:{}={}", m.member_id, bytes(&m.subscription), bytes(&m.assignment))
        })
        .collect();
    format!(
        "generation={} protocol={}/{} leader={} at={} members=[{}]",
        value.generation,
        value.protocol_type,
        or_null(value.protocol.as_deref()),
        or_null(value.leader.as_deref()),
        value.state_timestamp_ms,
        members.join(" ")
    )
}
