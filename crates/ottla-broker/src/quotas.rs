//! How fast clients may go: the limits of the metadata, and what each client has used of them (`QuotaFactory`, KIP-13, 124,
//! 599). Asked in one place, when a request is answered (`request.rs`).
//!
//! Without a quota of a kind, asking costs one relaxed load.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use ottla_config::Values;
use ottla_metadata::ApiError;
use ottla_metadata::image::{CLIENT_ID, IP, QuotasImage, USER};
use ottla_net::ConnectionLimits;
use ottla_protocol::ErrorCode;
use ottla_security::quota::{
    CONNECTION_CREATION_RATE, ClientLimits, QuotaKind, Rate, Tags, TokenBucket, Windows,
};
use tracing::{debug, warn};

use crate::clock;

/// Clients of a kind are spread over so many locks.
const SHARDS: usize = 16;
/// Clients remembered per lock; beyond it the one that was quiet for longest is forgotten.
const MAX_CLIENTS_PER_SHARD: usize = 4096;
/// A client that was quiet for this long is forgotten (`INACTIVE_SENSOR_EXPIRATION_TIME_SECONDS`).
const FORGET_MS: i64 = 3_600_000;

/// The quotas of this broker.
#[derive(Debug)]
pub(crate) struct Quotas {
    produce: Kind,
    fetch: Kind,
    request: Kind,
    mutation: Kind,
    connections: Arc<ConnectionLimits>,
}

#[derive(Debug)]
struct Kind {
    enabled: AtomicBool,
    limits: ArcSwap<ClientLimits>,
    windows: Windows,
    shards: [Mutex<HashMap<(String, String), Used>>; SHARDS],
    hasher: RandomState,
    throttled: AtomicU64,
}

/// What those who share a limit have used.
#[derive(Debug, Default)]
struct Used {
    rate: Rate,
    bucket: TokenBucket,
    last_ms: i64,
}

impl Quotas {
    pub(crate) fn new(values: &Values, connections: Arc<ConnectionLimits>) -> Self {
        let number = |key: &str| u32::try_from(values.int(key)).unwrap_or(1);
        let clients = Windows::new(number("quota.window.num"), number("quota.window.size.seconds"));
        let controller = Windows::new(
            number("controller.quota.window.num"),
            number("controller.quota.window.size.seconds"),
        );
        Self {
            produce: Kind::new(clients),
            fetch: Kind::new(clients),
            request: Kind::new(clients),
            mutation: Kind::new(controller),
            connections,
        }
    }

    fn kind(&self, kind: QuotaKind) -> &Kind {
        match kind {
            QuotaKind::Produce => &self.produce,
            QuotaKind::Fetch => &self.fetch,
            QuotaKind::Request => &self.request,
            QuotaKind::ControllerMutation => &self.mutation,
        }
    }

    /// Takes over the limits of the metadata; they hold at once, for what was used before too.
    pub(crate) fn apply(&self, image: &QuotasImage) {
        let mut limits = [(); 4].map(|()| ClientLimits::default());
        for (entity, quotas) in image.iter() {
            let part = |kind: &str| entity.0.get(kind).map(Option::as_deref);
            for (limits, kind) in limits.iter_mut().zip(QuotaKind::ALL) {
                if let Some(limit) = quotas.get(kind.key()) {
                    limits.set(part(USER), part(CLIENT_ID), *limit);
                }
            }
        }
        for (limits, kind) in limits.into_iter().zip(QuotaKind::ALL) {
            self.kind(kind).set(limits);
        }
        self.apply_addresses(image);
    }

    fn apply_addresses(&self, image: &QuotasImage) {
        let mut default = None;
        let mut by_ip = HashMap::new();
        let mut hosts = BTreeMap::new();
        for (entity, quotas) in image.iter() {
            let (Some(name), Some(limit)) = (entity.0.get(IP), quotas.get(CONNECTION_CREATION_RATE)) else {
                continue;
            };
            match name.as_deref().map(|name| (name, name.parse::<IpAddr>())) {
                None => default = Some(*limit),
                Some((_, Ok(ip))) => _ = by_ip.insert(ip, *limit),
                Some((name, Err(_))) => _ = hosts.insert(name.to_owned(), *limit),
            }
        }
        self.connections.set_ip_rates(default, by_ip.clone());
        if hosts.is_empty() {
            return;
        }
        let connections = Arc::clone(&self.connections);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            for (host, limit) in hosts {
                match resolve(&host).await {
                    Some(ip) => _ = by_ip.insert(ip, limit),
                    None => warn!(host, "cannot resolve the host of a quota, it has no effect"),
                }
            }
            connections.set_ip_rates(default, by_ip);
        });
    }

    /// Whether anybody has a quota of that kind.
    pub(crate) fn is_enabled(&self, kind: QuotaKind) -> bool {
        self.kind(kind).enabled.load(Ordering::Relaxed)
    }

    /// Counts what a client used, and says how long it has to pause for it.
    pub(crate) fn record(&self, kind: QuotaKind, client: Tags<'_>, amount: f64) -> i32 {
        let this = self.kind(kind);
        let now_ms = clock::now_ms();
        let pause_ms = this.with(client, now_ms, |used, limit| {
            used.rate.record(this.windows, amount, now_ms);
            used.rate.throttle_ms(this.windows, limit, now_ms)
        });
        let pause_ms = match kind {
            // What a request costs is known too little to let it pause for long.
            QuotaKind::Request => pause_ms.map(|pause| pause.min(this.windows.window_ms)),
            _ => pause_ms,
        };
        this.throttled(client, pause_ms.unwrap_or(0))
    }

    /// Takes back what was counted for a response that is not sent.
    pub(crate) fn unrecord(&self, kind: QuotaKind, client: Tags<'_>, amount: f64) {
        let this = self.kind(kind);
        let now_ms = clock::now_ms();
        this.with(client, now_ms, |used, _| used.rate.record(this.windows, -amount, now_ms));
    }

    /// The most bytes of a fetch that are not throttled for sure.
    pub(crate) fn max_fetch_bytes(&self, client: Tags<'_>) -> u32 {
        let this = &self.fetch;
        if !this.enabled.load(Ordering::Relaxed) {
            return u32::MAX;
        }
        let limits = this.limits.load();
        let limit = limits.limit(limits.tags(client.user, client.client_id));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        limit.map_or(u32::MAX, |limit| this.windows.max_at_once(limit).min(f64::from(i32::MAX)) as u32)
    }

    /// How many requests had to pause, by the kind of quota.
    pub(crate) fn throttled(&self) -> [(QuotaKind, u64); 4] {
        QuotaKind::ALL.map(|kind| (kind, self.kind(kind).throttled.load(Ordering::Relaxed)))
    }
}

/// The address of a host, as Java's `InetAddress.getByName` finds it.
pub(crate) async fn resolve(host: &str) -> Option<IpAddr> {
    const PATIENCE: Duration = Duration::from_secs(5);
    if let Ok(ip) = host.parse() {
        return Some(ip);
    }
    let found = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host, 0))).await.ok()?.ok()?;
    found.map(|address| address.ip()).next()
}

impl Kind {
    fn new(windows: Windows) -> Self {
        Self {
            enabled: AtomicBool::new(false),
            limits: ArcSwap::default(),
            windows,
            shards: Default::default(),
            hasher: RandomState::new(),
            throttled: AtomicU64::new(0),
        }
    }

    fn set(&self, limits: ClientLimits) {
        let is_enabled = limits.is_enabled();
        self.limits.store(Arc::new(limits));
        self.enabled.store(is_enabled, Ordering::Relaxed);
        if !is_enabled {
            for shard in &self.shards {
                shard.lock().unwrap_or_else(PoisonError::into_inner).clear();
            }
        }
    }

    fn shard(&self, tags: Tags<'_>) -> MutexGuard<'_, HashMap<(String, String), Used>> {
        let index = usize::try_from(self.hasher.hash_one(tags) % SHARDS as u64).unwrap_or(0);
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over what those have used that share the client's limit, and the limit; nothing if it has none.
    fn with<R>(&self, client: Tags<'_>, now_ms: i64, f: impl FnOnce(&mut Used, f64) -> R) -> Option<R> {
        if !self.enabled.load(Ordering::Relaxed) {
            return None;
        }
        let limits = self.limits.load();
        let tags = limits.tags(client.user, client.client_id);
        let limit = limits.limit(tags)?;
        let mut shard = self.shard(tags);
        let key = (tags.user.to_owned(), tags.client_id.to_owned());
        if shard.len() >= MAX_CLIENTS_PER_SHARD && !shard.contains_key(&key) {
            shard.retain(|_, used| now_ms - used.last_ms < FORGET_MS);
            if shard.len() >= MAX_CLIENTS_PER_SHARD {
                let oldest = shard.iter().min_by_key(|(_, used)| used.last_ms).map(|(key, _)| key.clone());
                oldest.map(|key| shard.remove(&key));
            }
        }
        let used = shard.entry(key).or_default();
        used.last_ms = now_ms;
        Some(f(used, limit))
    }

    fn throttled(&self, client: Tags<'_>, pause_ms: i64) -> i32 {
        if pause_ms > 0 {
            self.throttled.fetch_add(1, Ordering::Relaxed);
            debug!(user = client.user, client_id = client.client_id, pause_ms, "above its quota");
        }
        i32::try_from(pause_ms).unwrap_or(i32::MAX)
    }
}

/// A request's way to the controller mutation quota (`ControllerMutationQuota`): charged for each topic by the controller.
#[derive(Clone, Debug)]
pub(crate) struct MutationQuota {
    quotas: Arc<Quotas>,
    user: String,
    client_id: String,
    /// Refuse what comes when the quota is used up, and let through without a pause what comes before; else let all through
    /// and make the client pause.
    is_strict: bool,
    pause_ms: Arc<AtomicI32>,
}

impl MutationQuota {
    pub(crate) fn new(quotas: Arc<Quotas>, client: Tags<'_>, is_strict: bool) -> Self {
        let (user, client_id) = (client.user.to_owned(), client.client_id.to_owned());
        Self { quotas, user, client_id, is_strict, pause_ms: Arc::default() }
    }

    /// Counts partitions that are made or deleted.
    ///
    /// # Errors
    /// `THROTTLING_QUOTA_EXCEEDED`.
    pub(crate) fn charge(&self, partitions: usize) -> Result<(), ApiError> {
        let client = Tags { user: &self.user, client_id: &self.client_id };
        let kind = &self.quotas.mutation;
        let (windows, now_ms) = (kind.windows, clock::now_ms());
        let amount = f64::from(u32::try_from(partitions).unwrap_or(u32::MAX));
        let pause_ms = kind.with(client, now_ms, |used, limit| {
            if self.is_strict {
                let pause_ms = used.bucket.throttle_ms(windows, limit, now_ms);
                if pause_ms == 0 {
                    used.bucket.record(windows, limit, amount, now_ms);
                }
                pause_ms
            } else {
                used.bucket.record(windows, limit, amount, now_ms);
                used.bucket.throttle_ms(windows, limit, now_ms)
            }
        });
        let pause_ms = kind.throttled(client, pause_ms.unwrap_or(0));
        if pause_ms > 0 {
            self.pause_ms.store(pause_ms, Ordering::Relaxed);
        }
        if pause_ms > 0 && self.is_strict {
            return Err(ApiError::bare(ErrorCode::ThrottlingQuotaExceeded));
        }
        Ok(())
    }

    /// How long the client has to pause.
    pub(crate) fn pause_ms(&self) -> i32 {
        self.pause_ms.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use ottla_config::{BrokerConfig, Sources};
    use ottla_metadata::image::MetadataImage;
    use ottla_protocol::messages::client_quota_record::{ClientQuotaRecord, EntityData};

    use super::*;

    const CLIENT: Tags<'static> = Tags { user: "u", client_id: "c" };

    fn image(quotas: &[(&str, f64)]) -> QuotasImage {
        let record = |(key, value): &(&str, f64)| {
            let entity = vec![EntityData { entity_type: USER.into(), entity_name: Some("u".into()) }];
            ClientQuotaRecord { entity, key: (*key).to_owned().into(), value: *value, remove: false }
        };
        let values: Vec<_> = quotas
            .iter()
            .map(|quota| ottla_metadata::VersionedRecord::new(record(quota), 0).to_bytes())
            .collect();
        let values = values.iter().map(Vec::as_slice);
        let image =
            MetadataImage::from_snapshot(ottla_types::Offset(1), ottla_types::LeaderEpoch(1), 7, values);
        image.unwrap().quotas().clone()
    }

    fn quotas(limits: &[(&str, f64)]) -> Arc<Quotas> {
        let text = "node.id=1\nprocess.roles=broker,controller\nlisteners=PLAINTEXT://:0,CONTROLLER://:0\n\
                    controller.listener.names=CONTROLLER\ncontroller.quorum.bootstrap.servers=localhost:1\n";
        let (config, _) =
            BrokerConfig::load(Sources { properties: Some(text), ..Sources::default() }).unwrap();
        let quotas = Quotas::new(config.values(), Arc::default());
        quotas.apply(&image(limits));
        Arc::new(quotas)
    }

    #[test]
    fn changes_hold_at_once() {
        let quotas = quotas(&[]);
        assert!(!quotas.is_enabled(QuotaKind::Produce));
        assert_eq!(quotas.record(QuotaKind::Produce, CLIENT, 1e12), 0);
        quotas.apply(&image(&[("producer_byte_rate", 1000.0)]));
        assert!(quotas.is_enabled(QuotaKind::Produce) && !quotas.is_enabled(QuotaKind::Fetch));
        assert_eq!(quotas.record(QuotaKind::Produce, CLIENT, 5000.0), 0);
        let pause = quotas.record(QuotaKind::Produce, CLIENT, 15_000.0);
        assert!((9000..=10_000).contains(&pause), "20,000 bytes at 1000 per second: {pause}");
        let other = Tags { user: "other", client_id: "c" };
        assert_eq!(quotas.record(QuotaKind::Produce, other, 1e12), 0);
        quotas.apply(&image(&[]));
        assert_eq!(quotas.record(QuotaKind::Produce, CLIENT, 1e12), 0);
    }

    #[test]
    fn a_fetch_is_cut_to_what_is_allowed_and_not_counted_when_not_sent() {
        let quotas = quotas(&[("consumer_byte_rate", 100.0)]);
        assert_eq!(quotas.max_fetch_bytes(CLIENT), 1000);
        assert_eq!(quotas.max_fetch_bytes(Tags { user: "other", client_id: "" }), u32::MAX);
        assert!(quotas.record(QuotaKind::Fetch, CLIENT, 5000.0) > 0);
        quotas.unrecord(QuotaKind::Fetch, CLIENT, 5000.0);
        assert_eq!(quotas.record(QuotaKind::Fetch, CLIENT, 500.0), 0);
    }

    #[test]
    fn a_request_never_pauses_for_more_than_a_window() {
        let quotas = quotas(&[("request_percentage", 1.0)]);
        assert_eq!(quotas.record(QuotaKind::Request, CLIENT, 1e6), 1000);
    }

    #[test]
    fn a_strict_quota_lets_one_through_and_refuses_the_next_a_permissive_one_delays() {
        let quotas = quotas(&[("controller_mutation_rate", 1.0)]);
        let strict = MutationQuota::new(Arc::clone(&quotas), CLIENT, true);
        assert_eq!(strict.charge(21), Ok(()), "the bucket holds 11, and may be overdrawn");
        assert_eq!(strict.pause_ms(), 0);
        assert_eq!(strict.charge(1).unwrap_err().code, ErrorCode::ThrottlingQuotaExceeded);
        assert!((9000..=10_000).contains(&strict.pause_ms()), "{}", strict.pause_ms());
        let permissive = MutationQuota::new(quotas, CLIENT, false);
        assert_eq!(permissive.charge(5), Ok(()));
        assert!((14_000..=15_000).contains(&permissive.pause_ms()), "{}", permissive.pause_ms());
    }

    #[test]
    fn so_many_clients_are_remembered_and_no_more() {
        let kind = Kind::new(Windows::default());
        let mut limits = ClientLimits::default();
        limits.set(None, Some(None), 1.0);
        kind.set(limits);
        for index in 0..SHARDS * MAX_CLIENTS_PER_SHARD + 1000 {
            let id = index.to_string();
            kind.with(Tags { user: "", client_id: &id }, 1, |_, _| ());
        }
        let count = |shard: &Mutex<HashMap<_, _>>| shard.lock().unwrap().len();
        assert!(kind.shards.iter().all(|shard| count(shard) <= MAX_CLIENTS_PER_SHARD));
    }
}
