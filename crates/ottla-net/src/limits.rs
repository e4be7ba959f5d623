//! Limits on the number of connections.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// How many connections the node takes, shared by its listeners; all limits can be changed while it runs.
///
/// As in Kafka (`ConnectionQuotas`), a listener at `max.connections` leaves new connections in the backlog until another one
/// closes, and a connection above `max.connections.per.ip` is closed at once.
#[derive(Debug)]
pub struct ConnectionLimits {
    max: AtomicUsize,
    max_per_ip: AtomicUsize,
    overrides: Mutex<HashMap<IpAddr, usize>>,
    per_ip: Mutex<HashMap<IpAddr, usize>>,
    open: AtomicUsize,
    freed: Notify,
}

/// An open connection; dropping it makes room.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    limits: Arc<ConnectionLimits>,
    ip: IpAddr,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self::new(usize::MAX, usize::MAX)
    }
}

impl ConnectionLimits {
    /// `max.connections` and `max.connections.per.ip`.
    pub fn new(max: usize, max_per_ip: usize) -> Self {
        Self {
            max: AtomicUsize::new(max),
            max_per_ip: AtomicUsize::new(max_per_ip),
            overrides: Mutex::default(),
            per_ip: Mutex::default(),
            open: AtomicUsize::new(0),
            freed: Notify::new(),
        }
    }

    /// Changes `max.connections`.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
        self.freed.notify_waiters();
    }

    /// Changes `max.connections.per.ip`.
    pub fn set_max_per_ip(&self, max: usize) {
        self.max_per_ip.store(max, Ordering::Relaxed);
    }

    /// Changes `max.connections.per.ip.overrides`.
    pub fn set_overrides(&self, overrides: HashMap<IpAddr, usize>) {
        *self.overrides.lock().unwrap_or_else(PoisonError::into_inner) = overrides;
    }

    /// Connections open now, on all listeners that share these limits.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether `max.connections` is reached.
    pub(crate) fn is_full(&self) -> bool {
        self.open() >= self.max.load(Ordering::Relaxed)
    }

    /// Resolves when a connection has closed since this was enabled.
    pub(crate) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// Counts a new connection from `ip`, or `None` when that address has as many as it may.
    pub(crate) fn admit(self: &Arc<Self>, ip: IpAddr) -> Option<ConnectionPermit> {
        let ip = ip.to_canonical();
        let max = self.overrides.lock().unwrap_or_else(PoisonError::into_inner).get(&ip).copied();
        let max = max.unwrap_or_else(|| self.max_per_ip.load(Ordering::Relaxed));
        let mut per_ip = self.per_ip.lock().unwrap_or_else(PoisonError::into_inner);
        let count = per_ip.entry(ip).or_default();
        if *count >= max {
            if *count == 0 {
                per_ip.remove(&ip);
            }
            return None;
        }
        *count += 1;
        self.open.fetch_add(1, Ordering::Relaxed);
        Some(ConnectionPermit { limits: Arc::clone(self), ip })
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut per_ip = self.limits.per_ip.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = per_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                per_ip.remove(&self.ip);
            }
        }
        drop(per_ip);
        self.limits.open.fetch_sub(1, Ordering::Relaxed);
        self.limits.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_per_address_and_in_total() {
        let limits = Arc::new(ConnectionLimits::new(3, 2));
        let (a, b): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let first = limits.admit(a).unwrap();
        let _second = limits.admit("::ffff:10.0.0.1".parse().unwrap()).unwrap();
        assert!(limits.admit(a).is_none(), "the mapped form is the same address");
        assert!(!limits.is_full());
        let _third = limits.admit(b).unwrap();
        assert!(limits.is_full());
        drop(first);
        assert!(!limits.is_full());
        assert!(limits.admit(a).is_some());
        limits.set_overrides(HashMap::from([(b, 0)]));
        assert!(limits.admit(b).is_none());
        assert_eq!(limits.open(), 2);
    }
}
