//! A shard with everything around it that a broker would give it: a log, timers, a clock that jumps.

#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod command;
pub(crate) mod consumers;
pub(crate) mod print;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ottla_coordinator::group::{
    Append, AppendId, Decision, Decoded, Effect, GroupConfig, GroupId, GroupRecord, GroupResponse,
    GroupShard, RequestToken, TimerKey, resolve_regexes,
};
use ottla_protocol::ErrorCode;
use ottla_types::{Offset, ProducerId};

use consumers::Topics;

/// An entry of the log, as bytes.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Record { producer_id: ProducerId, key: Vec<u8>, value: Option<Vec<u8>> },
    Marker { producer_id: ProducerId, commit: bool },
}

/// What happened, for traces.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Timer(TimerKey),
    Effect(Effect),
    Appended(Append),
    Refused(AppendId),
    Committed(AppendId),
    Failed(AppendId, ErrorCode),
}

pub(crate) struct World {
    pub(crate) shard: GroupShard,
    pub(crate) config: GroupConfig,
    pub(crate) now_ms: i64,
    pub(crate) log: Vec<Entry>,
    pub(crate) timers: BTreeMap<TimerKey, i64>,
    /// Appended, replayed, not committed.
    pub(crate) in_flight: VecDeque<AppendId>,
    /// Whether appends stay in flight until told.
    pub(crate) hold: bool,
    /// The topics.
    pub(crate) topics: Arc<Topics>,
    /// Regular expressions that are being resolved.
    pub(crate) searches: VecDeque<(GroupId, BTreeSet<Arc<str>>)>,
    /// The error of the next append.
    pub(crate) refuse: Option<ErrorCode>,
    pub(crate) events: Vec<Event>,
    /// Tokens without a reply.
    pub(crate) open: BTreeMap<RequestToken, i16>,
    next_token: u64,
    draws: u64,
}

impl World {
    pub(crate) fn new(config: GroupConfig) -> Self {
        let topics = Arc::new(Topics::default());
        let mut world = Self {
            shard: GroupShard::new(config.clone()).with_cluster(topics.clone()),
            topics,
            searches: VecDeque::new(),
            config,
            now_ms: 0,
            log: Vec::new(),
            timers: BTreeMap::new(),
            in_flight: VecDeque::new(),
            hold: false,
            refuse: None,
            events: Vec::new(),
            open: BTreeMap::new(),
            next_token: 0,
            draws: 0,
        };
        let loaded = world.shard.finish_load(0);
        world.carry_out(loaded);
        world
    }

    /// A new request of this version.
    pub(crate) fn token(&mut self, api_version: i16) -> RequestToken {
        self.next_token += 1;
        let token = RequestToken(self.next_token);
        self.open.insert(token, api_version);
        token
    }

    /// Sixteen bytes that were never drawn before.
    pub(crate) fn random(&mut self) -> [u8; 16] {
        self.draws += 1;
        u128::from(self.draws).to_be_bytes()
    }

    /// Does what a decision asks for, and what follows from that.
    pub(crate) fn carry_out(&mut self, decision: Decision) {
        for effect in decision.effects {
            match &effect {
                Effect::Reply { token, response } => {
                    let version = self.open.remove(token).expect("each token is answered once");
                    assert_encodes(response, version);
                }
                Effect::Schedule { key, at_ms } => {
                    self.timers.insert(key.clone(), *at_ms);
                }
                Effect::Cancel { key } => {
                    self.timers.remove(key);
                }
                Effect::ResolveRegexes { group, regexes } => {
                    self.searches.push_back((group.clone(), regexes.clone()));
                }
                Effect::Note { .. } => {}
            }
            self.events.push(Event::Effect(effect));
        }
        let Some(append) = decision.append else { return };
        let id = append.id;
        if let Some(error) = self.refuse.take() {
            self.events.push(Event::Appended(append));
            self.events.push(Event::Refused(id));
            let decision = self.shard.append_failed(self.now_ms, id, error);
            return self.carry_out(decision);
        }
        let producer_id = append.producer.map_or(ProducerId::NONE, |(id, _)| id);
        for record in &append.records {
            let offset = Offset(self.log.len() as i64);
            let (key, value) = (record.encode_key(), record.encode_value());
            let read = GroupRecord::decode(Some(&key), value.as_deref());
            assert_eq!(read, Ok(Decoded::Record(record.clone())), "what is written can be read");
            self.log.push(Entry::Record { producer_id, key, value });
            self.shard.replay(offset, producer_id, record);
        }
        self.events.push(Event::Appended(append));
        self.in_flight.push_back(id);
        if !self.hold {
            while self.commit_one() {}
        }
    }

    /// Ends the oldest search for the topics of regular expressions.
    pub(crate) fn resolve_one(&mut self) -> bool {
        let Some((group, regexes)) = self.searches.pop_front() else { return false };
        let found = resolve_regexes(self.topics.as_ref(), &regexes, self.now_ms);
        let decision = self.shard.regexes_resolved(self.now_ms, &group, &found);
        self.carry_out(decision);
        true
    }

    /// Commits the oldest append in flight.
    pub(crate) fn commit_one(&mut self) -> bool {
        let Some(id) = self.in_flight.pop_front() else { return false };
        self.events.push(Event::Committed(id));
        let decision = self.shard.committed(self.now_ms, id);
        self.carry_out(decision);
        true
    }

    /// Fails the oldest append in flight after it was replayed.
    pub(crate) fn fail_one(&mut self, error: ErrorCode) -> bool {
        let Some(id) = self.in_flight.pop_front() else { return false };
        self.events.push(Event::Failed(id, error));
        let decision = self.shard.append_failed(self.now_ms, id, error);
        self.carry_out(decision);
        true
    }

    pub(crate) fn marker(&mut self, producer_id: ProducerId, commit: bool) {
        self.log.push(Entry::Marker { producer_id, commit });
        self.shard.replay_marker(producer_id, commit);
    }

    /// Lets time pass; timers fire in order.
    pub(crate) fn advance(&mut self, by_ms: i64) {
        let end_ms = self.now_ms + by_ms;
        while let Some((at_ms, key)) = self
            .timers
            .iter()
            .map(|(key, at_ms)| (*at_ms, key.clone()))
            .filter(|(at_ms, _)| *at_ms <= end_ms)
            .min()
        {
            self.now_ms = self.now_ms.max(at_ms);
            self.timers.remove(&key);
            self.events.push(Event::Timer(key.clone()));
            let decision = self.shard.on_timer(self.now_ms, &key);
            self.carry_out(decision);
        }
        self.now_ms = end_ms;
    }

    /// A shard loaded from the log, not yet active.
    pub(crate) fn load(&self) -> GroupShard {
        let mut shard = GroupShard::new(self.config.clone()).with_cluster(self.topics.clone());
        for (offset, entry) in self.log.iter().enumerate() {
            match entry {
                Entry::Marker { producer_id, commit } => shard.replay_marker(*producer_id, *commit),
                Entry::Record { producer_id, key, value } => {
                    let Decoded::Record(record) = GroupRecord::decode(Some(key), value.as_deref()).unwrap()
                    else {
                        continue;
                    };
                    shard.replay(Offset(offset as i64), *producer_id, &record);
                }
            }
        }
        shard
    }

    /// The leadership is lost and won back.
    pub(crate) fn reload(&mut self) {
        let effects = self.shard.unload();
        self.carry_out(Decision { effects, append: None });
        assert!(self.open.is_empty(), "unloading answers everybody: {:?}", self.open);
        self.timers.clear();
        self.in_flight.clear();
        self.searches.clear();
        self.shard = self.load();
        let loaded = self.shard.finish_load(self.now_ms);
        self.carry_out(loaded);
    }
}

/// A reply must be expressible in the version of its request.
fn assert_encodes(response: &GroupResponse, version: i16) {
    use ottla_protocol::Message;
    let encoded = match response {
        GroupResponse::JoinGroup(r) => r.encode(version),
        GroupResponse::SyncGroup(r) => r.encode(version),
        GroupResponse::Heartbeat(r) => r.encode(version),
        GroupResponse::LeaveGroup(r) => r.encode(version),
        GroupResponse::OffsetCommit(r) => r.encode(version),
        GroupResponse::OffsetFetch(r) => {
            ottla_coordinator::group::offset_fetch_response(vec![r.clone()], version).encode(version)
        }
        GroupResponse::DescribeGroups(r) => r.encode(version),
        GroupResponse::ListGroups(r) => r.encode(version),
        GroupResponse::DeleteGroups(r) => r.encode(version),
        GroupResponse::OffsetDelete(r) => r.encode(version),
        GroupResponse::TxnOffsetCommit(r) => r.encode(version),
        GroupResponse::ConsumerGroupHeartbeat(r) => r.encode(version),
        GroupResponse::ConsumerGroupDescribe(r) => r.encode(version),
    };
    encoded.unwrap_or_else(|e| panic!("{response:?} in version {version}: {e}"));
}
