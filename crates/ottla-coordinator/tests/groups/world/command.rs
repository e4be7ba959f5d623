//! The commands of scenario files: clients by name, options as `key=value`.
//!
//! A client remembers group, member id and generation from its last JoinGroup reply; options override them, `-` means
//! none. Member ids print as `client#n`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ottla_coordinator::group::{
    Effect, GroupConfig, GroupResponse, RequestContext, RequestToken, offset_fetch_groups,
};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest,
    OffsetDeleteRequest, OffsetFetchRequest, SyncGroupRequest, TxnOffsetCommitRequest,
};
use ottla_types::{ProducerId, TopicName, Uuid};

use super::{Event, World, print};

#[derive(Clone, Debug, Default)]
pub(super) struct Client {
    pub(super) group: String,
    pub(super) member_id: String,
    pub(super) generation: i32,
    /// What it has of a consumer group's partitions.
    pub(super) has: BTreeMap<Uuid, Vec<i32>>,
    protocol_type: String,
    protocol: String,
    pub(super) instance: Option<String>,
    ids: usize,
}

/// A world with clients, driven by text.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(super) clients: BTreeMap<String, Client>,
    tokens: BTreeMap<RequestToken, String>,
    aliases: BTreeMap<String, String>,
}

pub(super) struct Line<'a> {
    pub(super) words: Vec<&'a str>,
    options: BTreeMap<&'a str, &'a str>,
}

impl<'a> Line<'a> {
    fn parse(text: &'a str) -> Self {
        let (options, words): (Vec<&str>, Vec<&str>) = text.split_whitespace().partition(|w| w.contains('='));
        Self { words, options: options.into_iter().map(|o| o.split_once('=').unwrap()).collect() }
    }

    pub(super) fn word(&self, index: usize) -> &'a str {
        self.words.get(index).unwrap_or_else(|| panic!("word {index} is missing in {:?}", self.words))
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a str> {
        self.options.get(key).copied()
    }

    pub(super) fn number<T: std::str::FromStr>(&self, key: &str, default: T) -> T {
        self.get(key).map_or(default, |v| v.parse().unwrap_or_else(|_| panic!("{key}={v}")))
    }

    pub(super) fn list(&self, key: &str) -> Vec<&'a str> {
        self.get(key).into_iter().flat_map(|v| v.split(',')).filter(|v| !v.is_empty()).collect()
    }
}

fn subscription(topics: &str) -> Vec<u8> {
    let topics: Vec<&str> = topics.split('+').filter(|t| !t.is_empty()).collect();
    let mut bytes = vec![0, 0];
    bytes.extend_from_slice(&(topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend_from_slice(&(topic.len() as i16).to_be_bytes());
        bytes.extend_from_slice(topic.as_bytes());
    }
    bytes.extend_from_slice(&(-1_i32).to_be_bytes());
    bytes
}

/// `t-0:5,u-1:6` as topic → (partition, offset).
fn places<'a>(list: &[&'a str]) -> BTreeMap<&'a str, Vec<(i32, i64)>> {
    let mut topics: BTreeMap<&str, Vec<(i32, i64)>> = BTreeMap::new();
    for place in list {
        let (place, offset) = place.split_once(':').unwrap_or((place, "0"));
        let (topic, partition) = place.rsplit_once('-').unwrap();
        topics.entry(topic).or_default().push((partition.parse().unwrap(), offset.parse().unwrap()));
    }
    topics
}

pub(super) fn topic_id(topic: &str) -> Uuid {
    Uuid::from_parts(7, topic.bytes().map(u64::from).sum())
}

fn error_named(name: &str) -> ErrorCode {
    ErrorCode::all().find(|e| e.name() == name).unwrap_or_else(|| panic!("no error {name}"))
}

impl Scene {
    pub(crate) fn new() -> Self {
        let mut world = World::new(GroupConfig::default());
        world.events.clear();
        Self { world, clients: BTreeMap::new(), tokens: BTreeMap::new(), aliases: BTreeMap::new() }
    }

    /// Runs one command and returns what happened.
    pub(crate) fn run(&mut self, text: &str) -> String {
        let line = Line::parse(text);
        match line.word(0) {
            "config" => self.config(&line),
            "join" => self.join(&line),
            "sync" => self.sync(&line),
            "heartbeat" => self.heartbeat(&line),
            "leave" => self.leave(&line),
            "commit" => self.commit(&line),
            "txn-commit" => self.txn_commit(&line),
            "fetch" => self.fetch(&line),
            "describe" | "list" | "delete" => self.groups(&line),
            "offset-delete" => self.offset_delete(&line),
            "delete-topic" => {
                let topic = line.word(1);
                let deleted = self.world.shard.topics_deleted(&[(TopicName::new(topic), topic_id(topic))]);
                self.world.carry_out(deleted);
            }
            "marker" => {
                self.world.marker(ProducerId(line.word(1).parse().unwrap()), line.word(2) == "commit")
            }
            "advance" => return self.advance(line.word(1).parse().unwrap()),
            "hold" => self.world.hold = line.word(1) == "on",
            "commit-log" => assert!(self.world.commit_one(), "nothing in flight"),
            "fail" => assert!(self.world.fail_one(error_named(line.word(1))), "nothing in flight"),
            "refuse" => self.world.refuse = Some(error_named(line.word(1))),
            "reload" => {
                self.world.reload();
                let (groups, offsets) = (self.world.shard.group_count(), self.world.shard.offset_count());
                return format!("{}loaded {groups} groups, {offsets} offsets\n", self.trace());
            }
            "topic" => self.topic(&line),
            "beat" => self.beat(&line),
            "consumers" => self.consumers(&line),
            "resolve" => assert!(self.world.resolve_one(), "nothing to resolve"),
            "unload" => {
                let effects = self.world.shard.unload();
                self.world.carry_out(ottla_coordinator::group::Decision { effects, append: None });
            }
            "raw" => self.raw(&line),
            other => panic!("unknown command {other}"),
        }
        self.trace()
    }

    pub(super) fn trace(&mut self) -> String {
        let mut lines = String::new();
        for event in std::mem::take(&mut self.world.events) {
            if let Event::Effect(Effect::Reply { token, response }) = &event {
                self.learn(*token, response);
            }
            let mut text = print::event(&event);
            for (token, client) in &self.tokens {
                text = text.replace(&format!("<{}>", token.0), client);
            }
            for (id, alias) in &self.aliases {
                text = text.replace(id, alias);
            }
            lines.push_str(&text);
            lines.push('\n');
        }
        lines
    }

    fn learn(&mut self, token: RequestToken, response: &GroupResponse) {
        let Some(client) = self.tokens.get(&token).and_then(|name| self.clients.get_mut(name)) else {
            return;
        };
        if let GroupResponse::ConsumerGroupHeartbeat(response) = response {
            client.learn(response);
        }
        if let GroupResponse::JoinGroup(response) = response {
            if matches!(
                ErrorCode::from_code(response.error_code),
                ErrorCode::None | ErrorCode::MemberIdRequired
            ) {
                client.member_id = response.member_id.clone().into_owned();
            } else if ErrorCode::from_code(response.error_code) == ErrorCode::UnknownMemberId {
                client.member_id = String::new();
            }
            client.generation = response.generation_id;
            client.protocol = response.protocol_name.clone().unwrap_or_default().into_owned();
        }
    }

    fn advance(&mut self, by_ms: i64) -> String {
        let mut lines = String::new();
        let end_ms = self.world.now_ms + by_ms;
        while let Some(next) = self.world.timers.values().copied().filter(|at| *at <= end_ms).min() {
            let step = (next - self.world.now_ms).max(0);
            self.world.advance(step);
            lines.push_str(&format!("@{}\n", self.world.now_ms));
            lines.push_str(&self.trace());
        }
        self.world.advance(end_ms - self.world.now_ms);
        lines.push_str(&format!("@{end_ms}\n"));
        lines
    }

    fn config(&mut self, line: &Line<'_>) {
        let mut config = self.world.config.clone();
        for (key, value) in &line.options {
            let value: i32 = value.parse().unwrap();
            match *key {
                "initial_rebalance_delay_ms" => config.initial_rebalance_delay_ms = value,
                "max_size" => config.max_size = value,
                "consumer_max_size" => config.consumer_max_size = value,
                "offset_metadata_max_bytes" => config.offset_metadata_max_bytes = value,
                "offsets_retention_minutes" => config.offsets_retention_minutes = value,
                "offsets_retention_check_interval_ms" => {
                    config.offsets_retention_check_interval_ms = value.into();
                }
                other => panic!("unknown key {other}"),
            }
        }
        if self.world.log.is_empty() {
            self.world = World::new(config);
            self.world.events.clear();
        } else {
            self.world.config = config;
        }
    }

    pub(super) fn client(&mut self, name: &str, line: &Line<'_>) -> Client {
        let client = self.clients.entry(name.to_owned()).or_default();
        if let Some(group) = line.get("group") {
            client.group = group.to_owned();
        } else if client.group.is_empty() {
            client.group = "g".to_owned();
        }
        if let Some(instance) = line.get("instance") {
            client.instance = (instance != "-").then(|| instance.to_owned());
        }
        let mut seen = client.clone();
        if let Some(id) = line.get("id") {
            let known = self.aliases.iter().find(|(_, alias)| *alias == id).map(|(raw, _)| raw.clone());
            seen.member_id = if id == "-" { String::new() } else { known.unwrap_or_else(|| id.to_owned()) };
        }
        seen.generation = line.number("generation", seen.generation);
        seen
    }

    pub(super) fn open(&mut self, client: &str, line: &Line<'_>, latest: i16) -> (RequestToken, i16) {
        let version = line.number("v", latest);
        let token = self.world.token(version);
        self.tokens.insert(token, client.to_owned());
        (token, version)
    }

    fn join(&mut self, line: &Line<'_>) {
        let name = line.word(1);
        let client = self.client(name, line);
        let (token, api_version) = self.open(name, line, 9);
        let client_id = line.get("client").unwrap_or(name);
        let random = self.world.random();
        if client.member_id.is_empty() {
            let hex = format!("{:012x}", u128::from_be_bytes(random));
            let prefix = client.instance.as_deref().unwrap_or(client_id);
            let raw = format!("{prefix}-00000000-0000-4000-8000-{hex}");
            let known = self.clients.get_mut(name).unwrap();
            known.ids += 1;
            self.aliases.insert(raw, format!("{name}#{}", known.ids));
        }
        let protocol_type = line.get("type").unwrap_or("consumer");
        self.clients.get_mut(name).unwrap().protocol_type = protocol_type.to_owned();
        let protocols = line.get("protocols").unwrap_or("range/t").split(',').filter(|p| !p.is_empty());
        let protocols = protocols.map(|protocol| {
            let (name, topics) = protocol.split_once('/').unwrap_or((protocol, ""));
            let metadata =
                if protocol_type == "consumer" { subscription(topics) } else { topics.as_bytes().to_vec() };
            JoinGroupRequestProtocol { name: Cow::Borrowed(name), metadata: Cow::Owned(metadata) }
        });
        let request = JoinGroupRequest {
            group_id: Cow::Borrowed(if client.group == "-" { "" } else { &client.group }),
            session_timeout_ms: line.number("session", 10_000),
            rebalance_timeout_ms: line.number("rebalance", 60_000),
            member_id: Cow::Borrowed(&client.member_id),
            group_instance_id: client.instance.as_deref().map(Cow::Borrowed),
            protocol_type: Cow::Borrowed(protocol_type),
            protocols: protocols.collect(),
            reason: line.get("reason").map(Cow::Borrowed),
        };
        let ctx = RequestContext { token, api_version, client_id, client_host: "/127.0.0.1" };
        let decision = self.world.shard.join_group(self.world.now_ms, &ctx, random, &request);
        self.world.carry_out(decision);
    }

    fn sync(&mut self, line: &Line<'_>) {
        let name = line.word(1);
        let client = self.client(name, line);
        let (token, api_version) = self.open(name, line, 5);
        let assignments = line.list("assign").into_iter().map(|given| {
            let (to, assignment) = given.split_once(':').unwrap();
            let to = self.clients.get(to).map(|c| c.member_id.clone()).unwrap_or_default();
            SyncGroupRequestAssignment {
                member_id: Cow::Owned(to),
                assignment: Cow::Owned(assignment.as_bytes().to_vec()),
            }
        });
        let assignments = assignments.collect();
        let text = |key: &str, own: &str| match line.get(key) {
            Some("-") => None,
            Some(given) => Some(Cow::Owned(given.to_owned())),
            None => Some(Cow::Owned(own.to_owned())),
        };
        let request = SyncGroupRequest {
            group_id: Cow::Borrowed(&client.group),
            generation_id: client.generation,
            member_id: Cow::Borrowed(&client.member_id),
            group_instance_id: client.instance.as_deref().map(Cow::Borrowed),
            protocol_type: text("type", &client.protocol_type),
            protocol_name: text("protocol", &client.protocol),
            assignments,
        };
        let ctx = RequestContext { token, api_version, client_id: name, client_host: "/127.0.0.1" };
        let decision = self.world.shard.sync_group(self.world.now_ms, &ctx, &request);
        self.world.carry_out(decision);
    }

    fn heartbeat(&mut self, line: &Line<'_>) {
        let name = line.word(1);
        let client = self.client(name, line);
        let (token, api_version) = self.open(name, line, 4);
        let request = HeartbeatRequest {
            group_id: Cow::Borrowed(&client.group),
            generation_id: client.generation,
            member_id: Cow::Borrowed(&client.member_id),
            group_instance_id: client.instance.as_deref().map(Cow::Borrowed),
        };
        let ctx = RequestContext { token, api_version, client_id: name, client_host: "/127.0.0.1" };
        let decision = self.world.shard.heartbeat(self.world.now_ms, &ctx, &request);
        self.world.carry_out(decision);
    }

    fn leave(&mut self, line: &Line<'_>) {
        let names: Vec<&str> = line.words[1..].to_vec();
        let group = line.get("group").unwrap_or("g");
        let (token, api_version) = self.open(names.first().unwrap_or(&"admin"), line, 5);
        let mut members: Vec<MemberIdentity<'_>> = Vec::new();
        for name in &names {
            let client = self.client(name, line);
            members.push(MemberIdentity {
                member_id: Cow::Owned(client.member_id),
                group_instance_id: client.instance.map(Cow::Owned),
                reason: line.get("reason").map(Cow::Borrowed),
            });
        }
        for instance in line.list("instances") {
            members.push(MemberIdentity {
                group_instance_id: Some(Cow::Borrowed(instance)),
                ..MemberIdentity::default()
            });
        }
        let mut request =
            LeaveGroupRequest { group_id: Cow::Borrowed(group), ..LeaveGroupRequest::default() };
        if api_version >= 3 {
            request.members = members;
        } else {
            request.member_id = members.remove(0).member_id;
        }
        let ctx = RequestContext { token, api_version, client_id: "admin", client_host: "/127.0.0.1" };
        let decision = self.world.shard.leave_group(self.world.now_ms, &ctx, &request);
        self.world.carry_out(decision);
    }

    fn commit(&mut self, line: &Line<'_>) {
        let name = line.word(1);
        let mut client = self.client(name, line);
        if name == "anyone" {
            client.generation = line.number("generation", -1);
        }
        let (token, api_version) = self.open(name, line, 10);
        let offsets = line.list("offsets");
        let topics = places(&offsets).into_iter().map(|(topic, partitions)| OffsetCommitRequestTopic {
            name: Cow::Borrowed(topic),
            topic_id: topic_id(topic),
            partitions: partitions
                .into_iter()
                .map(|(partition_index, committed_offset)| OffsetCommitRequestPartition {
                    partition_index,
                    committed_offset,
                    committed_leader_epoch: line.number("epoch", -1),
                    committed_metadata: line.get("metadata").map(Cow::Borrowed),
                })
                .collect(),
        });
        let request = OffsetCommitRequest {
            group_id: Cow::Borrowed(&client.group),
            generation_id_or_member_epoch: client.generation,
            member_id: Cow::Borrowed(&client.member_id),
            group_instance_id: client.instance.as_deref().map(Cow::Borrowed),
            retention_time_ms: line.number("retention", -1),
            topics: topics.collect(),
        };
        let ctx = RequestContext { token, api_version, client_id: name, client_host: "/127.0.0.1" };
        let decision = self.world.shard.offset_commit(self.world.now_ms, &ctx, &request);
        self.world.carry_out(decision);
    }

    fn txn_commit(&mut self, line: &Line<'_>) {
        let (token, api_version) = self.open("producer", line, 5);
        let offsets = line.list("offsets");
        let topics = places(&offsets).into_iter().map(|(topic, partitions)| TxnOffsetCommitRequestTopic {
            name: Cow::Borrowed(topic),
            partitions: partitions
                .into_iter()
                .map(|(partition_index, committed_offset)| TxnOffsetCommitRequestPartition {
                    partition_index,
                    committed_offset,
                    ..TxnOffsetCommitRequestPartition::default()
                })
                .collect(),
            ..TxnOffsetCommitRequestTopic::default()
        });
        let request = TxnOffsetCommitRequest {
            group_id: Cow::Borrowed(line.get("group").unwrap_or("g")),
            producer_id: line.word(1).parse().unwrap(),
            generation_id_or_member_epoch: -1,
            topics: topics.collect(),
            ..TxnOffsetCommitRequest::default()
        };
        let ctx = RequestContext { token, api_version, client_id: "producer", client_host: "/127.0.0.1" };
        let decision = self.world.shard.txn_offset_commit(self.world.now_ms, &ctx, &request);
        self.world.carry_out(decision);
    }

    fn fetch(&mut self, line: &Line<'_>) {
        let (token, api_version) = self.open("reader", line, 10);
        let offsets = line.list("offsets");
        let topics = line.get("offsets").map(|_| {
            let topics = places(&offsets).into_iter().map(|(topic, partitions)| OffsetFetchRequestTopics {
                name: Cow::Owned(topic.to_owned()),
                topic_id: if line.get("topic_id").is_some() { Uuid::from_parts(9, 9) } else { Uuid::ZERO },
                partition_indexes: partitions.into_iter().map(|(partition, _)| partition).collect(),
            });
            topics.collect::<Vec<_>>()
        });
        let group = OffsetFetchRequestGroup {
            group_id: Cow::Borrowed(line.get("group").unwrap_or("g")),
            topics,
            ..OffsetFetchRequestGroup::default()
        };
        let request = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
        let groups = offset_fetch_groups(&request, 8);
        let ctx = RequestContext { token, api_version, client_id: "reader", client_host: "/127.0.0.1" };
        let stable = line.words.contains(&"stable");
        let decision = self.world.shard.offset_fetch(&ctx, &groups[0], stable);
        self.world.carry_out(decision);
    }

    fn groups(&mut self, line: &Line<'_>) {
        let latest = match line.word(0) {
            "describe" => 6,
            "list" => 5,
            _ => 3,
        };
        let (token, api_version) = self.open("admin", line, latest);
        let ctx = RequestContext { token, api_version, client_id: "admin", client_host: "/127.0.0.1" };
        let ids = &line.words[1..];
        let decision = match line.word(0) {
            "describe" => self.world.shard.describe_groups(&ctx, ids),
            "delete" => self.world.shard.delete_groups(self.world.now_ms, &ctx, ids),
            _ => {
                let filter = |key| line.list(key).into_iter().map(Cow::Borrowed).collect();
                let request =
                    ListGroupsRequest { states_filter: filter("states"), types_filter: filter("types") };
                self.world.shard.list_groups(&ctx, &request)
            }
        };
        self.world.carry_out(decision);
    }

    fn offset_delete(&mut self, line: &Line<'_>) {
        let (token, api_version) = self.open("admin", line, 0);
        let offsets = line.list("offsets");
        let topics = places(&offsets).into_iter().map(|(topic, partitions)| OffsetDeleteRequestTopic {
            name: Cow::Borrowed(topic),
            partitions: partitions
                .into_iter()
                .map(|(partition_index, _)| OffsetDeleteRequestPartition { partition_index })
                .collect(),
        });
        let request = OffsetDeleteRequest {
            group_id: Cow::Borrowed(line.get("group").unwrap_or("g")),
            topics: topics.collect(),
        };
        let ctx = RequestContext { token, api_version, client_id: "admin", client_host: "/127.0.0.1" };
        let decision = self.world.shard.offset_delete(self.world.now_ms, &ctx, &request);
        self.world.carry_out(decision);
    }

    /// `raw KEYHEX VALUEHEX|-`: puts a record into the log as another broker would have written it; seen after `reload`.
    fn raw(&mut self, line: &Line<'_>) {
        let hex = |text: &str| -> Vec<u8> {
            let digits = text.as_bytes().chunks(2);
            digits.map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
        };
        let value = (line.word(2) != "-").then(|| hex(line.word(2)));
        let producer_id = ProducerId::NONE;
        self.world.log.push(super::Entry::Record { producer_id, key: hex(line.word(1)), value });
    }
}
