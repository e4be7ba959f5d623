//! AlterClientQuotas (KIP-546, KIP-612; `ClientQuotaControlManager`).

use std::collections::BTreeMap;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_client_quotas_request::{AlterClientQuotasRequest, EntryData};
use ottla_protocol::messages::alter_client_quotas_response::{
    AlterClientQuotasResponse, EntityData, EntryData as ResponseEntry,
};

use super::{Controller, Decision};
use crate::ApiError;
use crate::image::{CLIENT_ID, IP, QuotaEntity, USER};
use crate::record::VersionedRecord;

/// How a quota's value is stored and checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ValueType {
    Int,
    Long,
    Double,
}

const OF_CLIENTS: &[(&str, ValueType)] = &[
    ("producer_byte_rate", ValueType::Long),
    ("consumer_byte_rate", ValueType::Long),
    ("request_percentage", ValueType::Double),
    ("controller_mutation_rate", ValueType::Double),
];

const OF_ADDRESSES: &[(&str, ValueType)] = &[("connection_creation_rate", ValueType::Int)];

/// 2^63, above which a value is no `long`.
const LONG_LIMIT: f64 = 9_223_372_036_854_775_807.0;

type Results = BTreeMap<QuotaEntity, Result<(), ApiError>>;

fn invalid(text: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidRequest, text)
}

impl Controller {
    /// Answers AlterClientQuotas (v0-1): each entity is changed wholly or not at all. `is_address` says whether the name of an
    /// `ip` entity is an address or a host that can be resolved; the shell has looked.
    pub fn alter_client_quotas(
        &self,
        request: &AlterClientQuotasRequest<'_>,
        is_address: &dyn Fn(&str) -> bool,
    ) -> Decision<AlterClientQuotasResponse<'static>> {
        let mut results = Results::new();
        let mut records = Vec::new();
        for entry in &request.entries {
            let parts = entry.entity.iter().map(|part| {
                (part.entity_type.to_string(), part.entity_name.as_ref().map(ToString::to_string))
            });
            let entity = QuotaEntity(parts.collect());
            let result = match distinct_changes(entry) {
                // Also for the second half of an entity that is named twice: what the first half asked for is done.
                Some(changes) if !results.contains_key(&entity) => {
                    self.alter_entity(&entity, &changes, is_address).map(|new| records.extend(new))
                }
                _ => Err(invalid(format!("Ignoring duplicate entity {}", shown(&entity)))),
            };
            results.insert(entity, result);
        }
        let entries = results.into_iter().map(|(entity, result)| answer(entity, result.err())).collect();
        let response = AlterClientQuotasResponse { entries, ..AlterClientQuotasResponse::default() };
        let decision = Decision::atomic(records, response);
        if request.validate_only { decision.without_records() } else { decision }
    }

    fn alter_entity(
        &self,
        entity: &QuotaEntity,
        changes: &BTreeMap<&str, Option<f64>>,
        is_address: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<VersionedRecord>, ApiError> {
        let keys = keys_for(entity, is_address)?;
        let current = self.image().quotas().of(entity);
        let mut records = Vec::new();
        for (key, value) in changes {
            let existing = current.and_then(|quotas| quotas.get(*key));
            match value {
                None if existing.is_some() => records.push(entity.record(key, None)),
                None => {}
                Some(value) => {
                    check_value(keys, key, *value)?;
                    if existing.is_none_or(|existing| existing.to_bits() != value.to_bits()) {
                        records.push(entity.record(key, Some(*value)));
                    }
                }
            }
        }
        Ok(records)
    }
}

/// New values by key, `None` to remove it; nothing when a key is there twice.
fn distinct_changes<'a>(entry: &'a EntryData<'_>) -> Option<BTreeMap<&'a str, Option<f64>>> {
    let mut changes = BTreeMap::new();
    for op in &entry.ops {
        if changes.insert(op.key.as_ref(), (!op.remove).then_some(op.value)).is_some() {
            return None;
        }
    }
    Some(changes)
}

/// Checks the types and names of an entity, and says which quotas it may have.
fn keys_for(
    entity: &QuotaEntity,
    is_address: &dyn Fn(&str) -> bool,
) -> Result<&'static [(&'static str, ValueType)], ApiError> {
    if entity.0.is_empty() {
        return Err(invalid("Invalid empty client quota entity"));
    }
    for (kind, name) in &entity.0 {
        if ![USER, CLIENT_ID, IP].contains(&kind.as_str()) {
            return Err(invalid(format!("Unhandled client quota entity type: {kind}")));
        }
        if name.as_ref().is_some_and(String::is_empty) {
            return Err(invalid(format!("Empty {kind} not supported")));
        }
    }
    match entity.0.get(IP) {
        None => Ok(OF_CLIENTS),
        Some(_) if entity.0.len() > 1 => Err(invalid(
            "Invalid quota entity combination, IP entity should not be combined with User or ClientId",
        )),
        Some(Some(name)) if !is_address(name) => {
            Err(invalid(format!("{name} is not a valid IP or resolvable host.")))
        }
        Some(_) => Ok(OF_ADDRESSES),
    }
}

fn check_value(keys: &[(&str, ValueType)], key: &str, value: f64) -> Result<(), ApiError> {
    let Some((_, kind)) = keys.iter().find(|(name, _)| *name == key) else {
        return Err(invalid(format!("Invalid configuration key {key}")));
    };
    if value <= 0.0 {
        return Err(invalid(format!("Quota {key} must be greater than 0")));
    }
    let (limit, name) = match kind {
        ValueType::Double => return Ok(()),
        ValueType::Int => (f64::from(i32::MAX), "an INT"),
        ValueType::Long => (LONG_LIMIT, "a LONG"),
    };
    if value > limit {
        return Err(invalid(format!("Proposed value for {key} is too large for {name}.")));
    }
    if (value % 1.0).abs() > 1e-6 {
        return Err(invalid(format!("{key} cannot be a fractional value.")));
    }
    Ok(())
}

fn shown(entity: &QuotaEntity) -> String {
    let part = |(kind, name): (&String, &Option<String>)| {
        format!("{kind}={}", name.as_deref().unwrap_or("<default>"))
    };
    entity.0.iter().map(part).collect::<Vec<_>>().join(", ")
}

fn answer(entity: QuotaEntity, error: Option<ApiError>) -> ResponseEntry<'static> {
    ResponseEntry {
        error_code: error.as_ref().map_or(ErrorCode::None, |error| error.code).code(),
        error_message: error.and_then(|error| error.message).map(Into::into),
        entity: entity
            .0
            .into_iter()
            .map(|(kind, name)| EntityData { entity_type: kind.into(), entity_name: name.map(Into::into) })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ottla_config::{BrokerConfig, Sources};
    use ottla_protocol::messages::MetadataRecord;
    use ottla_protocol::messages::alter_client_quotas_request::{EntityData as Part, OpData};
    use ottla_types::{NodeId, Offset};

    use super::*;
    use crate::controller::Settings;

    fn controller() -> Controller {
        let text = "node.id=1\nprocess.roles=controller\nlisteners=CONTROLLER://localhost:9093\n\
                    controller.listener.names=CONTROLLER\ncontroller.quorum.bootstrap.servers=localhost:9093\n";
        let (config, _) =
            BrokerConfig::load(Sources { properties: Some(text), ..Sources::default() }).unwrap();
        Controller::new(Settings::new(NodeId(1), "cluster", vec![NodeId(1)], Arc::new(config)))
    }

    type Entity<'a> = &'a [(&'a str, Option<&'a str>)];

    fn entry<'a>(entity: Entity<'a>, ops: &[(&'a str, Option<f64>)]) -> EntryData<'a> {
        let part = |(kind, name): &(&'a str, Option<&'a str>)| Part {
            entity_type: (*kind).into(),
            entity_name: name.map(Into::into),
        };
        let op = |(key, value): &(&'a str, Option<f64>)| OpData {
            key: (*key).into(),
            value: value.unwrap_or(0.0),
            remove: value.is_none(),
        };
        EntryData { entity: entity.iter().map(part).collect(), ops: ops.iter().map(op).collect() }
    }

    fn alter(controller: &mut Controller, entries: Vec<EntryData<'_>>) -> (Vec<i16>, usize) {
        let request = AlterClientQuotasRequest { entries, validate_only: false };
        let decision = controller.alter_client_quotas(&request, &|name| name == "10.0.0.1");
        controller.accept(&decision, Offset(1)).unwrap();
        let codes = decision.reply.entries.iter().map(|entry| entry.error_code).collect();
        (codes, decision.records.len())
    }

    #[test]
    fn only_changes_are_recorded() {
        let mut controller = controller();
        let user: Entity<'_> = &[("user", Some("u")), ("client-id", None)];
        let set = |value| vec![entry(user, &[("producer_byte_rate", value)])];
        assert_eq!(alter(&mut controller, set(Some(5.0))), (vec![0], 1));
        assert_eq!(alter(&mut controller, set(Some(5.0))), (vec![0], 0));
        assert_eq!(alter(&mut controller, set(Some(6.0))), (vec![0], 1));
        assert_eq!(alter(&mut controller, set(None)), (vec![0], 1));
        assert_eq!(alter(&mut controller, set(None)), (vec![0], 0));
        assert_eq!(controller.image().quotas().iter().count(), 0);
    }

    #[test]
    fn the_record_has_the_parts_in_kafkas_order() {
        let controller = controller();
        let entries =
            vec![entry(&[("user", None), ("client-id", Some("c"))], &[("request_percentage", Some(0.5))])];
        let request = AlterClientQuotasRequest { entries, validate_only: false };
        let decision = controller.alter_client_quotas(&request, &|_| false);
        let MetadataRecord::ClientQuota(record) = &decision.records[0].record else { panic!("{decision:?}") };
        let parts: Vec<_> = record.entity.iter().map(|part| part.entity_type.as_ref()).collect();
        assert_eq!((parts, record.value), (vec!["client-id", "user"], 0.5));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let mut controller = controller();
        let bad = ErrorCode::InvalidRequest.code();
        let ok: &[(&str, Option<f64>)] = &[("consumer_byte_rate", Some(1.0))];
        let rate: &[(&str, Option<f64>)] = &[("connection_creation_rate", Some(1.0))];
        let user: Entity<'_> = &[("user", Some("u"))];
        for (entity, ops) in [
            (&[][..], ok),
            (&[("group", Some("g"))], ok),
            (&[("user", Some(""))], ok),
            (&[("ip", Some("nowhere"))], rate),
            (&[("ip", None), ("user", None)], rate),
            (&[("ip", None)], ok),
            (user, rate),
            (user, &[("consumer_byte_rate", Some(0.0))]),
            (user, &[("consumer_byte_rate", Some(-1.0))]),
            (user, &[("consumer_byte_rate", Some(1.5))]),
            (user, &[("consumer_byte_rate", Some(1e300))]),
            (&[("ip", None)], &[("connection_creation_rate", Some(2_147_483_648.0))]),
            (user, &[("consumer_byte_rate", Some(1.0)), ("consumer_byte_rate", Some(1.0))]),
            (user, &[("producer_byte_rate", Some(1.0)), ("nonsense", Some(1.0))]),
        ] {
            let changed = alter(&mut controller, vec![entry(entity, ops)]);
            assert_eq!(changed, (vec![bad], 0), "{entity:?} {ops:?}");
        }
        assert_eq!(alter(&mut controller, vec![entry(&[("ip", Some("10.0.0.1"))], rate)]), (vec![0], 1));
        assert_eq!(alter(&mut controller, vec![entry(&[("ip", None)], rate)]), (vec![0], 1));
        let twice = vec![entry(user, ok), entry(user, ok)];
        assert_eq!(alter(&mut controller, twice), (vec![bad], 1), "the first half was done");
    }
}
