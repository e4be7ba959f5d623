//! Steps about quotas: set, checked, described. That clients are held to them is a matter of time, so nobody whom a quota
//! would hold is asked for anything: names are those of a run, and what is set for everybody is far beyond reach.

use ottla_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use ottla_protocol::messages::describe_client_quotas_request::ComponentData;
use ottla_protocol::messages::{AlterClientQuotasRequest, ApiKey, DescribeClientQuotasRequest};
use serde::{Deserialize, Serialize};

use super::dice::Dice;
use super::world::World;
use crate::requests::barrier;

/// A part of an entity: its type, and its name, `None` for the default. In names `~` stands for the run, `@` for an address
/// of the run.
pub(crate) type Part = (String, Option<String>);

/// A step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum QuotaOp {
    Alter { entries: Vec<Entry>, check: bool, version: i16 },
    Describe { parts: Vec<(String, i8, Option<String>)>, strict: bool, version: i16 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) entity: Vec<Part>,
    /// Keys and values, `None` to remove.
    pub(crate) ops: Vec<(String, Option<f64>)>,
}

const KEYS: &[&str] = &[
    "producer_byte_rate",
    "consumer_byte_rate",
    "request_percentage",
    "controller_mutation_rate",
    "connection_creation_rate",
];
/// A quota that nobody reaches.
const BEYOND_REACH: f64 = 1e9;

impl Entry {
    /// Whether it is about entities that other runs know too.
    fn is_for_all(&self) -> bool {
        self.entity.iter().all(|(_, name)| name.as_ref().is_none_or(|name| !name.contains(['~', '@'])))
    }
}

impl QuotaOp {
    /// Whether no other sequence may be played at the same time.
    pub(super) fn is_for_all(&self) -> bool {
        matches!(self, Self::Alter { entries, .. } if entries.iter().any(Entry::is_for_all))
    }

    /// The same step, one thing of it plainer.
    pub(super) fn plainer(&self) -> Vec<Self> {
        let mut all = Vec::new();
        match self {
            Self::Alter { entries, check, version } => {
                for skipped in 0..entries.len() {
                    let mut entries = entries.clone();
                    entries.remove(skipped);
                    all.push(Self::Alter { entries, check: *check, version: *version });
                }
                for (index, entry) in entries.iter().enumerate() {
                    let mut entries = entries.clone();
                    entries[index].ops = entry.ops.iter().take(1).cloned().collect();
                    all.push(Self::Alter { entries, check: *check, version: *version });
                }
            }
            Self::Describe { parts, strict, version } => {
                let parts = parts.iter().take(1).cloned().collect();
                all.push(Self::Describe { parts, strict: *strict, version: *version });
            }
        }
        all.retain(|op| op != self);
        all
    }
}

impl World {
    fn quota_name(&self, name: &str) -> String {
        let number: u32 = self.prefix.trim_start_matches("run").parse().unwrap_or(0);
        let address = std::net::Ipv4Addr::from(0x0a00_0000 | (number & 0xffff) << 8);
        let address = address.to_string();
        let start = address.trim_end_matches('0');
        name.replace('~', &self.prefix).replace('@', start)
    }

    fn quota_entry(&self, entry: &Entry) -> EntryData<'static> {
        let part = |(kind, name): &Part| EntityData {
            entity_type: kind.clone().into(),
            entity_name: name.as_ref().map(|name| self.quota_name(name).into()),
        };
        let op = |(key, value): &(String, Option<f64>)| OpData {
            key: key.clone().into(),
            value: value.unwrap_or_default(),
            remove: value.is_none(),
        };
        EntryData { entity: entry.entity.iter().map(part).collect(), ops: entry.ops.iter().map(op).collect() }
    }

    pub(super) fn play_quotas(&mut self, op: &QuotaOp) {
        match op {
            QuotaOp::Alter { entries, check, version } => {
                let request = AlterClientQuotasRequest {
                    entries: entries.iter().map(|entry| self.quota_entry(entry)).collect(),
                    validate_only: *check,
                };
                self.peer.call(*version, "of a run", &request);
                barrier(&mut self.peer);
                for entry in entries {
                    if !self.limited.contains(&entry.entity) {
                        self.limited.push(entry.entity.clone());
                    }
                }
            }
            QuotaOp::Describe { parts, strict, version } => {
                let component = |(kind, how, name): &(String, i8, Option<String>)| ComponentData {
                    entity_type: kind.clone().into(),
                    match_type: *how,
                    r#match: name.as_ref().map(|name| self.quota_name(name).into()),
                };
                let components = parts.iter().map(component).collect();
                let request = DescribeClientQuotasRequest { components, strict: *strict };
                let known: Vec<EntryData<'_>> = self
                    .limited
                    .iter()
                    .map(|entity| self.quota_entry(&Entry { entity: entity.clone(), ops: Vec::new() }))
                    .collect();
                self.peer.call_edited(*version, "of this run", &request, |answer| {
                    if let Some(entries) = &mut answer.entries {
                        entries
                            .retain(|entry| known.iter().any(|known| is_same(&known.entity, &entry.entity)));
                    }
                });
            }
        }
    }

    /// Takes back every quota that may have been set.
    pub(super) fn lift_limits(&mut self) {
        for entity in std::mem::take(&mut self.limited) {
            let ops = KEYS.iter().map(|key| ((*key).to_owned(), None)).collect();
            let entries = vec![self.quota_entry(&Entry { entity, ops })];
            // Entities that cannot have quotas are refused.
            _ = self.peer.ask(1, &AlterClientQuotasRequest { entries, validate_only: false });
        }
    }
}

fn is_same(
    one: &[EntityData<'_>],
    other: &[ottla_protocol::messages::describe_client_quotas_response::EntityData<'_>],
) -> bool {
    one.len() == other.len()
        && one.iter().all(|part| {
            other
                .iter()
                .any(|same| (&same.entity_type, &same.entity_name) == (&part.entity_type, &part.entity_name))
        })
}

fn part(dice: &mut Dice, kind: &str) -> Part {
    let name = match kind {
        "ip" => dice.mostly(&[Some("@1"), Some("@2"), Some("fd00::@7"), Some("~.invalid"), None, Some("")]),
        _ => dice.mostly(&[Some("~-a"), Some("~-b"), None, None, Some("~ %ä"), Some("")]),
    };
    (kind.to_owned(), name.map(str::to_owned))
}

fn entity(dice: &mut Dice) -> Vec<Part> {
    let kinds: &[&str] = dice.one(&[
        &["user"][..],
        &["user"],
        &["client-id"],
        &["client-id"],
        &["user", "client-id"],
        &["user", "client-id"],
        &["user", "client-id"],
        &["user", "client-id"],
        &["client-id", "user"],
        &["ip"],
        &["ip"],
        &["ip"],
        &["user", "ip"],
        &["user", "user"],
        &["group"],
        &[],
    ]);
    kinds.iter().map(|kind| part(dice, kind)).collect()
}

fn entry(dice: &mut Dice) -> Entry {
    let mut entry = Entry { entity: entity(dice), ops: Vec::new() };
    let is_address = entry.entity.iter().any(|(kind, _)| kind == "ip");
    for _ in 0..dice.below(4) {
        let key = match dice.below(10) {
            0 => dice.one(&["no_such_rate", "", "connection_creation_rate", "producer_byte_rate"]),
            _ if is_address => "connection_creation_rate",
            _ => dice.one(&KEYS[..4]),
        };
        let value = if entry.is_for_all() {
            dice.mostly(&[Some(BEYOND_REACH), None, Some(-1.0), Some(0.0), Some(BEYOND_REACH + 0.5)])
        } else {
            let rare = [1.5, 0.0, -1.0, 1e300, 9.3e18, 2_147_483_647.0, 2_147_483_648.0, 0.001, 1e-9, 100.0];
            if dice.chance(30) {
                None
            } else if dice.chance(75) {
                Some(dice.one(&[1.0, 1024.0, 50.0]))
            } else {
                Some(dice.one(&rare))
            }
        };
        entry.ops.push((key.to_owned(), value));
    }
    entry
}

pub(super) fn draw(dice: &mut Dice) -> QuotaOp {
    if dice.chance(45) {
        let entries = (0..dice.mostly(&[1, 2, 3, 0])).map(|_| entry(dice)).collect();
        let version = dice.version(ApiKey::AlterClientQuotas, 0);
        return QuotaOp::Alter { entries, check: dice.chance(20), version };
    }
    let parts = (0..dice.below(3)).map(|_| {
        let kind = dice.mostly(&["user", "client-id", "ip", "group", ""]);
        let kind = if dice.chance(30) { "client-id" } else { kind };
        let (kind, name) = part(dice, kind);
        // Exactly this name, the default, any: with a name that fits, most of the time.
        let how = dice.one(&[0, 0, 1, 2, 2, 3]);
        let name = if (how == 0) == dice.chance(90) { name.or_else(|| Some("~-a".to_owned())) } else { None };
        (kind, how, name)
    });
    let parts = parts.collect();
    QuotaOp::Describe {
        parts,
        strict: dice.chance(30),
        version: dice.version(ApiKey::DescribeClientQuotas, 0),
    }
}
