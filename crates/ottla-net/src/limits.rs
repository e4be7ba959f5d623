//! Limits on the number of connections and on how fast they come.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ottla_security::quota::{Rate, Windows};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

/// Addresses whose rate is remembered; beyond it those that have not connected for all windows are forgotten, and then those
/// that did longest ago.
const MAX_RATED_IPS: usize = 16_384;

/// What a node allows; every value can be changed while it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionSettings {
    /// `max.connections` of the node.
    pub max: usize,
    /// `max.connections.per.ip`.
    pub max_per_ip: usize,
    /// `max.connections.per.ip.overrides`, resolved.
    pub overrides: HashMap<IpAddr, usize>,
    /// `max.connection.creation.rate` of the node, per second; `None` for no limit.
    pub max_rate: Option<u32>,
    /// `listener.name.….max.connections` and `….max.connection.creation.rate`, by the listener's name.
    pub listeners: HashMap<String, ListenerLimits>,
    /// What rates are measured over.
    pub windows: Windows,
}

/// What one listener allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Connections open at the same time; `None` for no limit.
    pub max: Option<usize>,
    /// New connections per second; `None` for no limit.
    pub max_rate: Option<u32>,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        Self {
            max: usize::MAX,
            max_per_ip: usize::MAX,
            overrides: HashMap::new(),
            max_rate: None,
            listeners: HashMap::new(),
            windows: Windows::default(),
        }
    }
}

/// How many connections the node takes and how fast, shared by its listeners.
///
/// As in Kafka (`ConnectionQuotas`), a listener at `max.connections` or above its rate takes no further connection until there
/// is room again; a connection above `max.connections.per.ip` is closed at once, one above its address's rate after a pause;
/// and when there are more connections than allowed (the limit was lowered, or a protected listener took one), the ones on
/// which nothing has moved for longest are closed.
#[derive(Debug)]
pub struct ConnectionLimits {
    state: Mutex<State>,
    open: AtomicUsize,
    freed: Notify,
    began: Instant,
}

#[derive(Debug, Default)]
struct State {
    settings: ConnectionSettings,
    per_ip: HashMap<IpAddr, usize>,
    per_listener: HashMap<Arc<str>, usize>,
    rate: Rate,
    listener_rates: HashMap<Arc<str>, Rate>,
    ip_rates: HashMap<IpAddr, Rate>,
    ip_limits: HashMap<IpAddr, f64>,
    default_ip_limit: Option<f64>,
    /// Connections that may be closed when there are too many.
    evictable: HashMap<u64, Arc<Activity>>,
    next_id: u64,
}

/// When something moved on a connection last, and the way to tell it to go.
#[derive(Debug)]
pub(crate) struct Activity {
    began: Instant,
    moved_ms: AtomicU64,
    /// Told when the connection has to make room.
    pub(crate) evicted: Notify,
}

impl Activity {
    pub(crate) fn moved(&self, at: Instant) {
        self.moved_ms.store(elapsed_ms(self.began, at), Ordering::Relaxed);
    }
}

/// An open connection; dropping it makes room.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    limits: Arc<ConnectionLimits>,
    listener: Arc<str>,
    ip: IpAddr,
    id: u64,
    pub(crate) activity: Arc<Activity>,
}

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Its address has as many as it may: close it.
    TooMany,
    /// Its address makes them too fast: close it after this time.
    TooFast(Duration),
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self::new(usize::MAX, usize::MAX)
    }
}

fn elapsed_ms(began: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(began).as_millis()).unwrap_or(u64::MAX)
}

impl ConnectionLimits {
    /// `max.connections` and `max.connections.per.ip`, and no other limit.
    pub fn new(max: usize, max_per_ip: usize) -> Self {
        Self::with(ConnectionSettings { max, max_per_ip, ..ConnectionSettings::default() })
    }

    /// All limits.
    pub fn with(settings: ConnectionSettings) -> Self {
        Self {
            state: Mutex::new(State { settings, ..State::default() }),
            open: AtomicUsize::new(0),
            freed: Notify::new(),
            began: Instant::now(),
        }
    }

    /// Changes the limits, at once. Connections above a lowered `max.connections` are closed, longest idle first.
    pub fn configure(&self, settings: ConnectionSettings) {
        let mut state = self.state();
        state.settings = settings;
        state.evict(self.open());
        drop(state);
        self.freed.notify_waiters();
    }

    /// Changes the limits given as they are.
    pub fn update(&self, change: impl FnOnce(&mut ConnectionSettings)) {
        let mut settings = self.state().settings.clone();
        change(&mut settings);
        self.configure(settings);
    }

    /// The quotas of addresses (`connection_creation_rate`): of all that have none of their own, and of some.
    pub fn set_ip_rates(&self, default: Option<f64>, by_ip: HashMap<IpAddr, f64>) {
        let mut state = self.state();
        state.default_ip_limit = default;
        state.ip_limits = by_ip.into_iter().map(|(ip, limit)| (ip.to_canonical(), limit)).collect();
        if state.default_ip_limit.is_none() && state.ip_limits.is_empty() {
            state.ip_rates = HashMap::new();
        }
    }

    /// Connections open now, on all listeners that share these limits.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Counts a connection that has come, and tells how long its listener has to wait with it.
    pub(crate) fn arrive(&self, listener: &Arc<str>, protected: bool) -> Duration {
        let now_ms = self.now_ms();
        let mut state = self.state();
        let windows = state.settings.windows;
        let mut wait_ms = 0;
        if !protected && let Some(limit) = state.settings.max_rate {
            state.rate.record(windows, 1.0, now_ms);
            wait_ms = state.rate.throttle_ms(windows, f64::from(limit), now_ms);
        }
        let own = state.settings.listeners.get(listener.as_ref()).and_then(|limits| limits.max_rate);
        if let Some(limit) = own {
            let rate = state.listener_rates.entry(Arc::clone(listener)).or_default();
            rate.record(windows, 1.0, now_ms);
            wait_ms = wait_ms.max(rate.throttle_ms(windows, f64::from(limit), now_ms));
        }
        bounded(wait_ms, windows)
    }

    /// Whether the listener may take one connection more.
    pub(crate) fn has_room(&self, listener: &str, protected: bool) -> bool {
        let state = self.state();
        let own = state.settings.listeners.get(listener).and_then(|limits| limits.max).unwrap_or(usize::MAX);
        let open = state.per_listener.get(listener).copied().unwrap_or(0);
        open < own && (protected || self.open() < state.settings.max)
    }

    /// Resolves when a connection has closed, or the limits have changed, since this was enabled.
    pub(crate) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// Counts a new connection from `ip`.
    pub(crate) fn admit(
        self: &Arc<Self>,
        listener: &Arc<str>,
        ip: IpAddr,
        protected: bool,
    ) -> Result<ConnectionPermit, Refused> {
        let ip = ip.to_canonical();
        let now_ms = self.now_ms();
        let mut state = self.state();
        if let Some(pause) = state.too_fast(listener, ip, protected, now_ms) {
            return Err(Refused::TooFast(pause));
        }
        let max = state.settings.overrides.get(&ip).copied().unwrap_or(state.settings.max_per_ip);
        let count = state.per_ip.get(&ip).copied().unwrap_or(0);
        if count >= max {
            return Err(Refused::TooMany);
        }
        state.per_ip.insert(ip, count + 1);
        *state.per_listener.entry(Arc::clone(listener)).or_default() += 1;
        let activity = Arc::new(Activity {
            began: self.began,
            moved_ms: AtomicU64::new(elapsed_ms(self.began, Instant::now())),
            evicted: Notify::new(),
        });
        let id = state.next_id;
        state.next_id += 1;
        if !protected {
            state.evictable.insert(id, Arc::clone(&activity));
        }
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        state.evict(open);
        drop(state);
        Ok(ConnectionPermit { limits: Arc::clone(self), listener: Arc::clone(listener), ip, id, activity })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(elapsed_ms(self.began, Instant::now())).unwrap_or(i64::MAX)
    }
}

/// A pause, never longer than one window.
fn bounded(pause_ms: i64, windows: Windows) -> Duration {
    Duration::from_millis(u64::try_from(pause_ms.clamp(0, windows.window_ms)).unwrap_or(0))
}

impl State {
    /// How long a connection is held before it is closed, when its address makes too many. What was counted for it is
    /// taken back, as it is not taken.
    fn too_fast(
        &mut self,
        listener: &Arc<str>,
        ip: IpAddr,
        protected: bool,
        now_ms: i64,
    ) -> Option<Duration> {
        let limit = self.ip_limits.get(&ip).copied().or(self.default_ip_limit)?;
        let windows = self.settings.windows;
        self.forget_old_ips(ip, now_ms);
        let rate = self.ip_rates.entry(ip).or_default();
        rate.record(windows, 1.0, now_ms);
        let pause = bounded(rate.throttle_ms(windows, limit, now_ms), windows);
        if pause.is_zero() {
            return None;
        }
        rate.record(windows, -1.0, now_ms);
        if !protected && self.settings.max_rate.is_some() {
            self.rate.record(windows, -1.0, now_ms);
        }
        if let Some(rate) = self.listener_rates.get_mut(listener) {
            rate.record(windows, -1.0, now_ms);
        }
        Some(pause)
    }

    fn forget_old_ips(&mut self, newcomer: IpAddr, now_ms: i64) {
        if self.ip_rates.len() < MAX_RATED_IPS || self.ip_rates.contains_key(&newcomer) {
            return;
        }
        let windows = self.settings.windows;
        let age_ms = i64::from(windows.samples) * windows.window_ms;
        self.ip_rates.retain(|_, rate| rate.last_event_ms().is_some_and(|last| now_ms - last < age_ms));
        if self.ip_rates.len() >= MAX_RATED_IPS {
            let oldest = self.ip_rates.iter().min_by_key(|(_, rate)| rate.last_event_ms()).map(|(ip, _)| *ip);
            oldest.map(|ip| self.ip_rates.remove(&ip));
        }
    }

    /// Tells those to go on which nothing has moved for longest, when there are too many.
    fn evict(&mut self, open: usize) {
        let excess = open.saturating_sub(self.settings.max);
        if excess == 0 {
            return;
        }
        let mut idle: Vec<_> = self
            .evictable
            .iter()
            .map(|(id, activity)| (activity.moved_ms.load(Ordering::Relaxed), *id))
            .collect();
        idle.sort_unstable();
        for (_, id) in idle.into_iter().take(excess) {
            if let Some(activity) = self.evictable.remove(&id) {
                activity.evicted.notify_one();
            }
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut state = self.limits.state();
        if let Some(count) = state.per_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                state.per_ip.remove(&self.ip);
            }
        }
        if let Some(count) = state.per_listener.get_mut(&self.listener) {
            *count -= 1;
        }
        state.evictable.remove(&self.id);
        drop(state);
        self.limits.open.fetch_sub(1, Ordering::Relaxed);
        self.limits.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> Arc<str> {
        "L".into()
    }

    #[tokio::test(start_paused = true)]
    async fn counts_per_address_and_in_total() {
        let limits = Arc::new(ConnectionLimits::new(3, 2));
        let (a, b): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let admit = |ip| limits.admit(&name(), ip, false);
        let first = admit(a).unwrap();
        let _second = admit("::ffff:10.0.0.1".parse().unwrap()).unwrap();
        assert_eq!(admit(a).unwrap_err(), Refused::TooMany, "the mapped form is the same address");
        assert!(limits.has_room("L", false));
        let _third = admit(b).unwrap();
        assert!(!limits.has_room("L", false));
        assert!(limits.has_room("L", true), "a protected listener takes more");
        drop(first);
        assert!(limits.has_room("L", false));
        assert!(admit(a).is_ok());
        limits.update(|settings| settings.overrides = HashMap::from([(b, 0)]));
        assert_eq!(admit(b).unwrap_err(), Refused::TooMany);
        limits.update(|settings| {
            settings.listeners =
                HashMap::from([("L".to_owned(), ListenerLimits { max: Some(1), max_rate: None })]);
        });
        assert!(!limits.has_room("L", true), "its own limit holds for a protected listener too");
        assert!(limits.has_room("M", false));
    }

    #[tokio::test(start_paused = true)]
    async fn those_idle_for_longest_go_when_the_limit_is_lowered() {
        let limits = Arc::new(ConnectionLimits::default());
        let ip: IpAddr = "10.0.0.1".parse().unwrap();
        let mut open = Vec::new();
        for _ in 0..4 {
            open.push(limits.admit(&name(), ip, false).unwrap());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        open[0].activity.moved(Instant::now());
        limits.update(|settings| settings.max = 2);
        let told = |permit: &ConnectionPermit| {
            let mut told = std::pin::pin!(permit.activity.evicted.notified());
            told.as_mut().enable()
        };
        assert_eq!(open.iter().map(told).collect::<Vec<_>>(), [false, true, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_makes_the_listener_wait_and_an_address_pay() {
        let limits = Arc::new(ConnectionLimits::default());
        limits.update(|settings| settings.max_rate = Some(2));
        let waits: Vec<_> = (0..25).map(|_| limits.arrive(&name(), false)).collect();
        assert_eq!(waits[..20], [Duration::ZERO; 20], "as many as in ten windows");
        assert!(waits[20] > Duration::ZERO && waits[24] <= Duration::from_secs(1), "{waits:?}");
        assert_eq!(limits.arrive(&name(), true), Duration::ZERO, "a protected listener does not wait");

        let (a, b): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        limits.set_ip_rates(None, HashMap::from([(a, 1.0)]));
        let taken = (0..30).filter(|_| limits.admit(&name(), a, false).is_ok()).count();
        assert_eq!(taken, 10);
        assert!(matches!(limits.admit(&name(), a, false), Err(Refused::TooFast(pause)) if !pause.is_zero()));
        assert!(limits.admit(&name(), b, false).is_ok());
        tokio::time::advance(Duration::from_secs(20)).await;
        assert!(limits.admit(&name(), a, false).is_ok());
    }
}
