//! What a broker refuses of a change of configurations before the controller sees it (`ConfigAdminManager.preprocess`).

use std::collections::{BTreeMap, BTreeSet};

use ottla_config::{ConfigError, ErrorKind, Props, validate_broker_change};
use ottla_metadata::image::ResourceKind;
use ottla_protocol::ErrorCode;

use crate::broker::Broker;

/// Why the change of a resource is refused.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) text: String,
}

impl Refusal {
    pub(crate) fn request(text: impl Into<String>) -> Self {
        Self { code: ErrorCode::InvalidRequest, text: text.into() }
    }
}

impl From<ConfigError> for Refusal {
    fn from(error: ConfigError) -> Self {
        let code = match error.kind {
            ErrorKind::InvalidConfig => ErrorCode::InvalidConfig,
            ErrorKind::InvalidRequest => ErrorCode::InvalidRequest,
        };
        Self { code, text: error.message }
    }
}

/// Refuses resources that a request names more than once: one entry per resource, in the order of the request.
pub(crate) fn refuse_twins<'a>(
    resources: impl Iterator<Item = (i8, &'a str)> + Clone,
) -> Vec<Option<Refusal>> {
    let mut counts: BTreeMap<(i8, &str), usize> = BTreeMap::new();
    for resource in resources.clone() {
        *counts.entry(resource).or_default() += 1;
    }
    let is_twin = |resource| counts.get(&resource).is_some_and(|count| *count > 1);
    let refuse =
        |resource| is_twin(resource).then(|| Refusal::request("Each resource must appear at most once."));
    resources.map(refuse).collect()
}

/// A key of a change, and whether its operation lacks the value that it needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChangedKey<'a> {
    pub(crate) name: &'a str,
    pub(crate) lacks_value: bool,
}

/// Checks keys of any kind of resource, then its kind, and says which it is.
pub(crate) fn check_resource<'a>(
    kind: i8,
    keys: impl Iterator<Item = ChangedKey<'a>> + Clone,
) -> Result<ResourceKind, Refusal> {
    let mut names = BTreeSet::new();
    if !keys.clone().all(|key| names.insert(key.name)) {
        return Err(Refusal::request("Error due to duplicate config keys"));
    }
    let nulls: Vec<_> = keys.filter(|key| key.lacks_value).map(|key| key.name).collect();
    if !nulls.is_empty() {
        return Err(Refusal::request(format!("Null value not supported for: {}", nulls.join(", "))));
    }
    ResourceKind::from_id(kind).ok_or_else(|| unknown_kind(kind))
}

pub(crate) fn unknown_kind(kind: i8) -> Refusal {
    Refusal::request(format!("Unknown resource type {kind}"))
}

/// Checks what a change makes of a broker's properties: those of this broker, or of all with an empty name. `change` gets the
/// present ones.
pub(crate) fn check_broker(
    broker: &Broker,
    name: &str,
    change: impl FnOnce(&Props) -> Result<Props, ConfigError>,
) -> Result<(), Refusal> {
    let per_broker = !name.is_empty();
    if per_broker {
        check_is_this_broker(broker, name)?;
    }
    let config = broker.config();
    let current = if per_broker { config.broker_props() } else { config.cluster_props() };
    let new = change(current)?;
    validate_broker_change(&config, &new, per_broker)?;
    let is_moved = |key: &&&str| {
        new.get(**key).is_some_and(|text| config.values().get(key).to_text().as_deref() != Some(text))
    };
    match OF_THE_START.iter().find(is_moved) {
        Some(key) => Err(Refusal::request(format!("{key} can be changed in the server's properties only"))),
        None => Ok(()),
    }
}

/// Keys that Kafka changes at run time by opening and closing listeners; here they are those of the start.
const OF_THE_START: &[&str] = &["listeners", "listener.security.protocol.map"];

/// Only the broker that is named may be asked about its own configuration.
pub(crate) fn check_is_this_broker(broker: &Broker, name: &str) -> Result<(), Refusal> {
    match name.parse::<i32>() {
        Ok(id) if id == broker.node_id.value() => Ok(()),
        Ok(_) => Err(Refusal::request(format!(
            "Unexpected broker id, expected {}, but received {name}",
            broker.node_id
        ))),
        Err(_) => Err(Refusal::request(format!("Node id must be an integer, but it is: {name}"))),
    }
}
