//! Client quotas, and the next free producer id.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::client_quota_record::{ClientQuotaRecord, EntityData};
use ottla_protocol::messages::describe_client_quotas_request::DescribeClientQuotasRequest;
use ottla_protocol::messages::producer_ids_record::ProducerIdsRecord;

use super::Changes;
use crate::record::VersionedRecord;
use crate::{ApiError, ReplayError};

/// The entity type of users.
pub const USER: &str = "user";
/// The entity type of client ids.
pub const CLIENT_ID: &str = "client-id";
/// The entity type of addresses.
pub const IP: &str = "ip";

/// Whom quotas apply to: entity types (`user`, `client-id`, `ip`) with a name each, `None` for the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuotaEntity(pub BTreeMap<String, Option<String>>);

impl QuotaEntity {
    /// The record that sets a quota of this entity, or removes it.
    pub(crate) fn record(&self, key: &str, value: Option<f64>) -> VersionedRecord {
        let part = |(kind, name): (&String, &Option<String>)| EntityData {
            entity_type: kind.clone().into(),
            entity_name: name.clone().map(Into::into),
        };
        let record = ClientQuotaRecord {
            entity: self.0.iter().map(part).collect(),
            key: key.to_owned().into(),
            value: value.unwrap_or(0.0),
            remove: value.is_none(),
        };
        VersionedRecord::new(record, 0)
    }
}

/// Quota values by key, as `producer_byte_rate`.
pub type Quotas = BTreeMap<String, f64>;

/// All client quotas.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QuotasImage {
    entities: Arc<BTreeMap<QuotaEntity, Quotas>>,
}

impl QuotasImage {
    /// The quotas of exactly that entity.
    pub fn of(&self, entity: &QuotaEntity) -> Option<&Quotas> {
        self.entities.get(entity)
    }

    /// All entities with quotas.
    pub fn iter(&self) -> impl Iterator<Item = (&QuotaEntity, &Quotas)> {
        self.entities.iter()
    }

    /// The entities that a DescribeClientQuotas asks for.
    ///
    /// # Errors
    /// The request makes no sense (`ClientQuotasImage.describe`).
    pub fn describe(
        &self,
        request: &DescribeClientQuotasRequest<'_>,
    ) -> Result<Vec<(&QuotaEntity, &Quotas)>, ApiError> {
        let filter = Filter::of(request)?;
        Ok(self.iter().filter(|(entity, _)| filter.matches(entity)).collect())
    }

    pub(super) fn replay(&mut self, record: &ClientQuotaRecord<'_>, changes: &mut Changes) {
        let pair =
            |e: &EntityData<'_>| (e.entity_type.to_string(), e.entity_name.as_ref().map(ToString::to_string));
        let entity = QuotaEntity(record.entity.iter().map(pair).collect());
        changes.quotas.insert(entity.clone());
        let entities = Arc::make_mut(&mut self.entities);
        if record.remove {
            if let Some(quotas) = entities.get_mut(&entity) {
                quotas.remove(record.key.as_ref());
                if quotas.is_empty() {
                    entities.remove(&entity);
                }
            }
        } else {
            entities.entry(entity).or_default().insert(record.key.to_string(), record.value);
        }
    }

    pub(super) fn write(&self, sink: &mut dyn FnMut(VersionedRecord)) {
        for (entity, quotas) in self.iter() {
            for (key, value) in quotas {
                sink(entity.record(key, Some(*value)));
            }
        }
    }
}

/// What DescribeClientQuotas asks for: entity types with an exact name, with the default, or with any.
struct Filter<'a> {
    wanted: BTreeMap<&'a str, Wanted<'a>>,
    /// Entities may have no other types.
    is_strict: bool,
}

#[derive(PartialEq, Eq)]
enum Wanted<'a> {
    Any,
    Exactly(Option<&'a str>),
}

impl<'a> Filter<'a> {
    fn of(request: &'a DescribeClientQuotasRequest<'_>) -> Result<Self, ApiError> {
        let invalid = |text: String| Err(ApiError::new(ErrorCode::InvalidRequest, text));
        let mut wanted = BTreeMap::new();
        for component in &request.components {
            let kind = component.entity_type.as_ref();
            if kind.is_empty() {
                return invalid("Invalid empty entity type.".to_owned());
            }
            if wanted.contains_key(kind) {
                return invalid(format!("Entity type {kind} cannot appear more than once in the filter."));
            }
            if ![IP, USER, CLIENT_ID].contains(&kind) {
                let text = format!("Unsupported entity type {kind}");
                return Err(ApiError::new(ErrorCode::UnsupportedVersion, text));
            }
            let value = match (component.match_type, component.r#match.as_deref()) {
                (0, Some(name)) => Wanted::Exactly(Some(name)),
                (1, None) => Wanted::Exactly(None),
                (2, None) => Wanted::Any,
                (0, None) => return invalid("An exact match needs a name to match.".to_owned()),
                (1 | 2, Some(_)) => {
                    return invalid("A match of the default or of all takes no name.".to_owned());
                }
                (other, _) => return invalid(format!("Unknown match type {other}")),
            };
            wanted.insert(kind, value);
        }
        if wanted.contains_key(IP) && wanted.len() > 1 {
            let text =
                "Invalid entity filter component combination: IP cannot be combined with user or client-id.";
            return invalid(text.to_owned());
        }
        Ok(Self { wanted, is_strict: request.strict })
    }

    fn matches(&self, entity: &QuotaEntity) -> bool {
        let has = |(kind, wanted): (&&str, &Wanted<'_>)| {
            let name = entity.0.get(*kind);
            name.is_some_and(|name| match wanted {
                Wanted::Any => true,
                Wanted::Exactly(wanted) => name.as_deref() == *wanted,
            })
        };
        self.wanted.iter().all(has) && !(self.is_strict && entity.0.len() != self.wanted.len())
    }
}

/// Which producer ids are given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerIdsImage {
    next: i64,
}

impl Default for ProducerIdsImage {
    fn default() -> Self {
        Self { next: -1 }
    }
}

impl ProducerIdsImage {
    /// The first id of the next block; 0 when none was given out.
    pub fn next(&self) -> i64 {
        self.next.max(0)
    }

    pub(super) fn replay(
        &mut self,
        record: &ProducerIdsRecord,
        changes: &mut Changes,
    ) -> Result<(), ReplayError> {
        if record.next_producer_id <= self.next {
            return Err(ReplayError::Contradiction(format!(
                "next producer id {} is not above {}",
                record.next_producer_id, self.next
            )));
        }
        self.next = record.next_producer_id;
        changes.producer_ids = true;
        Ok(())
    }

    pub(super) fn write(&self, sink: &mut dyn FnMut(VersionedRecord)) {
        if self.next >= 0 {
            let record = ProducerIdsRecord { broker_id: -1, broker_epoch: -1, next_producer_id: self.next };
            sink(VersionedRecord::new(record, 0));
        }
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::describe_client_quotas_request::ComponentData;

    use super::*;

    fn entity(parts: &[(&str, Option<&str>)]) -> QuotaEntity {
        QuotaEntity(parts.iter().map(|(k, n)| ((*k).to_owned(), n.map(str::to_owned))).collect())
    }

    fn image() -> QuotasImage {
        let entities = [
            entity(&[(USER, Some("u"))]),
            entity(&[(USER, None)]),
            entity(&[(USER, Some("u")), (CLIENT_ID, Some("c"))]),
            entity(&[(IP, Some("10.0.0.1"))]),
        ];
        let quotas = Quotas::from([("request_percentage".to_owned(), 1.0)]);
        QuotasImage { entities: Arc::new(entities.map(|entity| (entity, quotas.clone())).into()) }
    }

    fn count(components: &[(&str, i8, Option<&str>)], strict: bool) -> Result<usize, ErrorCode> {
        let component = |(kind, match_type, name): &(&str, i8, Option<&str>)| ComponentData {
            entity_type: (*kind).to_owned().into(),
            match_type: *match_type,
            r#match: name.map(|name| name.to_owned().into()),
        };
        let request =
            DescribeClientQuotasRequest { components: components.iter().map(component).collect(), strict };
        image().describe(&request).map(|found| found.len()).map_err(|error| error.code)
    }

    #[test]
    fn entities_match_by_name_default_or_type() {
        assert_eq!(count(&[], false), Ok(4));
        assert_eq!(count(&[], true), Ok(0));
        assert_eq!(count(&[(USER, 2, None)], false), Ok(3));
        assert_eq!(count(&[(USER, 2, None)], true), Ok(2));
        assert_eq!(count(&[(USER, 1, None)], false), Ok(1));
        assert_eq!(count(&[(USER, 0, Some("u"))], false), Ok(2));
        assert_eq!(count(&[(USER, 0, Some("u"))], true), Ok(1));
        assert_eq!(count(&[(USER, 0, Some("u")), (CLIENT_ID, 2, None)], true), Ok(1));
        assert_eq!(count(&[(CLIENT_ID, 1, None)], false), Ok(0));
        assert_eq!(count(&[(IP, 0, Some("10.0.0.1"))], false), Ok(1));
    }

    #[test]
    fn filters_that_make_no_sense_are_refused() {
        let invalid = Err(ErrorCode::InvalidRequest);
        assert_eq!(count(&[("", 2, None)], false), invalid);
        assert_eq!(count(&[(USER, 2, None), (USER, 1, None)], false), invalid);
        assert_eq!(count(&[(USER, 0, None)], false), invalid);
        assert_eq!(count(&[(USER, 1, Some("u"))], false), invalid);
        assert_eq!(count(&[(USER, 2, Some("u"))], false), invalid);
        assert_eq!(count(&[(USER, 3, None)], false), invalid);
        assert_eq!(count(&[(IP, 2, None), (USER, 2, None)], false), invalid);
        assert_eq!(count(&[("group", 2, None)], false), Err(ErrorCode::UnsupportedVersion));
    }
}
