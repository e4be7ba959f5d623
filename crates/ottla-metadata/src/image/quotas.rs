//! Client quotas, and the next free producer id.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_protocol::messages::client_quota_record::{ClientQuotaRecord, EntityData};
use ottla_protocol::messages::producer_ids_record::ProducerIdsRecord;

use super::Changes;
use crate::ReplayError;
use crate::record::VersionedRecord;

/// Whom quotas apply to: entity types (`user`, `client-id`, `ip`) with a name each, `None` for the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuotaEntity(pub BTreeMap<String, Option<String>>);

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
                let part = |(kind, name): (&String, &Option<String>)| EntityData {
                    entity_type: kind.clone().into(),
                    entity_name: name.clone().map(Into::into),
                };
                let record = ClientQuotaRecord {
                    entity: entity.0.iter().map(part).collect(),
                    key: key.clone().into(),
                    value: *value,
                    remove: false,
                };
                sink(VersionedRecord::new(record, 0));
            }
        }
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
