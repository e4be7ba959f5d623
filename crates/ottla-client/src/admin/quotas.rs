//! Quotas of users, clients and addresses (KIP-546, KIP-612).

use std::collections::BTreeMap;

use ottla_protocol::VersionRange;
use ottla_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use ottla_protocol::messages::describe_client_quotas_request::ComponentData;
use ottla_protocol::messages::{AlterClientQuotasRequest, DescribeClientQuotasRequest};

use crate::error::check;
use crate::{Client, Result};

/// Which entities are asked for, by their part of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuotaMatch {
    /// Those of this name.
    Name(String),
    /// The default of the type.
    Default,
    /// Any name and the default.
    Any,
}

/// Parts of an entity: type (`user`, `client-id`, `ip`) to name; `None` is the default of the type.
pub type QuotaEntity = BTreeMap<String, Option<String>>;

/// Quotas of an entity, by key.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityQuotas {
    /// Whose.
    pub entity: QuotaEntity,
    /// Key (`producer_byte_rate`, …) to value.
    pub quotas: BTreeMap<String, f64>,
}

impl Client {
    /// The quotas of all entities that have these parts. With `strict`, of those without other parts only.
    ///
    /// # Errors
    /// The filter makes no sense, or no broker answers.
    pub async fn describe_quotas(
        &self,
        filter: &[(String, QuotaMatch)],
        strict: bool,
    ) -> Result<Vec<EntityQuotas>> {
        let component = |(entity_type, matching): &(String, QuotaMatch)| {
            let (match_type, name) = match matching {
                QuotaMatch::Name(name) => (0, Some(name.clone().into())),
                QuotaMatch::Default => (1, None),
                QuotaMatch::Any => (2, None),
            };
            ComponentData { entity_type: entity_type.clone().into(), match_type, r#match: name }
        };
        let response = self
            .with_any(|connection| {
                Box::pin(async move {
                    let components = filter.iter().map(component).collect();
                    let request = DescribeClientQuotasRequest { components, strict };
                    let response = connection.call_with(VersionRange::new(0, 1), |_| request).await?;
                    let message = response.error_message.as_deref();
                    check(response.error_code, message, || "reading quotas".to_owned())?;
                    Ok(response)
                })
            })
            .await?;
        let mut found: Vec<EntityQuotas> = Vec::new();
        for entry in response.entries.unwrap_or_default() {
            let entity = entry
                .entity
                .into_iter()
                .map(|part| (part.entity_type.into_owned(), part.entity_name.map(|name| name.into_owned())));
            let quotas = entry.values.into_iter().map(|value| (value.key.into_owned(), value.value));
            found.push(EntityQuotas { entity: entity.collect(), quotas: quotas.collect() });
        }
        found.sort_by(|a, b| a.entity.cmp(&b.entity));
        Ok(found)
    }

    /// Sets quotas of an entity (`Some`) and takes them away (`None`).
    ///
    /// # Errors
    /// The entity, a key or a value is refused, or no broker answers.
    pub async fn alter_quotas(&self, entity: &QuotaEntity, changes: &[(String, Option<f64>)]) -> Result<()> {
        self.with_any(|connection| {
            Box::pin(async move {
                let part = |(entity_type, entity_name): (&String, &Option<String>)| EntityData {
                    entity_type: entity_type.clone().into(),
                    entity_name: entity_name.clone().map(Into::into),
                };
                let op = |(key, value): &(String, Option<f64>)| OpData {
                    key: key.clone().into(),
                    value: value.unwrap_or_default(),
                    remove: value.is_none(),
                };
                let entry = EntryData {
                    entity: entity.iter().map(part).collect(),
                    ops: changes.iter().map(op).collect(),
                };
                let request = AlterClientQuotasRequest { entries: vec![entry], validate_only: false };
                let response = connection.call_with(VersionRange::new(0, 1), |_| request).await?;
                for entry in &response.entries {
                    let message = entry.error_message.as_deref();
                    check(entry.error_code, message, || "changing quotas".to_owned())?;
                }
                Ok(())
            })
        })
        .await
    }
}
