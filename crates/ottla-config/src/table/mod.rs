//! The table: one row per key, grouped by area in one file each. The facts are those of Kafka 4.4.0; the
//! differential test in `tests/` holds them against its jars.

use std::sync::LazyLock;

use crate::key::{ConfigKey, Scope};

mod client_metrics;
mod group;
mod groups;
mod log;
mod network;
mod quorum;
mod quotas;
mod remote;
mod replication;
mod security;
mod server;
mod share;
mod topic;
mod transactions;

/// Keys that are explained together.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    /// Heading.
    pub title: &'static str,
    /// The resource that the keys belong to.
    pub scope: Scope,
    /// The keys, sorted by name.
    pub keys: &'static [ConfigKey],
}

/// All areas in the order of the documents.
pub const AREAS: &[Area] = &[
    quorum::AREA,
    network::AREA,
    server::AREA,
    log::AREA,
    replication::AREA,
    groups::AREA,
    transactions::AREA,
    share::AREA,
    security::AREA,
    quotas::AREA,
    remote::AREA,
    topic::AREA,
    group::AREA,
    client_metrics::AREA,
];

/// All keys of a scope, sorted by name.
pub fn keys(scope: Scope) -> &'static [&'static ConfigKey] {
    static BROKER: LazyLock<Vec<&'static ConfigKey>> = LazyLock::new(|| sorted(Scope::Broker));
    static TOPIC: LazyLock<Vec<&'static ConfigKey>> = LazyLock::new(|| sorted(Scope::Topic));
    static GROUP: LazyLock<Vec<&'static ConfigKey>> = LazyLock::new(|| sorted(Scope::Group));
    static CLIENT_METRICS: LazyLock<Vec<&'static ConfigKey>> = LazyLock::new(|| sorted(Scope::ClientMetrics));
    match scope {
        Scope::Broker => &BROKER,
        Scope::Topic => &TOPIC,
        Scope::Group => &GROUP,
        Scope::ClientMetrics => &CLIENT_METRICS,
    }
}

/// The key of this name, or `None` if the scope has no such key.
pub fn find(scope: Scope, name: &str) -> Option<&'static ConfigKey> {
    let keys = keys(scope);
    keys.binary_search_by(|key| key.name.cmp(name)).ok().map(|index| keys[index])
}

fn sorted(scope: Scope) -> Vec<&'static ConfigKey> {
    let areas = AREAS.iter().filter(|area| area.scope == scope);
    let mut keys: Vec<_> = areas.flat_map(|area| area.keys).collect();
    keys.sort_by_key(|key| key.name);
    keys
}

/// Defines `AREA` of a file. A row is
/// `"name" [origin]: Kind preset, rule, importance, update, effect, "what it does";`
/// where `[origin]` is left out for documented keys of Kafka and `preset` is a text, `null` or `required`.
macro_rules! area {
    ($scope:ident $title:literal $(
        $name:literal $([$origin:ident])? : $kind:ident $preset:tt, $rule:expr, $importance:ident, $update:ident,
        $effect:ident, $doc:literal;
    )*) => {
        #[allow(unused_imports, reason = "not every area needs every rule")]
        use $crate::rule::Rule::*;

        pub(super) const AREA: $crate::table::Area = $crate::table::Area {
            title: $title,
            scope: $crate::key::Scope::$scope,
            keys: &[$($crate::key::ConfigKey {
                name: $name,
                scope: $crate::key::Scope::$scope,
                kind: $crate::key::Kind::$kind,
                preset: $crate::table::area!(@preset $preset),
                rule: $rule,
                importance: $crate::key::Importance::$importance,
                update: $crate::key::Update::$update,
                effect: $crate::key::Effect::$effect,
                origin: $crate::table::area!(@origin $($origin)?),
                doc: $doc,
            }),*],
        };
    };
    (@preset null) => { $crate::key::Preset::Null };
    (@preset required) => { $crate::key::Preset::Required };
    (@preset $text:literal) => { $crate::key::Preset::Text($text) };
    (@origin) => { $crate::key::Origin::Kafka };
    (@origin internal) => { $crate::key::Origin::KafkaInternal };
    (@origin own) => { $crate::key::Origin::Ottla };
}
use area;
