//! The commands of scenario files about consumer groups of the newer protocol, and how their traces print.
//!
//! `topic t 4` makes a topic or gives it partitions; `beat A join topics=t` is a member's first heartbeat, `beat A` a later
//! one that says nothing, `beat A has` one that says what it was told last, `has=t-0,t-1` something else; `beat A leave` and
//! `beat A away` end it. `consumers g` describes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::RwLock;

use ottla_coordinator::group::{
    ClusterView, ConsumerRecord, ConsumerSettings, GroupResponse, OwnedPartitions, RequestContext, TopicInfo,
};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use ottla_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use ottla_types::Uuid;

use super::command::{Client, Line, Scene, topic_id};

/// The topics of a world: name and partitions, and how often they changed.
#[derive(Debug, Default)]
pub(crate) struct Topics(RwLock<(BTreeMap<String, i32>, i64)>);

impl Topics {
    fn info(name: &str, partitions: i32) -> TopicInfo {
        TopicInfo { name: name.into(), id: topic_id(name), partitions, racks: Vec::new() }
    }
}

impl ClusterView for Topics {
    fn by_name(&self, name: &str) -> Option<TopicInfo> {
        let topics = self.0.read().unwrap();
        topics.0.get(name).map(|partitions| Self::info(name, *partitions))
    }

    fn by_id(&self, id: Uuid) -> Option<TopicInfo> {
        let topics = self.0.read().unwrap();
        let (name, partitions) = topics.0.iter().find(|(name, _)| topic_id(name) == id)?;
        Some(Self::info(name, *partitions))
    }

    fn visit_names(&self, visit: &mut dyn FnMut(&str)) {
        self.0.read().unwrap().0.keys().for_each(|name| visit(name));
    }

    fn version(&self) -> i64 {
        self.0.read().unwrap().1
    }

    fn consumer_settings(&self, _group: &str) -> ConsumerSettings {
        ConsumerSettings { assignment_interval_ms: 0, ..ConsumerSettings::default() }
    }
}

impl Client {
    pub(super) fn learn(&mut self, response: &ConsumerGroupHeartbeatResponse<'_>) {
        if response.error_code != 0 {
            return;
        }
        if let Some(id) = &response.member_id {
            self.member_id = id.clone().into_owned();
        }
        self.generation = response.member_epoch;
        if let Some(assignment) = &response.assignment {
            let topics = assignment.topic_partitions.iter();
            self.has = topics.map(|topic| (topic.topic_id, topic.partitions.clone())).collect();
        }
    }
}

impl Scene {
    pub(super) fn topic(&mut self, line: &Line<'_>) {
        let name = line.word(1).to_owned();
        let partitions: i32 = line.word(2).parse().unwrap();
        let is_new = {
            let mut topics = self.world.topics.0.write().unwrap();
            topics.1 += 1;
            if partitions == 0 {
                topics.0.remove(&name);
                false
            } else {
                topics.0.insert(name.clone(), partitions).is_none()
            }
        };
        self.world.shard.cluster_changed(&[name.as_str().into()], is_new);
    }

    pub(super) fn beat(&mut self, line: &Line<'_>) {
        let name = line.word(1);
        let mut client = self.client(name, line);
        let (token, api_version) = self.open(name, line, 1);
        if client.member_id.is_empty() && line.get("id") != Some("-") {
            client.member_id = name.to_owned();
            self.clients.get_mut(name).unwrap().member_id = name.to_owned();
        }
        let is = |word: &str| line.words.contains(&word);
        let (joins, leaves, is_away) = (is("join"), is("leave"), is("away"));
        let text = |key: &str| line.get(key).map(|text| Cow::Owned(text.trim_start_matches('-').to_owned()));
        let names = line.get("topics").map(|_| line.list("topics").into_iter().map(Cow::Borrowed).collect());
        let told = client.has.iter().map(|(id, partitions)| (*id, partitions.clone())).collect();
        let has: Option<Vec<(Uuid, Vec<i32>)>> = match line.get("has") {
            _ if joins => Some(Vec::new()),
            Some(_) => {
                let mut has: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
                for place in line.list("has") {
                    let (topic, partition) = place.rsplit_once('-').unwrap();
                    has.entry(topic_id(topic)).or_default().push(partition.parse().unwrap());
                }
                Some(has.into_iter().collect())
            }
            None if is("has") => Some(told),
            None => None,
        };
        let epoch = match (joins, leaves, is_away) {
            (true, ..) => 0,
            (_, true, _) => -1,
            (.., true) => -2,
            _ => client.generation,
        };
        let request = ConsumerGroupHeartbeatRequest {
            group_id: Cow::Borrowed(&client.group),
            member_id: Cow::Borrowed(&client.member_id),
            member_epoch: line.number("epoch", epoch),
            instance_id: client.instance.as_deref().map(Cow::Borrowed),
            rack_id: text("rack"),
            rebalance_timeout_ms: line.number("rebalance", if joins { 45_000 } else { -1 }),
            subscribed_topic_names: names,
            subscribed_topic_regex: text("regex"),
            server_assignor: text("assignor"),
            topic_partitions: has.map(|has| {
                let topic = |(topic_id, partitions)| TopicPartitions { topic_id, partitions };
                has.into_iter().map(topic).collect()
            }),
        };
        let random = self.world.random();
        let ctx = RequestContext { token, api_version, client_id: name, client_host: "/127.0.0.1" };
        let now_ms = self.world.now_ms;
        let decision = self.world.shard.consumer_group_heartbeat(now_ms, &ctx, random, &request);
        self.world.carry_out(decision);
    }

    pub(super) fn consumers(&mut self, line: &Line<'_>) {
        let (token, api_version) = self.open("admin", line, 1);
        let ctx = RequestContext { token, api_version, client_id: "admin", client_host: "/127.0.0.1" };
        let decision = self.world.shard.consumer_group_describe(&ctx, line.word(1));
        self.world.carry_out(decision);
    }
}

fn topic_name(id: Uuid) -> String {
    let known = ["t", "u", "v", "w", "ab", "abc", "joined"];
    known.iter().find(|name| topic_id(name) == id).map_or_else(|| id.to_string(), |name| (*name).to_owned())
}

fn places<'a>(topics: impl Iterator<Item = (Uuid, &'a [i32])>) -> String {
    let mut all: Vec<String> = topics
        .map(|(id, partitions)| {
            let mut partitions = partitions.to_vec();
            partitions.sort_unstable();
            let numbers: Vec<String> = partitions.iter().map(ToString::to_string).collect();
            format!("{}:{}", topic_name(id), numbers.join(","))
        })
        .collect();
    all.sort_unstable();
    format!("[{}]", all.join(" "))
}

fn owned(owned: &OwnedPartitions) -> String {
    let topic = |(id, partitions): (&Uuid, &BTreeMap<i32, i32>)| {
        let numbers: Vec<String> =
            partitions.iter().map(|(partition, epoch)| format!("{partition}@{epoch}")).collect();
        format!("{}:{}", topic_name(*id), numbers.join(","))
    };
    format!("[{}]", owned.iter().map(topic).collect::<Vec<_>>().join(" "))
}

pub(crate) fn reply(response: &GroupResponse) -> String {
    match response {
        GroupResponse::ConsumerGroupHeartbeat(r) => {
            let error = ErrorCode::from_code(r.error_code);
            if error != ErrorCode::None {
                return format!("Heartbeat {} {}", error.name(), r.error_message.as_deref().unwrap_or("-"));
            }
            let assignment = r.assignment.as_ref().map(|assignment| {
                let topics = assignment.topic_partitions.iter();
                places(topics.map(|topic| (topic.topic_id, topic.partitions.as_slice())))
            });
            format!(
                "Heartbeat NONE member={} epoch={} assignment={}",
                r.member_id.as_deref().unwrap_or("-"),
                r.member_epoch,
                assignment.as_deref().unwrap_or("-")
            )
        }
        GroupResponse::ConsumerGroupDescribe(r) => {
            let mut text = "ConsumerGroupDescribe".to_owned();
            for group in &r.groups {
                text.push_str(&format!(
                    "\n  {} {} {} epoch={} target={} assignor={}",
                    group.group_id,
                    ErrorCode::from_code(group.error_code).name(),
                    group.group_state,
                    group.group_epoch,
                    group.assignment_epoch,
                    group.assignor_name
                ));
                for member in &group.members {
                    let has = member.assignment.topic_partitions.iter();
                    let shall = member.target_assignment.topic_partitions.iter();
                    text.push_str(&format!(
                        "\n    {} epoch={} type={} has={} target={}",
                        member.member_id,
                        member.member_epoch,
                        member.member_type,
                        places(has.map(|topic| (topic.topic_id, topic.partitions.as_slice()))),
                        places(shall.map(|topic| (topic.topic_id, topic.partitions.as_slice()))),
                    ));
                }
            }
            text
        }
        other => format!("{other:?}"),
    }
}

pub(crate) fn record(record: &ConsumerRecord) -> String {
    let gone = || "tombstone".to_owned();
    let (what, text) = match record {
        ConsumerRecord::Epoch { value, .. } => {
            let text = value.map_or_else(gone, |(epoch, hash)| format!("{epoch} hash={hash:x}"));
            ("epoch".to_owned(), text)
        }
        ConsumerRecord::PartitionMetadata { value, .. } => {
            ("partition metadata".to_owned(), value.as_ref().map_or_else(gone, |_| "value".to_owned()))
        }
        ConsumerRecord::Member { member, value, .. } => {
            let text = value.as_ref().map_or_else(gone, |value| {
                let topics: Vec<&str> = value.topic_names.iter().map(AsRef::as_ref).collect();
                let regex = value.topic_regex.as_deref().filter(|regex| !regex.is_empty());
                let classic = value.classic.as_ref().map(|classic| classic.protocols[0].0.as_ref());
                let extra = [("regex", regex), ("instance", value.instance_id.as_deref())];
                let more = [("assignor", value.assignor.as_deref()), ("classic", classic)];
                let given = extra.into_iter().chain(more).filter_map(|(key, text)| Some((key, text?)));
                let extra: String = given.map(|(key, text)| format!(" {key}={text}")).collect();
                format!("topics={}{extra} rebalance={}", topics.join(","), value.rebalance_timeout_ms)
            });
            (format!("member {member}"), text)
        }
        ConsumerRecord::TargetMetadata { value, .. } => {
            let text = value.map_or_else(gone, |(epoch, at_ms)| format!("{epoch} at={at_ms}"));
            ("target".to_owned(), text)
        }
        ConsumerRecord::Target { member, value, .. } => {
            let text = value.as_ref().map_or_else(gone, |value| {
                let topics: Vec<(Uuid, Vec<i32>)> = value
                    .iter()
                    .map(|(id, partitions)| (*id, partitions.iter().copied().collect()))
                    .collect();
                places(topics.iter().map(|(id, partitions)| (*id, partitions.as_slice())))
            });
            (format!("target of {member}"), text)
        }
        ConsumerRecord::Current { member, value, .. } => {
            let text = value.as_ref().map_or_else(gone, |value| {
                format!(
                    "epoch={} previous={} {:?} has={} gives={}",
                    value.epoch,
                    value.previous_epoch,
                    value.state,
                    owned(&value.assigned),
                    owned(&value.pending_revocation)
                )
            });
            (format!("current of {member}"), text)
        }
        ConsumerRecord::Regex { regex, value, .. } => {
            let text = value.as_ref().map_or_else(gone, |value| {
                let topics: Vec<&str> = value.topics.iter().map(AsRef::as_ref).collect();
                format!("topics={} version={} at={}", topics.join(","), value.version, value.resolved_at_ms)
            });
            (format!("regex {regex}"), text)
        }
    };
    format!("{} {what}: {text}", record.group())
}
