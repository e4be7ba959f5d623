//! Feature levels of a cluster: `metadata.version` with what each level gates, and the other features of Kafka 4.4
//! (`MetadataVersion`, `Feature` and the enums beside them).

use std::collections::BTreeMap;
use std::fmt;

/// Name of the feature that gates record and message versions.
pub const METADATA_VERSION: &str = "metadata.version";
/// Name of the feature that gates quorum reconfiguration; its level lives in control records, not in the image.
pub const KRAFT_VERSION: &str = "kraft.version";
/// Name of the feature that gates the transaction protocol (KIP-890).
pub const TRANSACTION_VERSION: &str = "transaction.version";
/// Name of the feature that gates the consumer group protocol (KIP-848).
pub const GROUP_VERSION: &str = "group.version";
/// Name of the feature that gates eligible leader replicas (KIP-966).
pub const ELR_VERSION: &str = "eligible.leader.replicas.version";
/// Name of the feature that gates share groups (KIP-932).
pub const SHARE_VERSION: &str = "share.version";
/// Name of the feature that gates streams groups (KIP-1071).
pub const STREAMS_VERSION: &str = "streams.version";

/// A level of `metadata.version` that this program knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetadataVersion(i16);

/// Names of the levels from [`MetadataVersion::MINIMUM`] on, and whether the metadata records changed there: a downgrade
/// across such a level is refused.
const LEVELS: &[(&str, bool)] = &[
    ("3.3-IV3", true),
    ("3.4-IV0", true),
    ("3.5-IV0", false),
    ("3.5-IV1", false),
    ("3.5-IV2", true),
    ("3.6-IV0", false),
    ("3.6-IV1", true),
    ("3.6-IV2", true),
    ("3.7-IV0", true),
    ("3.7-IV1", false),
    ("3.7-IV2", true),
    ("3.7-IV3", false),
    ("3.7-IV4", false),
    ("3.8-IV0", false),
    ("3.9-IV0", false),
    ("4.0-IV0", false),
    ("4.0-IV1", true),
    ("4.0-IV2", false),
    ("4.0-IV3", false),
    ("4.1-IV0", false),
    ("4.1-IV1", false),
    ("4.2-IV0", false),
    ("4.2-IV1", false),
    ("4.3-IV0", true),
    ("4.4-IV0", false),
    ("4.4-IV1", true),
    ("4.4-IV2", true),
];

impl MetadataVersion {
    /// The lowest level that a 4.x node supports.
    pub const MINIMUM: Self = Self(7);
    /// The highest level of Kafka 4.4.0.
    pub const LATEST: Self = Self(33);

    /// The level as a value, if this program knows it.
    pub fn from_level(level: i16) -> Option<Self> {
        (Self::MINIMUM.0..=Self::LATEST.0).contains(&level).then_some(Self(level))
    }

    /// The feature level.
    pub const fn level(self) -> i16 {
        self.0
    }

    /// The name that Kafka's tools print, as `4.4-IV2`.
    pub fn name(self) -> &'static str {
        LEVELS[self.index()].0
    }

    fn index(self) -> usize {
        usize::try_from(self.0 - Self::MINIMUM.0).expect("values are made in range only")
    }

    /// Whether going from one level to the other, in either direction, crosses a change of the metadata records
    /// (`MetadataVersion.checkIfMetadataChanged`).
    pub fn metadata_changed_between(self, other: Self) -> bool {
        let (low, high) = (self.min(other), self.max(other));
        LEVELS[low.index() + 1..=high.index()].iter().any(|(_, changed)| *changed)
    }

    /// Whether SCRAM credentials may be written.
    pub fn has_scram(self) -> bool {
        self.0 >= 11
    }

    /// Whether each ISR shrink must bump the leader epoch.
    pub fn bumps_leader_epoch_on_isr_shrink(self) -> bool {
        self.0 < 12
    }

    /// Whether Begin, End and AbortTransaction records may be written.
    pub fn has_metadata_transactions(self) -> bool {
        self.0 >= 13
    }

    /// Whether delegation tokens may be written.
    pub fn has_delegation_tokens(self) -> bool {
        self.0 >= 14
    }

    /// Whether controllers register.
    pub fn has_controller_registration(self) -> bool {
        self.0 >= 15
    }

    /// Whether replicas are assigned to log directories (KIP-858).
    pub fn has_directory_assignment(self) -> bool {
        self.0 >= 17
    }

    /// Whether eligible leader replicas can be stored.
    pub fn has_elr(self) -> bool {
        self.0 >= 23
    }

    /// Whether log directories can be cordoned (KIP-1066).
    pub fn has_cordoned_dirs(self) -> bool {
        self.0 >= 30
    }

    /// Whether ACL hosts may be CIDR ranges.
    pub fn has_cidr_acls(self) -> bool {
        self.0 >= 32
    }

    /// Whether controllers can be unregistered.
    pub fn has_controller_unregistration(self) -> bool {
        self.0 >= 33
    }

    /// Version at which RegisterBrokerRecord is written.
    pub fn register_broker_record_version(self) -> i16 {
        match self.0 {
            30.. => 4,
            17.. => 3,
            8.. => 2,
            _ => 1,
        }
    }

    /// Version at which PartitionRecord and PartitionChangeRecord are written.
    pub fn partition_record_version(self) -> i16 {
        match self.0 {
            23.. => 2,
            17.. => 1,
            _ => 0,
        }
    }

    /// Version of Fetch between brokers: pinned, not negotiated.
    pub fn fetch_version(self) -> i16 {
        match self.0 {
            27.. => 18,
            21.. => 17,
            19.. => 16,
            10.. => 15,
            9.. => 14,
            _ => 13,
        }
    }

    /// Version of ListOffsets between brokers: pinned, not negotiated.
    pub fn list_offsets_version(self) -> i16 {
        match self.0 {
            29.. => 11,
            25.. => 10,
            21.. => 9,
            9.. => 8,
            _ => 7,
        }
    }
}

impl fmt::Display for MetadataVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An inclusive range of feature levels; prints as Kafka's `VersionRange`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelRange {
    /// Lowest supported level.
    pub min: i16,
    /// Highest supported level.
    pub max: i16,
}

impl LevelRange {
    /// The range of a feature that is not supported at all.
    pub const DISABLED: Self = Self { min: 0, max: 0 };

    /// Whether `level` lies in the range.
    pub fn contains(self, level: i16) -> bool {
        (self.min..=self.max).contains(&level)
    }
}

impl fmt::Display for LevelRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min, self.max) {
            (min, max) if min == max => write!(f, "{min}"),
            (min, i16::MAX) => write!(f, "{min}+"),
            (min, max) => write!(f, "{min}-{max}"),
        }
    }
}

/// One level of a feature other than `metadata.version`.
#[derive(Clone, Copy, Debug)]
struct Level {
    /// `metadata.version` from which formatting turns this level on.
    default_from: i16,
    /// Lowest `metadata.version` with which the level may be set.
    needs: i16,
}

/// A feature other than `metadata.version`.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    name: &'static str,
    /// From level 1 on; level 0 (off) always exists.
    levels: &'static [Level],
}

const fn level(default_from: i16) -> Level {
    Level { default_from, needs: MetadataVersion::MINIMUM.0 }
}

/// All features of Kafka 4.4.0 beside `metadata.version`, by name.
pub const FEATURES: &[Feature] = &[
    Feature { name: ELR_VERSION, levels: &[Level { default_from: 26, needs: 23 }] },
    Feature { name: GROUP_VERSION, levels: &[level(22)] },
    Feature { name: KRAFT_VERSION, levels: &[level(21)] },
    Feature { name: SHARE_VERSION, levels: &[level(28), level(31)] },
    Feature { name: STREAMS_VERSION, levels: &[level(29)] },
    Feature { name: TRANSACTION_VERSION, levels: &[level(24), level(24)] },
];

impl Feature {
    /// The feature of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        FEATURES.iter().find(|feature| feature.name == name)
    }

    /// The feature's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Highest supported level; the lowest is 0.
    pub fn max_level(&self) -> i16 {
        i16::try_from(self.levels.len()).expect("features have few levels")
    }

    /// The level that a cluster formatted at `version` starts with.
    pub fn default_level(&self, version: MetadataVersion) -> i16 {
        let on = self.levels.iter().take_while(|level| level.default_from <= version.level()).count();
        i16::try_from(on).expect("features have few levels")
    }

    /// Checks that `level` may be set when `metadata.version` is `metadata_level`.
    ///
    /// # Errors
    /// The text that Kafka's `Feature.validateVersion` gives.
    pub fn check(&self, level: i16, metadata_level: Option<i16>) -> Result<(), String> {
        let Ok(index) = usize::try_from(level) else {
            return Err(format!("No feature:{} with feature level {level}", self.name));
        };
        if index > self.levels.len() {
            return Err(format!("No feature:{} with feature level {level}", self.name));
        }
        let Some(definition) = index.checked_sub(1).and_then(|at| self.levels.get(at)) else { return Ok(()) };
        let minimum = MetadataVersion::MINIMUM;
        if metadata_level.is_none_or(|have| have < minimum.level()) {
            return Err(format!(
                "{} could not be set to {level} because it depends on metadata.version={} ({minimum})",
                self.name,
                minimum.level()
            ));
        }
        if metadata_level.is_some_and(|have| have < definition.needs) {
            return Err(format!(
                "{} could not be set to {level} because it depends on metadata.version level {}",
                self.name, definition.needs
            ));
        }
        Ok(())
    }
}

/// What this program supports, by feature name: what a broker claims when it registers, and what ApiVersions lists.
pub fn supported_features() -> BTreeMap<&'static str, LevelRange> {
    let mut all: BTreeMap<_, _> =
        FEATURES.iter().map(|f| (f.name, LevelRange { min: 0, max: f.max_level() })).collect();
    all.insert(
        METADATA_VERSION,
        LevelRange { min: MetadataVersion::MINIMUM.level(), max: MetadataVersion::LATEST.level() },
    );
    all
}

/// The levels that a cluster formatted at `version` starts with, without `kraft.version`: every feature that is on.
pub fn default_levels(version: MetadataVersion) -> BTreeMap<&'static str, i16> {
    let mut levels: BTreeMap<_, _> = FEATURES
        .iter()
        .filter(|feature| feature.name != KRAFT_VERSION)
        .map(|feature| (feature.name, feature.default_level(version)))
        .filter(|(_, level)| *level > 0)
        .collect();
    levels.insert(METADATA_VERSION, version.level());
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_cluster_gets_the_levels_of_kafka_4_4() {
        let levels = default_levels(MetadataVersion::LATEST);
        let expected = [
            (ELR_VERSION, 1),
            (GROUP_VERSION, 1),
            (METADATA_VERSION, 33),
            (SHARE_VERSION, 2),
            (STREAMS_VERSION, 1),
            (TRANSACTION_VERSION, 2),
        ];
        assert_eq!(levels.into_iter().collect::<Vec<_>>(), expected);
        assert_eq!(default_levels(MetadataVersion::MINIMUM).len(), 1);
        assert_eq!(default_levels(MetadataVersion(30)).get(SHARE_VERSION), Some(&1));
    }

    #[test]
    fn names_every_level() {
        assert_eq!(MetadataVersion::LATEST.name(), "4.4-IV2");
        assert_eq!(MetadataVersion::from_level(22).map(MetadataVersion::name), Some("4.0-IV0"));
        assert_eq!(MetadataVersion::from_level(6), None);
        assert_eq!(MetadataVersion::from_level(34), None);
        assert_eq!(LEVELS.len(), 27);
    }

    #[test]
    fn downgrades_across_a_record_change_are_seen() {
        let v = MetadataVersion;
        assert!(v(33).metadata_changed_between(v(31)));
        assert!(v(33).metadata_changed_between(v(29)));
        assert!(!v(29).metadata_changed_between(v(25)));
        assert!(!v(29).metadata_changed_between(v(23)));
        assert!(v(29).metadata_changed_between(v(22)));
        assert!(!v(31).metadata_changed_between(v(31)));
    }

    #[test]
    fn a_level_needs_its_metadata_version() {
        let elr = Feature::named(ELR_VERSION).expect("is known");
        assert!(elr.check(1, Some(23)).is_ok());
        assert_eq!(
            elr.check(1, Some(22)).unwrap_err(),
            "eligible.leader.replicas.version could not be set to 1 because it depends on metadata.version level 23"
        );
        assert!(elr.check(0, Some(22)).is_ok());
        assert!(elr.check(2, Some(33)).is_err());
        assert!(elr.check(-1, Some(33)).is_err());
    }
}
