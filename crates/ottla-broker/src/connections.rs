//! The limits on connections from the configuration (`ConnectionQuotas`); all of them can change while the node runs.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ottla_config::BrokerConfig;
use ottla_net::{ConnectionLimits, ConnectionSettings, ListenerLimits};
use ottla_security::quota::Windows;
use tracing::warn;

use crate::quotas::resolve;

/// Kafka's word for "no limit".
const UNLIMITED: i32 = i32::MAX;

/// Addresses as far as they are written as such, and the names of hosts.
type Overrides = (HashMap<IpAddr, usize>, BTreeMap<String, usize>);

/// The limits at the start, with host names resolved.
pub(crate) async fn settings(config: &BrokerConfig) -> ConnectionSettings {
    let (mut overrides, hosts) = overrides(config);
    overrides.extend(resolved(hosts).await);
    with_overrides(config, overrides)
}

/// Applies changed limits at once; those of hosts that have to be looked up first follow.
pub(crate) fn configure(limits: &Arc<ConnectionLimits>, config: &BrokerConfig) {
    let (overrides, hosts) = overrides(config);
    let settings = with_overrides(config, overrides);
    limits.configure(settings.clone());
    if hosts.is_empty() {
        return;
    }
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    let limits = Arc::clone(limits);
    runtime.spawn(async move {
        let found = resolved(hosts).await;
        limits.configure(ConnectionSettings {
            overrides: settings.overrides.iter().map(|(ip, max)| (*ip, *max)).chain(found).collect(),
            ..settings
        });
    });
}

/// Whether `max.connections` of the node does not hold up a listener: the one between brokers, if there is another.
pub(crate) fn is_protected(config: &BrokerConfig, listener: &str) -> bool {
    let node = config.node();
    node.inter_broker_listener == listener && node.broker_listeners().count() > 1
}

fn with_overrides(config: &BrokerConfig, overrides: HashMap<IpAddr, usize>) -> ConnectionSettings {
    let values = config.values();
    let count = |key: &str| match values.int(key) {
        UNLIMITED => usize::MAX,
        other => usize::try_from(other).unwrap_or(0),
    };
    let rate = |limit: i32| if limit == UNLIMITED { None } else { u32::try_from(limit).ok() };
    let number = |key: &str| u32::try_from(values.int(key)).unwrap_or(1);
    let listener = |name: &str| {
        let own = |key: &str| config.listener_text(name, None, key)?.trim().parse::<i32>().ok();
        ListenerLimits {
            max: own("max.connections")
                .filter(|max| *max != UNLIMITED)
                .and_then(|max| usize::try_from(max).ok()),
            max_rate: own("max.connection.creation.rate").and_then(rate),
        }
    };
    let listeners = config.node().broker_listeners().map(|endpoint| endpoint.listener.as_str());
    ConnectionSettings {
        max: count("max.connections"),
        max_per_ip: count("max.connections.per.ip"),
        overrides,
        max_rate: rate(values.int("max.connection.creation.rate")),
        listeners: listeners.map(|name| (name.to_owned(), listener(name))).collect(),
        windows: Windows::new(number("quota.window.num"), number("quota.window.size.seconds")),
    }
}

fn overrides(config: &BrokerConfig) -> Overrides {
    let text = config.values().string("max.connections.per.ip.overrides").unwrap_or_default();
    let (mut addresses, mut hosts) = Overrides::default();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        // The last colon: an IPv6 address has others.
        let Some((host, max)) = entry.rsplit_once(':') else { continue };
        let Ok(max) = max.trim().parse::<usize>() else { continue };
        match host.trim().parse::<IpAddr>() {
            Ok(ip) => _ = addresses.insert(ip.to_canonical(), max),
            Err(_) => _ = hosts.insert(host.trim().to_owned(), max),
        }
    }
    (addresses, hosts)
}

async fn resolved(hosts: BTreeMap<String, usize>) -> Vec<(IpAddr, usize)> {
    let mut found = Vec::new();
    for (host, max) in hosts {
        match resolve(&host).await {
            Some(ip) => found.push((ip.to_canonical(), max)),
            None => {
                warn!(host, "max.connections.per.ip.overrides: cannot resolve the host, it has no effect")
            }
        }
    }
    found
}
