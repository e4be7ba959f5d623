//! A transaction shard with a log, a clock and marker writers made of commands. A command's trace is everything that the shard
//! asked for.
//!
//! `init ID [timeout=MS] [expected=PID:EPOCH]`; `add ID PID:EPOCH t-0,u-1 [v=2]`; `verify ID PID:EPOCH t-0`;
//! `end ID PID:EPOCH commit|abort [v=2]`; `advance MS` fires timers; `hold on|off` keeps appends from counting, `count` lets the
//! oldest count, `fail CODE` lets it fail; `refuse CODE` makes the log refuse the next append; `markers off|on` keeps markers from
//! being written, `written ID` writes one; `put ID STATE PID:EPOCH PLACES` is a record that was there; `ids N` sets how many producer ids there are; `level N`; `reload`; `state`; `list`.

#![allow(unreachable_pub, dead_code, reason = "not every test file uses all of it")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use ottla_coordinator::group::RequestToken;
use ottla_coordinator::transaction::{
    Append, Decision, Decoded, Effect, End, Filter, Identity, MarkersToWrite, TimerKey, Transaction,
    TransactionConfig, TransactionRecord, TransactionResponse, TransactionShard, TransactionState,
};
use ottla_protocol::ErrorCode;
use ottla_types::{ProducerEpoch, ProducerId, TopicName};

pub struct World {
    pub shard: TransactionShard,
    pub log: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub in_flight: VecDeque<Append>,
    pub markers: BTreeMap<String, MarkersToWrite>,
    pub open: BTreeSet<RequestToken>,
    timers: BTreeMap<TimerKey, i64>,
    now_ms: i64,
    level: i16,
    next_id: i64,
    ids_left: usize,
    next_token: u64,
    hold: bool,
    hold_markers: bool,
    refuse: Option<ErrorCode>,
    trace: String,
}

fn loaded(log: &[(Vec<u8>, Option<Vec<u8>>)], epoch: i32) -> TransactionShard {
    let config = TransactionConfig { expiry_interval_ms: 86_400_000, ..TransactionConfig::default() };
    let mut shard = TransactionShard::new(config, epoch);
    for (key, value) in log {
        match TransactionRecord::decode(Some(key), value.as_deref()).unwrap() {
            Decoded::Record(record) => shard.replay(record),
            Decoded::UnknownType(kind) => panic!("type {kind}"),
        }
    }
    shard
}

impl World {
    pub fn new() -> Self {
        let mut world = Self {
            shard: loaded(&[], 0),
            log: Vec::new(),
            in_flight: VecDeque::new(),
            markers: BTreeMap::new(),
            open: BTreeSet::new(),
            timers: BTreeMap::new(),
            now_ms: 0,
            level: 2,
            next_id: 1000,
            ids_left: usize::MAX,
            next_token: 0,
            hold: false,
            hold_markers: false,
            refuse: None,
            trace: String::new(),
        };
        world.call(|shard, now_ms| shard.finish_load(now_ms));
        world
    }

    /// What a shard loaded from the log knows.
    pub fn loaded_state(&self) -> BTreeMap<String, Transaction> {
        state(&loaded(&self.log, 1))
    }

    /// What the live shard knows.
    pub fn live_state(&self) -> BTreeMap<String, Transaction> {
        state(&self.shard)
    }

    fn call(&mut self, run: impl FnOnce(&mut TransactionShard, i64) -> Decision) {
        self.shard.set_level(self.level);
        if self.shard.wants_producer_id() && self.ids_left > 0 {
            self.ids_left -= 1;
            self.shard.offer_producer_id(ProducerId(self.next_id));
            self.next_id += 1;
        }
        let decision = run(&mut self.shard, self.now_ms);
        self.carry_out(decision);
    }

    fn carry_out(&mut self, decision: Decision) {
        for effect in decision.effects {
            self.effect(effect);
        }
        for append in decision.appends {
            let records: Vec<String> = append.records.iter().map(show).collect();
            writeln!(self.trace, "append #{} {}", append.id.0, records.join("; ")).unwrap();
            if let Some(error) = self.refuse.take() {
                writeln!(self.trace, "refused #{}", append.id.0).unwrap();
                let decision = self.shard.append_failed(self.now_ms, append.id, error);
                self.carry_out(decision);
                continue;
            }
            for record in &append.records {
                self.log.push((record.encode_key(), record.encode_value(append.level)));
            }
            self.in_flight.push_back(append);
            if !self.hold {
                self.count();
            }
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Reply { token, response } => {
                assert!(self.open.remove(&token), "answered twice: {token:?}");
                let text = match response {
                    TransactionResponse::Added(Ok(())) => "added".to_owned(),
                    TransactionResponse::Producer(Ok(next)) => format!("producer {}", identity(next)),
                    TransactionResponse::Added(Err(code)) | TransactionResponse::Producer(Err(code)) => {
                        code.name().to_owned()
                    }
                };
                writeln!(self.trace, "reply {text}").unwrap();
            }
            Effect::Schedule { key, at_ms } => {
                writeln!(self.trace, "schedule {key:?} at {at_ms}").unwrap();
                self.timers.insert(key, at_ms);
            }
            Effect::WriteMarkers(markers) => {
                let MarkersToWrite { id, producer, coordinator_epoch, commit, transaction_version, .. } =
                    &markers;
                let places: Vec<String> = markers.partitions.iter().map(place).collect();
                let kind = if *commit { "commit" } else { "abort" };
                writeln!(
                    self.trace,
                    "markers {id} {kind} producer={} coordinator={coordinator_epoch} version={transaction_version} [{}]",
                    identity(*producer),
                    places.join(" ")
                )
                .unwrap();
                let id = id.to_string();
                self.markers.insert(id.clone(), markers);
                if !self.hold_markers {
                    self.written(&id);
                }
            }
            Effect::Note(text) => writeln!(self.trace, "note {text}").unwrap(),
        }
    }

    pub fn written(&mut self, id: &str) -> bool {
        let Some(markers) = self.markers.remove(id) else { return false };
        self.call(|shard, _| shard.markers_written(&markers.id));
        true
    }

    /// The oldest append counts.
    pub fn count(&mut self) -> bool {
        let Some(append) = self.in_flight.pop_front() else { return false };
        writeln!(self.trace, "counts #{}", append.id.0).unwrap();
        self.call(|shard, now_ms| shard.committed(now_ms, append.id));
        true
    }

    pub fn advance(&mut self, ms: i64) {
        let until = self.now_ms + ms;
        loop {
            let due = self.timers.iter().filter(|(_, at)| **at <= until).min_by_key(|(_, at)| **at);
            let Some((key, at)) = due.map(|(key, at)| (key.clone(), *at)) else { break };
            self.timers.remove(&key);
            self.now_ms = self.now_ms.max(at);
            writeln!(self.trace, "@{} timer {key:?}", self.now_ms).unwrap();
            self.call(|shard, now_ms| shard.on_timer(now_ms, &key));
        }
        self.now_ms = until;
    }

    /// The leader is here again: everybody who waited is told, and the log is loaded.
    pub fn reload(&mut self) {
        let decision = self.shard.unload();
        self.carry_out(decision);
        assert!(self.open.is_empty(), "nobody is left without an answer: {:?}", self.open);
        self.in_flight.clear();
        self.markers.clear();
        self.timers.clear();
        self.shard = loaded(&self.log, 1);
        self.call(|shard, now_ms| shard.finish_load(now_ms));
    }

    fn token(&mut self) -> RequestToken {
        self.next_token += 1;
        let token = RequestToken(self.next_token);
        self.open.insert(token);
        token
    }

    /// Runs a command and returns its trace.
    pub fn run(&mut self, command: &str) -> String {
        let words: Vec<&str> = command.split(' ').collect();
        let option = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let version = || option("v").map_or(0, |version| version.parse().unwrap());
        match words.as_slice() {
            ["init", id, ..] => {
                let token = self.token();
                let timeout_ms = option("timeout").map_or(60_000, |ms| ms.parse().unwrap());
                let expected = option("expected").map(parse_identity);
                self.call(|shard, now_ms| shard.init_producer_id(now_ms, token, id, timeout_ms, expected));
            }
            ["add", id, producer, places, ..] => {
                let token = self.token();
                let (producer, places) = (parse_identity(producer), parse_places(places));
                self.call(|shard, now_ms| {
                    shard.add_partitions(now_ms, token, id, producer, &places, version())
                });
            }
            ["verify", id, producer, places] => {
                let places = parse_places(places);
                let told = self.shard.verify_partitions(id, parse_identity(producer), &places);
                let text = match told {
                    Err(code) => code.name().to_owned(),
                    Ok(told) => {
                        let told: Vec<String> =
                            told.map(|(at, code)| format!("{} {}", place(at), code.name())).collect();
                        told.join(", ")
                    }
                };
                writeln!(self.trace, "verified {text}").unwrap();
            }
            ["end", id, producer, outcome, ..] => {
                let token = self.token();
                let (producer, commit) = (parse_identity(producer), *outcome == "commit");
                let end = End { id, producer, commit, client_version: version() };
                self.call(|shard, now_ms| shard.end_transaction(now_ms, token, &end));
            }
            _ => self.control(&words),
        }
        std::mem::take(&mut self.trace)
    }

    /// Commands about the world around the shard.
    fn control(&mut self, words: &[&str]) {
        match words {
            ["advance", ms] => self.advance(ms.parse().unwrap()),
            ["hold", on] => {
                self.hold = *on == "on";
                while !self.hold && self.count() {}
            }
            ["count"] => _ = self.count(),
            ["fail", code] => {
                if let Some(append) = self.in_flight.pop_front() {
                    writeln!(self.trace, "fails #{}", append.id.0).unwrap();
                    let error = parse_code(code);
                    self.call(|shard, now_ms| shard.append_failed(now_ms, append.id, error));
                }
            }
            ["refuse", code] => self.refuse = Some(parse_code(code)),
            ["markers", on] => {
                self.hold_markers = *on == "off";
                let ids: Vec<String> = self.markers.keys().cloned().collect();
                if !self.hold_markers {
                    ids.iter().for_each(|id| _ = self.written(id));
                }
            }
            ["written", id] => _ = self.written(id),
            ["put", id, state, producer, places] => {
                let producer = parse_identity(producer);
                let value = Transaction {
                    producer_id: producer.producer_id,
                    previous_producer_id: producer.producer_id,
                    next_producer_id: ProducerId::NONE,
                    epoch: producer.epoch,
                    last_epoch: ProducerEpoch::NONE,
                    timeout_ms: 60_000,
                    state: TransactionState::parse(state).unwrap(),
                    partitions: parse_places(places),
                    start_ms: self.now_ms,
                    last_update_ms: self.now_ms,
                    client_version: self.level,
                };
                let record = TransactionRecord { id: (*id).into(), value: Some(value) };
                self.log.push((record.encode_key(), record.encode_value(self.level)));
                self.shard.replay(record);
            }
            ["ids", count] => self.ids_left = count.parse().unwrap(),
            ["level", level] => self.level = level.parse().unwrap(),
            ["reload"] => self.reload(),
            ["state"] => self.show_state(),
            ["list"] => {
                let filter = Filter { longer_than_ms: -1, ..Filter::default() };
                let listed = self.shard.list(self.now_ms, &filter);
                writeln!(self.trace, "listed {listed:?}").unwrap();
            }
            _ => panic!("no such command: {words:?}"),
        }
    }

    fn show_state(&mut self) {
        for (id, value) in self.live_state() {
            let record = TransactionRecord { id: id.as_str().into(), value: Some(value) };
            writeln!(self.trace, "{}", show(&record)).unwrap();
        }
    }
}

fn state(shard: &TransactionShard) -> BTreeMap<String, Transaction> {
    shard.durable_state().into_iter().map(|(id, value)| (id.to_string(), value)).collect()
}

fn identity(identity: Identity) -> String {
    format!("{}:{}", identity.producer_id.value(), identity.epoch.value())
}

fn parse_identity(text: &str) -> Identity {
    let (id, epoch) = text.split_once(':').unwrap();
    let (id, epoch) = (id.parse().unwrap(), epoch.parse().unwrap());
    Identity { producer_id: ProducerId(id), epoch: ProducerEpoch(epoch) }
}

fn place((topic, partition): &(TopicName, i32)) -> String {
    format!("{topic}-{partition}")
}

fn parse_places(text: &str) -> BTreeSet<(TopicName, i32)> {
    let parse = |place: &str| {
        let (topic, partition) = place.rsplit_once('-').unwrap();
        (TopicName::new(topic), partition.parse().unwrap())
    };
    text.split(',').filter(|place| *place != "-").map(parse).collect()
}

fn parse_code(name: &str) -> ErrorCode {
    (-1..=200).map(ErrorCode::from_code).find(|code| code.name() == name).unwrap()
}

fn show(record: &TransactionRecord) -> String {
    let Some(value) = &record.value else { return format!("{} forgotten", record.id) };
    let places: Vec<String> = value.partitions.iter().map(place).collect();
    format!(
        "{} {} {}:{} previous={} next={} [{}] timeout={} start={} update={} client={}",
        record.id,
        value.state.name(),
        value.producer_id.value(),
        value.epoch.value(),
        value.previous_producer_id.value(),
        value.next_producer_id.value(),
        places.join(" "),
        value.timeout_ms,
        value.start_ms,
        value.last_update_ms,
        value.client_version
    )
}
