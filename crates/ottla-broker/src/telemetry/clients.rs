//! Who pushes metrics, which, and how often (KIP-714, `ClientMetricsManager`, `ClientMetricsInstance`). The time and random
//! ids are arguments.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ottla_config::{Props, client_metrics_values, parse_match_patterns};
use ottla_protocol::ErrorCode;
use ottla_record::{Compression, crc32c};
use ottla_types::Uuid;
use regex::Regex;

/// Client instances remembered at most, as in Kafka; beyond it the one that was quiet for longest is forgotten.
const MAX_INSTANCES: usize = 16_384;
/// An instance that was quiet for this long, or for three push intervals, is forgotten.
const FORGET_MS: i64 = 60_000;
/// The push interval of a client that no subscription matches.
const DEFAULT_INTERVAL_MS: i32 = 300_000;
/// A subscription to this means all metrics.
const ALL_METRICS: &str = "*";

/// What subscriptions match clients by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientAttributes {
    pub(crate) client_id: String,
    pub(crate) software_name: String,
    pub(crate) software_version: String,
    pub(crate) source_address: String,
    pub(crate) source_port: u16,
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'a> {
    /// Number of the connection: when it is closed, the instance is forgotten.
    pub(crate) connection: u64,
    pub(crate) attributes: &'a ClientAttributes,
}

/// What a client is to push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) instance: Uuid,
    pub(crate) subscription_id: i32,
    pub(crate) metrics: Vec<String>,
    pub(crate) interval_ms: i32,
}

/// What is known of a push before its metrics are looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Push {
    pub(crate) instance: Uuid,
    pub(crate) subscription_id: i32,
    pub(crate) terminating: bool,
    pub(crate) compression_type: i8,
    pub(crate) bytes: usize,
}

#[derive(Debug)]
struct Subscription {
    metrics: Vec<String>,
    interval_ms: i32,
    patterns: BTreeMap<String, Regex>,
}

#[derive(Debug)]
struct Instance {
    attributes: ClientAttributes,
    subscription_id: i32,
    /// Version of the subscriptions that it was matched with.
    version: u64,
    metrics: Vec<String>,
    interval_ms: i32,
    last_get_ms: i64,
    last_push_ms: i64,
    terminating: bool,
    last_error: ErrorCode,
    expires_ms: i64,
}

/// Subscriptions and the clients that are matched with them.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    subscriptions: BTreeMap<String, Subscription>,
    version: u64,
    instances: HashMap<Uuid, Instance>,
    connections: HashMap<u64, Uuid>,
}

impl Subscription {
    fn matches(&self, instance: Uuid, of: &ClientAttributes) -> bool {
        self.patterns.iter().all(|(attribute, pattern)| match attribute.as_str() {
            "client_instance_id" => pattern.is_match(&instance.to_string()),
            "client_id" => pattern.is_match(&of.client_id),
            "client_software_name" => pattern.is_match(&of.software_name),
            "client_software_version" => pattern.is_match(&of.software_version),
            "client_source_address" => pattern.is_match(&of.source_address),
            "client_source_port" => pattern.is_match(&of.source_port.to_string()),
            _ => false,
        })
    }
}

impl Instance {
    fn may_get(&mut self, now_ms: i64) -> bool {
        let last_ms = self.last_get_ms.max(self.last_push_ms);
        let may = now_ms - last_ms >= i64::from(self.interval_ms);
        if may {
            self.last_get_ms = now_ms;
        }
        may
    }

    /// The first push after a subscription may come at any time: clients spread it over the interval.
    fn may_push(&mut self, now_ms: i64) -> bool {
        let may =
            self.last_get_ms > self.last_push_ms || now_ms - self.last_push_ms >= i64::from(self.interval_ms);
        if may {
            self.last_push_ms = now_ms;
        }
        may
    }
}

impl Clients {
    /// Takes over a changed subscription; one without settings is removed. Every client is matched anew when it comes again.
    pub(crate) fn subscribe(&mut self, name: &str, props: &Props) {
        let changed = if props.is_empty() {
            self.subscriptions.remove(name).is_some()
        } else {
            let parsed = client_metrics_values(props).and_then(|values| {
                let patterns = parse_match_patterns(values.list("match"))?;
                Ok(Subscription {
                    metrics: values.list("metrics").to_vec(),
                    interval_ms: values.int("interval.ms"),
                    patterns,
                })
            });
            match parsed {
                Ok(subscription) => _ = self.subscriptions.insert(name.to_owned(), subscription),
                Err(error) => tracing::error!(name, "the subscription is not usable: {}", error.message),
            }
            true
        };
        self.version += u64::from(changed);
    }

    /// Instances known now.
    pub(crate) fn len(&self) -> usize {
        self.instances.len()
    }

    /// Answers GetTelemetrySubscriptions. `fresh` makes ids for clients that have none yet.
    ///
    /// # Errors
    /// `THROTTLING_QUOTA_EXCEEDED` before the push interval is over, unless the client's last push was refused because its
    /// subscription is out of date or its codec unknown.
    pub(crate) fn get(
        &mut self,
        wanted: Uuid,
        caller: Caller<'_>,
        now_ms: i64,
        mut fresh: impl FnMut() -> Uuid,
    ) -> Result<Granted, ErrorCode> {
        let mut id = if wanted.is_zero() { fresh() } else { wanted };
        while wanted.is_zero() && self.instances.contains_key(&id) {
            id = fresh();
        }
        let instance = self.instance(id, caller, now_ms);
        let is_forgiven = matches!(
            instance.last_error,
            ErrorCode::UnknownSubscriptionId | ErrorCode::UnsupportedCompressionType
        );
        if !instance.may_get(now_ms) && !is_forgiven {
            return Err(ErrorCode::ThrottlingQuotaExceeded);
        }
        instance.last_error = ErrorCode::None;
        Ok(Granted {
            instance: id,
            subscription_id: instance.subscription_id,
            metrics: instance.metrics.clone(),
            interval_ms: instance.interval_ms,
        })
    }

    /// Checks a PushTelemetry, and says how its metrics are compressed.
    ///
    /// # Errors
    /// In this order: `INVALID_REQUEST` (no instance id, or it has said goodbye), `THROTTLING_QUOTA_EXCEEDED`,
    /// `UNKNOWN_SUBSCRIPTION_ID`, `UNSUPPORTED_COMPRESSION_TYPE`, `TELEMETRY_TOO_LARGE`.
    pub(crate) fn push(
        &mut self,
        push: Push,
        caller: Caller<'_>,
        now_ms: i64,
        max_bytes: usize,
    ) -> Result<Compression, ErrorCode> {
        if push.instance.is_zero() || push.instance == Uuid::METADATA_TOPIC {
            return Err(ErrorCode::InvalidRequest);
        }
        let instance = self.instance(push.instance, caller, now_ms);
        let mut check = || {
            if instance.terminating {
                return Err(ErrorCode::InvalidRequest);
            }
            if !instance.may_push(now_ms) && !push.terminating {
                return Err(ErrorCode::ThrottlingQuotaExceeded);
            }
            if push.subscription_id != instance.subscription_id {
                return Err(ErrorCode::UnknownSubscriptionId);
            }
            let codec = u8::try_from(push.compression_type).ok().and_then(|id| Compression::from_id(id).ok());
            let codec = codec.ok_or(ErrorCode::UnsupportedCompressionType)?;
            if push.bytes > max_bytes { Err(ErrorCode::TelemetryTooLarge) } else { Ok(codec) }
        };
        let checked = check();
        instance.terminating = push.terminating;
        instance.last_error = checked.err().unwrap_or(ErrorCode::None);
        checked
    }

    /// The metrics of a push that was let through could not be read.
    pub(crate) fn refuse(&mut self, id: Uuid) {
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.last_error = ErrorCode::InvalidRecord;
        }
    }

    /// A connection was closed; tells which instance is forgotten with it.
    pub(crate) fn disconnected(&mut self, connection: u64) -> Option<Uuid> {
        let id = self.connections.remove(&connection)?;
        self.instances.remove(&id).map(|_| id)
    }

    /// Forgets who was quiet for too long, and tells whom.
    pub(crate) fn expire(&mut self, now_ms: i64) -> Vec<Uuid> {
        let quiet = self.instances.iter().filter(|(_, instance)| instance.expires_ms <= now_ms);
        let quiet: Vec<Uuid> = quiet.map(|(id, _)| *id).collect();
        for id in &quiet {
            self.instances.remove(id);
        }
        self.connections.retain(|_, id| self.instances.contains_key(id));
        quiet
    }

    fn instance(&mut self, id: Uuid, caller: Caller<'_>, now_ms: i64) -> &mut Instance {
        let is_current = self.instances.get(&id).is_some_and(|instance| instance.version == self.version);
        if !is_current {
            let known = self.instances.get(&id).map(|instance| instance.attributes.clone());
            let made = self.matched(id, known.unwrap_or_else(|| caller.attributes.clone()));
            if self.instances.len() >= MAX_INSTANCES && !self.instances.contains_key(&id) {
                let oldest = self.instances.iter().min_by_key(|(_, instance)| instance.expires_ms);
                let oldest = oldest.map(|(id, _)| *id);
                oldest.map(|id| self.instances.remove(&id));
                self.connections.retain(|_, id| self.instances.contains_key(id));
            }
            self.instances.insert(id, made);
            self.connections.insert(caller.connection, id);
        }
        let instance = self.instances.get_mut(&id).expect("inserted above");
        instance.expires_ms = now_ms + FORGET_MS.max(i64::from(instance.interval_ms) * 3);
        instance
    }

    fn matched(&self, id: Uuid, attributes: ClientAttributes) -> Instance {
        let mut metrics = BTreeSet::new();
        let mut interval_ms = DEFAULT_INTERVAL_MS;
        for subscription in self.subscriptions.values() {
            if subscription.matches(id, &attributes) {
                metrics.extend(subscription.metrics.iter().cloned());
                interval_ms = interval_ms.min(subscription.interval_ms);
            }
        }
        if metrics.contains(ALL_METRICS) {
            metrics = BTreeSet::from([ALL_METRICS.to_owned()]);
        }
        let metrics: Vec<String> = metrics.into_iter().collect();
        let checksum = crc32c(format!("{metrics:?}{interval_ms}").as_bytes()) ^ crc32c(id.as_bytes());
        Instance {
            attributes,
            subscription_id: checksum.cast_signed(),
            version: self.version,
            metrics,
            interval_ms,
            last_get_ms: 0,
            last_push_ms: 0,
            terminating: false,
            last_error: ErrorCode::None,
            expires_ms: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;
    const A: Uuid = Uuid::from_parts(7, 7);

    fn attributes() -> ClientAttributes {
        ClientAttributes {
            client_id: "app-1".into(),
            software_name: "librdkafka".into(),
            software_version: "2.0".into(),
            source_address: "10.0.0.1".into(),
            source_port: 5000,
        }
    }

    fn props(pairs: &[(&str, &str)]) -> Props {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn clients() -> Clients {
        let mut clients = Clients::default();
        clients.subscribe(
            "s",
            &props(&[("metrics", "a.,b."), ("interval.ms", "1000"), ("match", "client_id=app-.*")]),
        );
        clients.subscribe("other", &props(&[("metrics", "c."), ("match", "client_software_name=java")]));
        clients
    }

    fn get(clients: &mut Clients, id: Uuid, now_ms: i64) -> Result<Granted, ErrorCode> {
        let attributes = attributes();
        let caller = Caller { connection: 1, attributes: &attributes };
        clients.get(id, caller, now_ms, || Uuid::from_parts(9, 9))
    }

    fn push(clients: &mut Clients, push: Push, now_ms: i64) -> Result<Compression, ErrorCode> {
        let attributes = attributes();
        clients.push(push, Caller { connection: 1, attributes: &attributes }, now_ms, 100)
    }

    #[test]
    fn a_client_gets_what_matches_it() {
        let mut clients = clients();
        let granted = get(&mut clients, Uuid::ZERO, NOW).unwrap();
        assert_eq!((granted.instance, granted.interval_ms), (Uuid::from_parts(9, 9), 1000));
        assert_eq!(granted.metrics, ["a.", "b."]);
        clients.subscribe("s", &Props::new());
        let granted = get(&mut clients, Uuid::from_parts(9, 9), NOW).unwrap();
        assert_eq!(
            (granted.metrics.len(), granted.interval_ms),
            (0, DEFAULT_INTERVAL_MS),
            "matched anew at once"
        );
        clients.subscribe("all", &props(&[("metrics", "*,a.")]));
        assert_eq!(get(&mut clients, A, NOW).unwrap().metrics, ["*"]);
    }

    #[test]
    fn asking_too_often_is_throttled() {
        let mut clients = clients();
        get(&mut clients, A, NOW).unwrap();
        assert_eq!(get(&mut clients, A, NOW + 999), Err(ErrorCode::ThrottlingQuotaExceeded));
        assert!(get(&mut clients, A, NOW + 1000).is_ok());
    }

    #[test]
    fn a_push_is_checked_in_kafkas_order() {
        let mut clients = clients();
        let granted = get(&mut clients, A, NOW).unwrap();
        let good = Push {
            instance: A,
            subscription_id: granted.subscription_id,
            terminating: false,
            compression_type: 4,
            bytes: 100,
        };
        assert_eq!(
            push(&mut clients, Push { instance: Uuid::ZERO, ..good }, NOW),
            Err(ErrorCode::InvalidRequest)
        );
        assert_eq!(push(&mut clients, good, NOW + 1), Ok(Compression::Zstd));
        assert_eq!(push(&mut clients, good, NOW + 2), Err(ErrorCode::ThrottlingQuotaExceeded));
        assert_eq!(
            push(&mut clients, Push { bytes: 101, ..good }, NOW + 1001),
            Err(ErrorCode::TelemetryTooLarge)
        );
        let stale = Push { subscription_id: 1, compression_type: 9, ..good };
        assert_eq!(push(&mut clients, stale, NOW + 2001), Err(ErrorCode::UnknownSubscriptionId));
        assert!(get(&mut clients, A, NOW + 2002).is_ok(), "it may ask for the new one at once");
        let unknown = Push { compression_type: 9, ..good };
        assert_eq!(push(&mut clients, unknown, NOW + 3003), Err(ErrorCode::UnsupportedCompressionType));
        let last = Push { terminating: true, ..good };
        assert_eq!(
            push(&mut clients, last, NOW + 3004),
            Ok(Compression::Zstd),
            "a goodbye comes when it comes"
        );
        assert_eq!(push(&mut clients, good, NOW + 9000), Err(ErrorCode::InvalidRequest));
    }

    #[test]
    fn clients_are_forgotten() {
        let mut clients = clients();
        get(&mut clients, A, NOW).unwrap();
        assert_eq!(clients.expire(NOW + FORGET_MS - 1), []);
        assert_eq!(clients.expire(NOW + FORGET_MS), [A]);
        get(&mut clients, A, NOW).unwrap();
        assert_eq!(clients.disconnected(1), Some(A));
        assert_eq!((clients.len(), clients.disconnected(1)), (0, None));
    }
}
