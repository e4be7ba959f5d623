//! IncrementalAlterConfigs and AlterConfigs.

use std::collections::{BTreeMap, BTreeSet};

use ottla_config::{AlterOp, ConfigError, ErrorKind, Props, Scope, alter_value};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_configs_request::{self, AlterConfigsRequest};
use ottla_protocol::messages::alter_configs_response::{self, AlterConfigsResponse};
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, IncrementalAlterConfigsRequest,
};
use ottla_protocol::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};
use ottla_protocol::messages::{ClearElrRecord, ConfigRecord, MetadataRecord};
use ottla_types::NodeId;

use super::activation::ELR_BOOTSTRAP_KEY as MIN_ISR;
use super::create_topics::check_topic_name;
use super::{Controller, Decision};
use crate::ApiError;
use crate::image::{ConfigResource, ResourceKind};
use crate::record::VersionedRecord;

const CORDONED_LOG_DIRS: &str = "cordoned.log.dirs";

/// New values by key; `None` removes the override.
type Values = BTreeMap<String, Option<String>>;

/// A resource as a request names it: the number of its kind, its name.
type NamedResource<'a> = (i8, &'a str);

impl Controller {
    /// Answers IncrementalAlterConfigs (v0-1): each resource is changed wholly or not at all. The shell answers for loggers,
    /// for resources that the client may not alter, and has checked changes of a broker's own configuration.
    pub fn incremental_alter_configs(
        &self,
        request: &IncrementalAlterConfigsRequest<'_>,
    ) -> Decision<IncrementalAlterConfigsResponse<'static>> {
        let resources = request.resources.iter().map(|r| ((r.resource_type, r.resource_name.as_ref()), r));
        let (mut records, outcomes) = change_each(resources, |id, r| self.alter_resource(id, r));
        let response = |((resource_type, name), error): (NamedResource<'_>, Option<ApiError>)| {
            AlterConfigsResourceResponse {
                error_code: error.as_ref().map_or(ErrorCode::None, |error| error.code).code(),
                error_message: error.and_then(|error| error.message).map(Into::into),
                resource_type,
                resource_name: name.to_owned().into(),
            }
        };
        let responses = outcomes.into_iter().map(response).collect();
        records.extend(self.clear_elr_records(&records));
        let response = IncrementalAlterConfigsResponse { responses, ..Default::default() };
        let decision = Decision::atomic(records, response);
        if request.validate_only { decision.without_records() } else { decision }
    }

    /// Answers AlterConfigs (v0-2): what a resource has and the request lacks is removed.
    pub fn alter_configs(
        &self,
        request: &AlterConfigsRequest<'_>,
    ) -> Decision<AlterConfigsResponse<'static>> {
        let resources = request.resources.iter().map(|r| ((r.resource_type, r.resource_name.as_ref()), r));
        let (mut records, outcomes) = change_each(resources, |id, r| self.replace_resource(id, r));
        let response = |((resource_type, name), error): (NamedResource<'_>, Option<ApiError>)| {
            alter_configs_response::AlterConfigsResourceResponse {
                error_code: error.as_ref().map_or(ErrorCode::None, |error| error.code).code(),
                error_message: error.and_then(|error| error.message).map(Into::into),
                resource_type,
                resource_name: name.to_owned().into(),
            }
        };
        let responses = outcomes.into_iter().map(response).collect();
        records.extend(self.clear_elr_records(&records));
        let decision = Decision::atomic(records, AlterConfigsResponse { responses, ..Default::default() });
        if request.validate_only { decision.without_records() } else { decision }
    }

    /// The configuration records of a new topic.
    pub(super) fn config_records_of_new(
        &self,
        resource: &ConfigResource,
        overrides: &Props,
    ) -> Result<Vec<VersionedRecord>, ApiError> {
        let values = overrides.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
        let mut records = self.change_records(resource, values, true)?;
        records.extend(self.clear_elr_records(&records));
        Ok(records)
    }

    fn alter_resource(
        &self,
        resource: &ConfigResource,
        request: &AlterConfigsResource<'_>,
    ) -> Result<Vec<VersionedRecord>, ApiError> {
        let scope = Scope::from_resource_type(resource.kind.id()).ok_or_else(|| {
            ApiError::new(ErrorCode::InvalidRequest, format!("Unknown resource type {}", resource.kind))
        })?;
        let existing = self.props(resource);
        // Of a key that is named twice the last operation counts.
        let operations: BTreeMap<_, _> = request
            .configs
            .iter()
            .map(|c| (c.name.as_ref(), (c.config_operation, c.value.as_deref())))
            .collect();
        let mut values = Values::new();
        for (name, (operation, value)) in operations {
            let unknown =
                || ApiError::new(ErrorCode::InvalidRequest, format!("Unknown operations type {operation}"));
            let operation = AlterOp::from_id(operation).ok_or_else(unknown)?;
            let current = existing.get(name).map(String::as_str);
            let new = alter_value(scope, name, current, operation, value).map_err(refusal)?;
            // Brokers read files that a value names anew even when the value stays.
            if resource.kind == ResourceKind::Broker || current != new.as_deref() {
                values.insert(name.to_owned(), new);
            }
        }
        self.change_records(resource, values, false)
    }

    fn replace_resource(
        &self,
        resource: &ConfigResource,
        request: &alter_configs_request::AlterConfigsResource<'_>,
    ) -> Result<Vec<VersionedRecord>, ApiError> {
        let new: BTreeMap<_, _> = request
            .configs
            .iter()
            .map(|c| (c.name.to_string(), c.value.as_ref().map(ToString::to_string)))
            .collect();
        let existing = self.props(resource);
        let removed = existing.keys().filter(|name| !new.contains_key(*name)).map(|n| (n.clone(), None));
        let explicit = new.clone().into_iter().filter(|(name, value)| {
            resource.kind == ResourceKind::Broker || existing.get(name) != value.as_ref()
        });
        self.change_records(resource, explicit.chain(removed).collect(), false)
    }

    fn props(&self, resource: &ConfigResource) -> Props {
        let config = self.image.configs().config(resource);
        config.into_iter().flat_map(|c| c.iter()).map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    /// Checks new values of a resource together with those that stay, and makes their records.
    fn change_records(
        &self,
        resource: &ConfigResource,
        values: Values,
        is_new: bool,
    ) -> Result<Vec<VersionedRecord>, ApiError> {
        let existing = self.props(resource);
        let mut all = existing.clone();
        for (name, value) in &values {
            self.check_special_key(resource, name, value.as_deref())?;
            match value {
                None => drop(all.remove(name)),
                Some(value) if value.encode_utf16().count() > ottla_config::MAX_VALUE_LENGTH => {
                    let text = format!(
                        "The configuration value cannot be added because it exceeds the maximum value size of {} bytes.",
                        ottla_config::MAX_VALUE_LENGTH
                    );
                    return Err(ApiError::new(ErrorCode::InvalidConfig, text));
                }
                Some(value) => drop(all.insert(name.clone(), value.clone())),
            }
        }
        self.validate_resource(resource, &existing, &all)?;
        if !is_new {
            self.check_exists(resource)?;
        }
        let record = |(name, value): (String, Option<String>)| {
            let record = ConfigRecord {
                resource_type: resource.kind.id(),
                resource_name: resource.name.to_string().into(),
                name: name.into(),
                value: value.map(Into::into),
            };
            VersionedRecord::new(record, 0)
        };
        Ok(values.into_iter().map(record).collect())
    }

    /// Rules about single keys that depend on the cluster's features.
    fn check_special_key(
        &self,
        resource: &ConfigResource,
        name: &str,
        value: Option<&str>,
    ) -> Result<(), ApiError> {
        if resource.kind != ResourceKind::Broker {
            return Ok(());
        }
        let refuse = |text: &str| Err(ApiError::new(ErrorCode::InvalidConfig, text));
        match name {
            MIN_ISR if self.image.features().elr_enabled() && !resource.name.is_empty() => {
                refuse("Broker-level min.insync.replicas cannot be altered while ELR is enabled.")
            }
            MIN_ISR if self.image.features().elr_enabled() && value.is_none() => {
                refuse("Cluster-level min.insync.replicas cannot be removed while ELR is enabled.")
            }
            CORDONED_LOG_DIRS if !self.version()?.has_cordoned_dirs() => refuse(
                "The cordoned.log.dirs configuration value cannot be set because it requires metadata.version >= \
                 4.3-IV0",
            ),
            _ => Ok(()),
        }
    }

    fn validate_resource(
        &self,
        resource: &ConfigResource,
        existing: &Props,
        all: &Props,
    ) -> Result<(), ApiError> {
        let invalid = |text: String| Err(ApiError::new(ErrorCode::InvalidRequest, text));
        let config = &self.settings.config;
        match resource.kind {
            ResourceKind::Topic if resource.name.is_empty() => {
                invalid("Default topic resources are not allowed.".to_owned())
            }
            ResourceKind::Topic => {
                check_topic_name(&resource.name)?;
                ottla_config::validate_topic(config, existing, all).map_err(refusal)
            }
            ResourceKind::Broker if resource.name.is_empty() => Ok(()),
            ResourceKind::Broker => match resource.name.parse::<i32>() {
                Err(_) => invalid("Unable to parse broker name as a base 10 number.".to_owned()),
                Ok(id) if id < 0 => invalid("Invalid negative broker ID.".to_owned()),
                Ok(_) => Ok(()),
            },
            ResourceKind::ClientMetrics => {
                ottla_config::validate_client_metrics(&resource.name, all).map_err(refusal)
            }
            ResourceKind::Group if resource.name.is_empty() => {
                invalid("Default group resources are not allowed.".to_owned())
            }
            ResourceKind::Group => ottla_config::validate_group(config, all).map_err(refusal),
            ResourceKind::BrokerLogger => invalid(format!("Unknown resource type {}", resource.kind)),
        }
    }

    fn check_exists(&self, resource: &ConfigResource) -> Result<(), ApiError> {
        match resource.kind {
            ResourceKind::Broker if !resource.name.is_empty() => {
                let id = NodeId(resource.name.parse().unwrap_or(-1));
                let cluster = self.image.cluster();
                let known = cluster.broker(id).is_some()
                    || cluster.controller(id).is_some()
                    || self.settings.voters.contains(&id);
                let text = format!("No node with id {id} found.");
                if known { Ok(()) } else { Err(ApiError::new(ErrorCode::BrokerIdNotRegistered, text)) }
            }
            ResourceKind::Topic if self.image.topics().id(&resource.name).is_none() => {
                let text = format!("The topic '{}' does not exist.", resource.name);
                Err(ApiError::new(ErrorCode::UnknownTopicOrPartition, text))
            }
            _ => Ok(()),
        }
    }

    /// A new `min.insync.replicas` makes the lists of eligible leaders meaningless.
    fn clear_elr_records(&self, records: &[VersionedRecord]) -> Vec<VersionedRecord> {
        if !self.image.features().elr_enabled() {
            return Vec::new();
        }
        let clear = |record: &VersionedRecord| match &record.record {
            MetadataRecord::Config(config) if config.name == MIN_ISR => {
                let of_topic = config.resource_type == ResourceKind::Topic.id();
                let topic_name = if of_topic { config.resource_name.clone() } else { "".into() };
                Some(VersionedRecord::new(ClearElrRecord { topic_name }, 0))
            }
            _ => None,
        };
        records.iter().filter_map(clear).collect()
    }

    /// What has to change before eligible leader replicas are switched on: one `min.insync.replicas` for all brokers.
    pub(super) fn elr_safety_records(&self) -> Vec<VersionedRecord> {
        let mut records = Vec::new();
        let configs = self.image.configs();
        if configs.value(&ConfigResource::all_brokers(), MIN_ISR).is_none() {
            records.push(self.pinned_min_isr());
        }
        let of_brokers = configs.iter().filter(|(resource, config)| {
            resource.kind == ResourceKind::Broker && !resource.name.is_empty() && config.contains_key(MIN_ISR)
        });
        for (resource, _) in of_brokers {
            let record = ConfigRecord {
                resource_type: resource.kind.id(),
                resource_name: resource.name.to_string().into(),
                name: MIN_ISR.into(),
                value: None,
            };
            records.push(VersionedRecord::new(record, 0));
        }
        records
    }
}

/// The records that change a request's resources, and what to answer for each, in the request's order. A resource that is
/// named twice is answered once, and not changed.
fn change_each<'r, R: 'r>(
    resources: impl Iterator<Item = (NamedResource<'r>, &'r R)> + Clone,
    change: impl Fn(&ConfigResource, &R) -> Result<Vec<VersionedRecord>, ApiError>,
) -> (Vec<VersionedRecord>, Vec<(NamedResource<'r>, Option<ApiError>)>) {
    let mut seen = BTreeSet::new();
    let duplicates: BTreeSet<_> =
        resources.clone().map(|(named, _)| named).filter(|named| !seen.insert(*named)).collect();
    let (mut records, mut outcomes) = (Vec::new(), Vec::new());
    let mut answered = BTreeSet::new();
    for (named, request) in resources.filter(|(named, _)| answered.insert(*named)) {
        let outcome = resource_of(named, &duplicates).and_then(|resource| change(&resource, request));
        outcomes.push((named, outcome.map(|new| records.extend(new)).err()));
    }
    (records, outcomes)
}

fn resource_of(
    (kind, name): NamedResource<'_>,
    duplicates: &BTreeSet<NamedResource<'_>>,
) -> Result<ConfigResource, ApiError> {
    let Some(known) = ResourceKind::from_id(kind) else {
        let text = format!("Unknown resource type {kind}.");
        return Err(ApiError::new(ErrorCode::UnsupportedVersion, text));
    };
    if duplicates.contains(&(kind, name)) {
        return Err(ApiError::new(ErrorCode::InvalidRequest, "Duplicate resource."));
    }
    Ok(ConfigResource::new(known, name))
}

fn refusal(error: ConfigError) -> ApiError {
    let code = match error.kind {
        ErrorKind::InvalidConfig => ErrorCode::InvalidConfig,
        ErrorKind::InvalidRequest => ErrorCode::InvalidRequest,
    };
    ApiError::new(code, error.message)
}
