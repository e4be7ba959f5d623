//! UpdateFeatures.

use std::collections::BTreeMap;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::update_features_request::UpdateFeaturesRequest;
use ottla_protocol::messages::update_features_response::{UpdatableFeatureResult, UpdateFeaturesResponse};
use ottla_protocol::messages::{FeatureLevelRecord, NoOpRecord};

use super::{Context, Controller, Decision};
use crate::ApiError;
use crate::features::{
    ELR_VERSION, Feature, KRAFT_VERSION, LevelRange, METADATA_VERSION, MetadataVersion, supported_features,
};
use crate::record::VersionedRecord;

/// In which direction a client agrees to go (`FeatureUpdate.UpgradeType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Unknown,
    Upgrade,
    SafeDowngrade,
    UnsafeDowngrade,
}

impl Controller {
    /// Answers UpdateFeatures (v0-2): all or nothing. What version 0 says about downgrades means nothing to Kafka's controller
    /// either.
    pub fn update_features(
        &self,
        context: &Context,
        request: &UpdateFeaturesRequest<'_>,
    ) -> Decision<UpdateFeaturesResponse<'static>> {
        let mut updates = BTreeMap::new();
        for update in &request.feature_updates {
            let direction = match update.upgrade_type {
                1 => Direction::Upgrade,
                2 => Direction::SafeDowngrade,
                3 => Direction::UnsafeDowngrade,
                _ => Direction::Unknown,
            };
            updates.insert(update.feature.as_ref(), (update.max_version_level, direction));
        }
        match self.feature_records(context, &updates) {
            Err(error) => {
                let text = error.message.unwrap_or_default();
                Decision::reply(UpdateFeaturesResponse {
                    error_code: error.code.code(),
                    error_message: Some(
                        format!(
                            "The update failed for all features since the following feature had an error: {text}"
                        )
                        .into(),
                    ),
                    ..Default::default()
                })
            }
            Ok(records) => {
                let mut response = UpdateFeaturesResponse { error_message: None, ..Default::default() };
                if context.api_version <= 1 {
                    let result = |feature: &&str| UpdatableFeatureResult {
                        feature: (*feature).to_owned().into(),
                        error_code: ErrorCode::None.code(),
                        error_message: Some(ErrorCode::None.message().into()),
                    };
                    response.results = updates.keys().map(result).collect();
                }
                let decision = Decision::atomic(records, response);
                if request.validate_only { decision.without_records() } else { decision }
            }
        }
    }

    fn feature_records(
        &self,
        context: &Context,
        updates: &BTreeMap<&str, (i16, Direction)>,
    ) -> Result<Vec<VersionedRecord>, ApiError> {
        let version = self.version()?;
        let metadata_level = updates.get(METADATA_VERSION).map_or(version.level(), |(level, _)| *level);
        let mut records = Vec::new();
        if updates.get(ELR_VERSION).is_some_and(|(level, _)| *level > 0) {
            records.extend(self.elr_safety_records());
        }
        for (name, (level, direction)) in updates {
            records.extend(self.feature_record(context, name, *level, *direction, metadata_level)?);
        }
        Ok(records)
    }

    fn feature_record(
        &self,
        context: &Context,
        name: &str,
        level: i16,
        direction: Direction,
        metadata_level: i16,
    ) -> Result<Option<VersionedRecord>, ApiError> {
        let invalid = |reason: &str| {
            let text = format!("Invalid update version {level} for feature {name}. {reason}");
            Err(ApiError::new(ErrorCode::InvalidUpdateVersion, text))
        };
        if direction == Direction::Unknown {
            return invalid("The controller does not support the given upgrade type.");
        }
        let version = self.version()?;
        let current = match name {
            METADATA_VERSION => version.level(),
            KRAFT_VERSION => context.kraft_version,
            other => self.image.features().level(other),
        };
        if level < 0 {
            return invalid("A feature version cannot be less than 0.");
        }
        if let Err(reason) = self.check_support(name, level) {
            return invalid(&reason);
        }
        if level < current && direction == Direction::Upgrade {
            return invalid(
                "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe \
                 downgrade.",
            );
        }
        if level > current && direction != Direction::Upgrade {
            return invalid("Can't downgrade to a newer version.");
        }
        match name {
            METADATA_VERSION => check_metadata_version(version, level, direction)?,
            KRAFT_VERSION if direction != Direction::Upgrade && level == current => return Ok(None),
            KRAFT_VERSION if level == current => {
                return Ok(Some(VersionedRecord::new(NoOpRecord::default(), 0)));
            }
            KRAFT_VERSION if level < current => {
                return invalid("Can't downgrade the version of this feature.");
            }
            // The static voters of a quorum would have to become dynamic ones.
            KRAFT_VERSION => return invalid("Upgrading a quorum of static voters is not supported."),
            _ => {
                let feature = Feature::named(name).ok_or_else(|| {
                    let text = format!("Feature {name} not found.");
                    ApiError::new(ErrorCode::InvalidUpdateVersion, text)
                })?;
                if let Err(reason) = feature.check(level, Some(metadata_level)) {
                    return invalid(&reason);
                }
            }
        }
        let record = FeatureLevelRecord { name: name.to_owned().into(), feature_level: level };
        Ok(Some(VersionedRecord::new(record, 0)))
    }

    /// Whether this node, every registered broker and every controller can follow.
    fn check_support(&self, name: &str, level: i16) -> Result<(), String> {
        let local = supported_features().get(name).copied().unwrap_or(LevelRange::DISABLED);
        check_range(&format!("Local controller {}", self.settings.node_id), local, level)?;
        let range = |features: &BTreeMap<String, LevelRange>| {
            features.get(name).copied().unwrap_or(LevelRange::DISABLED)
        };
        let cluster = self.image.cluster();
        for broker in cluster.brokers() {
            check_range(&format!("Broker {}", broker.id), range(&broker.features), level)?;
        }
        let has_registrations = self
            .image
            .features()
            .metadata_version()
            .is_some_and(MetadataVersion::has_controller_registration);
        if !has_registrations {
            return Ok(());
        }
        for controller in cluster.controllers().filter(|node| node.id != self.settings.node_id) {
            check_range(&format!("Controller {}", controller.id), range(&controller.features), level)?;
        }
        let missing =
            |id: &&ottla_types::NodeId| **id != self.settings.node_id && cluster.controller(**id).is_none();
        match self.settings.voters.iter().find(missing) {
            Some(id) => Err(format!("controller {id} has not registered, and may not support this feature")),
            None => Ok(()),
        }
    }
}

fn check_range(what: &str, range: LevelRange, level: i16) -> Result<(), String> {
    if range.contains(level) {
        Ok(())
    } else if range.max == 0 {
        Err(format!("{what} does not support this feature."))
    } else {
        Err(format!("{what} only supports versions {range}"))
    }
}

fn check_metadata_version(
    current: MetadataVersion,
    level: i16,
    direction: Direction,
) -> Result<(), ApiError> {
    let refuse = |text: String| Err(ApiError::new(ErrorCode::InvalidUpdateVersion, text));
    let Some(new) = MetadataVersion::from_level(level) else {
        return refuse(format!(
            "Invalid metadata.version {level}. Valid versions are from {} to {}.",
            MetadataVersion::MINIMUM.level(),
            MetadataVersion::LATEST.level()
        ));
    };
    if new < current && current.metadata_changed_between(new) {
        let reason = if direction == Direction::UnsafeDowngrade {
            "Unsafe metadata downgrade is not supported in this version."
        } else {
            "Refusing to perform the requested downgrade because it might delete metadata information."
        };
        return refuse(format!(
            "Unsupported metadata.version downgrade from {} to {}. {reason}",
            current.level(),
            new.level()
        ));
    }
    Ok(())
}
