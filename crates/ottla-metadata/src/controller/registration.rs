//! Brokers and controllers that join or leave the cluster.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::broker_registration_request::{BrokerRegistrationRequest, Feature};
use ottla_protocol::messages::broker_registration_response::BrokerRegistrationResponse;
use ottla_protocol::messages::controller_registration_request::ControllerRegistrationRequest;
use ottla_protocol::messages::controller_registration_response::ControllerRegistrationResponse;
use ottla_protocol::messages::register_broker_record::{BrokerEndpoint, BrokerFeature, RegisterBrokerRecord};
use ottla_protocol::messages::register_controller_record::{
    ControllerEndpoint, ControllerFeature, RegisterControllerRecord,
};
use ottla_protocol::messages::unregister_broker_request::UnregisterBrokerRequest;
use ottla_protocol::messages::unregister_broker_response::UnregisterBrokerResponse;
use ottla_protocol::messages::unregister_controller_record::UnregisterControllerRecord;
use ottla_protocol::messages::unregister_controller_request::UnregisterControllerRequest;
use ottla_protocol::messages::unregister_controller_response::UnregisterControllerResponse;
use ottla_types::{BrokerEpoch, NodeId};

use super::{Context, Controller, Decision};
use crate::ApiError;
use crate::features::{KRAFT_VERSION, METADATA_VERSION};
use crate::record::VersionedRecord;

impl Controller {
    /// Answers BrokerRegistration (v0-4). The broker's epoch is [`Context::next_offset`].
    pub fn register_broker(
        &self,
        context: &Context,
        request: &BrokerRegistrationRequest<'_>,
    ) -> Decision<BrokerRegistrationResponse> {
        match self.try_register_broker(context, request) {
            Ok((records, epoch)) => {
                let response = BrokerRegistrationResponse { broker_epoch: epoch.0, ..Default::default() };
                Decision::of(records, response)
            }
            Err(error) => Decision::reply(BrokerRegistrationResponse {
                error_code: error.code.code(),
                broker_epoch: -1,
                ..Default::default()
            }),
        }
    }

    fn try_register_broker(
        &self,
        context: &Context,
        request: &BrokerRegistrationRequest<'_>,
    ) -> Result<(Vec<VersionedRecord>, BrokerEpoch), ApiError> {
        let version = self.version()?;
        self.check_registration(context, request)?;
        let id = NodeId(request.broker_id);
        let mut record = RegisterBrokerRecord {
            broker_id: id.0,
            incarnation_id: request.incarnation_id,
            rack: request.rack.as_ref().map(|rack| rack.to_string().into()),
            ..RegisterBrokerRecord::default()
        };
        record.end_points = request.listeners.iter().map(broker_endpoint).collect();
        record.features = request.features.iter().map(broker_feature).collect();
        if version.has_directory_assignment() {
            record.log_dirs.clone_from(&request.log_dirs);
        }
        let mut records = Vec::new();
        let same =
            self.image.cluster().broker(id).filter(|known| known.incarnation == request.incarnation_id);
        if let Some(known) = same {
            record.fenced = known.fenced;
            record.in_controlled_shutdown = known.in_controlled_shutdown;
            record.broker_epoch = known.epoch.0;
        } else {
            // A broker that never registered has the epoch -1 in its request and matches nothing.
            let stored = self.image.cluster().broker(id).map_or(-2, |known| known.epoch.0);
            let was_clean = context.api_version >= 3 && stored == request.previous_broker_epoch;
            self.clean_up_after_shutdown(version, id, was_clean, &mut records);
            record.broker_epoch = context.next_offset.0;
        }
        let epoch = BrokerEpoch(record.broker_epoch);
        records.push(VersionedRecord::new(record, version.register_broker_record_version()));
        Ok((records, epoch))
    }

    fn check_registration(
        &self,
        context: &Context,
        request: &BrokerRegistrationRequest<'_>,
    ) -> Result<(), ApiError> {
        let id = NodeId(request.broker_id);
        if request.cluster_id != self.settings.cluster_id {
            let text = format!(
                "Expected cluster ID {}, but got cluster ID {}",
                self.settings.cluster_id, request.cluster_id
            );
            return Err(ApiError::new(ErrorCode::InconsistentClusterId, text));
        }
        if let Some(known) = self.image.cluster().broker(id)
            && known.incarnation != request.incarnation_id
            && self.heartbeats.has_session(id, known.epoch, context.now_ms)
        {
            return Err(ApiError::new(
                ErrorCode::DuplicateBrokerRegistration,
                "Another broker is registered with that broker id. If the broker was recently restarted this should \
                 self-resolve once the heartbeat manager expires the broker's session.",
            ));
        }
        if request.is_migrating_zk_broker {
            let text = "Controller does not support registering ZK brokers.";
            return Err(ApiError::new(ErrorCode::BrokerIdNotRegistered, text));
        }
        if self.version()?.has_directory_assignment() {
            self.check_directories(id, request)?;
        }
        self.check_features(context, &request.features)
    }

    fn check_directories(&self, id: NodeId, request: &BrokerRegistrationRequest<'_>) -> Result<(), ApiError> {
        let invalid = |text: String| Err(ApiError::new(ErrorCode::InvalidRegistration, text));
        if request.log_dirs.is_empty() {
            return invalid("No directories specified in request".to_owned());
        }
        if request.log_dirs.iter().any(ottla_types::Uuid::is_reserved) {
            return invalid("Reserved directory ID in request".to_owned());
        }
        let distinct: BTreeSet<_> = request.log_dirs.iter().collect();
        if distinct.len() != request.log_dirs.len() {
            return invalid("Duplicate directory ID in request".to_owned());
        }
        for other in self.image.cluster().brokers().filter(|broker| broker.id != id) {
            if let Some(directory) = other.directories.iter().find(|directory| distinct.contains(directory)) {
                return invalid(format!(
                    "Broker {} is already registered with directory {directory}",
                    other.id
                ));
            }
        }
        Ok(())
    }

    /// A broker must be able to follow every finalized feature; one that it does not list counts as switched off.
    fn check_features(&self, context: &Context, features: &[Feature<'_>]) -> Result<(), ApiError> {
        let mut finalized = self.image.features().finalized();
        finalized.insert(KRAFT_VERSION, context.kraft_version);
        let listed: BTreeMap<&str, (i16, i16)> = features
            .iter()
            .map(|f| (f.name.as_ref(), (f.min_supported_version, f.max_supported_version)))
            .collect();
        let check = |name: &str, (min, max): (i16, i16), level: i16| {
            if (min..=max).contains(&level) {
                return Ok(());
            }
            let text = format!(
                "Unable to register because the broker does not support finalized version {level} of {name}. The \
                 broker wants a version between {min} and {max}, inclusive."
            );
            Err(ApiError::new(ErrorCode::UnsupportedVersion, text))
        };
        for (name, range) in &listed {
            check(name, *range, finalized.get(name).copied().unwrap_or(0))?;
        }
        if !listed.contains_key(METADATA_VERSION) {
            let text = format!("Request features do not contain '{METADATA_VERSION}'");
            return Err(ApiError::new(ErrorCode::InvalidRegistration, text));
        }
        for (name, level) in
            finalized.iter().filter(|(name, level)| **level != 0 && !listed.contains_key(*name))
        {
            check(name, (0, 0), *level)?;
        }
        Ok(())
    }

    /// Answers UnregisterBroker.
    pub fn unregister_broker(
        &self,
        request: &UnregisterBrokerRequest,
    ) -> Decision<UnregisterBrokerResponse<'static>> {
        let id = NodeId(request.broker_id);
        let decide = || {
            let version = self.version()?;
            let text = || format!("Broker ID {id} is not currently registered");
            let unknown = || ApiError::new(ErrorCode::BrokerIdNotRegistered, text());
            let broker = self.image.cluster().broker(id).ok_or_else(unknown)?;
            let mut records = Vec::new();
            self.unregister(version, id, broker.epoch, &mut records);
            Ok::<_, ApiError>(records)
        };
        match decide() {
            Ok(records) => Decision::of(records, UnregisterBrokerResponse::default()),
            Err(error) => Decision::reply(UnregisterBrokerResponse {
                error_code: error.code.code(),
                error_message: error.message.map(Into::into),
                ..Default::default()
            }),
        }
    }

    /// Answers ControllerRegistration.
    pub fn register_controller(
        &self,
        request: &ControllerRegistrationRequest<'_>,
    ) -> Decision<ControllerRegistrationResponse<'static>> {
        let refuse = |error: ApiError| {
            Decision::reply(ControllerRegistrationResponse {
                error_code: error.code.code(),
                error_message: error.message.map(Into::into),
                ..Default::default()
            })
        };
        match self.version() {
            Err(error) => return refuse(error),
            Ok(version) if !version.has_controller_registration() => {
                let text = "The current MetadataVersion is too old to support controller registrations.";
                return refuse(ApiError::new(ErrorCode::UnsupportedVersion, text));
            }
            Ok(_) => {}
        }
        let mut record = RegisterControllerRecord {
            controller_id: request.controller_id,
            incarnation_id: request.incarnation_id,
            zk_migration_ready: false,
            ..RegisterControllerRecord::default()
        };
        record.end_points = request
            .listeners
            .iter()
            .map(|l| ControllerEndpoint {
                name: l.name.to_string().into(),
                host: l.host.to_string().into(),
                port: l.port,
                security_protocol: l.security_protocol,
            })
            .collect();
        record.features = request
            .features
            .iter()
            .map(|f| ControllerFeature {
                name: f.name.to_string().into(),
                min_supported_version: f.min_supported_version,
                max_supported_version: f.max_supported_version,
            })
            .collect();
        Decision::atomic(vec![VersionedRecord::new(record, 0)], ControllerRegistrationResponse::default())
    }

    /// Answers UnregisterController. The active controller itself is not removed: the shell knows the quorum's leader and
    /// refuses that.
    pub fn unregister_controller(
        &self,
        request: &UnregisterControllerRequest,
    ) -> Decision<UnregisterControllerResponse<'static>> {
        let id = NodeId(request.controller_id);
        let decide = || {
            if !self.version()?.has_controller_unregistration() {
                let text = "The current MetadataVersion is too old to support controller unregistration.";
                return Err(ApiError::new(ErrorCode::UnsupportedVersion, text));
            }
            if self.image.cluster().controller(id).is_none() {
                let text = format!("Controller ID {id} is not currently registered.");
                return Err(ApiError::new(ErrorCode::ControllerIdNotRegistered, text));
            }
            Ok(vec![VersionedRecord::new(UnregisterControllerRecord { controller_id: id.0 }, 0)])
        };
        match decide() {
            Ok(records) => Decision::atomic(records, UnregisterControllerResponse::default()),
            Err(error) => Decision::reply(UnregisterControllerResponse {
                error_code: error.code.code(),
                error_message: error.message.map(Into::into),
                ..Default::default()
            }),
        }
    }
}

fn broker_endpoint(
    listener: &ottla_protocol::messages::broker_registration_request::Listener<'_>,
) -> BrokerEndpoint<'static> {
    BrokerEndpoint {
        name: listener.name.to_string().into(),
        host: listener.host.to_string().into(),
        port: listener.port,
        security_protocol: listener.security_protocol,
    }
}

fn broker_feature(feature: &Feature<'_>) -> BrokerFeature<'static> {
    BrokerFeature {
        name: feature.name.to_string().into(),
        min_supported_version: feature.min_supported_version,
        max_supported_version: feature.max_supported_version,
    }
}
