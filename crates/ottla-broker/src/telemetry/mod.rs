//! Metrics that clients push (KIP-714): who is to push what, and the last numbers of each client, for the node's own metrics.
//!
//! Kafka hands pushed metrics to plug-ins of its operators and tells clients about the API only when it has one. Here
//! `ottla.client.telemetry.enable` stands for the plug-in: with it, the numbers are kept and shown; without, the API answers
//! but is not advertised, and nothing is kept.

mod clients;
mod otlp;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ottla_config::Props;
use ottla_metadata::image::{MetadataImage, ResourceKind};
use ottla_protocol::ErrorCode;
use ottla_record::{Compression, decompress};
use ottla_types::Uuid;
use prost::Message as _;
use tracing::{debug, info};

use self::clients::Clients;
pub(crate) use self::clients::{Caller, ClientAttributes, Granted, Push};
use self::otlp::MetricsData;
use crate::broker::props;
use crate::{clock, random};

/// Numbers kept of one client.
const MAX_POINTS_PER_CLIENT: usize = 500;
/// Numbers kept of all clients.
const MAX_POINTS: usize = 10_000;

/// The node's side of client telemetry.
#[derive(Debug)]
pub(crate) struct Telemetry {
    is_enabled: bool,
    max_bytes: usize,
    state: Mutex<State>,
    pushes: AtomicU64,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    clients: Clients,
    shown: HashMap<Uuid, Shown>,
    points: usize,
}

/// The last numbers of a client.
#[derive(Debug, Default)]
struct Shown {
    client_id: String,
    points: BTreeMap<(String, String), f64>,
}

/// A number of a client, for whoever shows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClientPoint {
    pub(crate) client_id: String,
    pub(crate) instance: Uuid,
    pub(crate) name: String,
    pub(crate) attributes: String,
    pub(crate) value: f64,
}

impl Telemetry {
    pub(crate) fn new(is_enabled: bool, max_bytes: usize) -> Self {
        Self {
            is_enabled,
            max_bytes,
            state: Mutex::default(),
            pushes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether clients are told that they can push.
    pub(crate) fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// `telemetry.max.bytes`.
    pub(crate) fn max_bytes(&self) -> i32 {
        i32::try_from(self.max_bytes).unwrap_or(i32::MAX)
    }

    /// Takes over a changed subscription.
    pub(crate) fn subscribe(&self, name: &str, settings: &Props) {
        self.state().clients.subscribe(name, settings);
    }

    /// Takes over all subscriptions, at the start.
    pub(crate) fn subscribe_all(&self, image: &MetadataImage) {
        for (resource, config) in image.configs().iter() {
            if resource.kind == ResourceKind::ClientMetrics {
                self.subscribe(&resource.name, &props(config));
            }
        }
    }

    /// What a client is to push.
    ///
    /// # Errors
    /// See [`Clients::get`].
    pub(crate) fn get(&self, wanted: Uuid, caller: Caller<'_>) -> Result<Granted, ErrorCode> {
        self.state().clients.get(wanted, caller, clock::now_ms(), random::uuid)
    }

    /// Takes a client's metrics.
    ///
    /// # Errors
    /// See [`Clients::push`]; and `INVALID_RECORD` for metrics that cannot be read or unpack to more than the limit.
    pub(crate) fn push(&self, push: Push, metrics: &[u8], caller: Caller<'_>) -> Result<(), ErrorCode> {
        let codec = self.state().clients.push(push, caller, clock::now_ms(), self.max_bytes);
        let taken = codec.and_then(|codec| self.take(push, codec, metrics, caller));
        let counter = if taken.is_ok() { &self.pushes } else { &self.refused };
        counter.fetch_add(1, Ordering::Relaxed);
        taken
    }

    fn take(
        &self,
        push: Push,
        codec: Compression,
        metrics: &[u8],
        caller: Caller<'_>,
    ) -> Result<(), ErrorCode> {
        if metrics.is_empty() {
            return Ok(());
        }
        let unpacked = decompress(codec, metrics, self.max_bytes).map_err(|error| error.to_string());
        if !self.is_enabled && unpacked.is_ok() {
            return Ok(());
        }
        let data = unpacked
            .and_then(|bytes| MetricsData::decode(bytes.as_slice()).map_err(|error| error.to_string()));
        let mut state = self.state();
        let data = data.map_err(|error| {
            info!(client_instance_id = %push.instance, error, "cannot read a client's metrics");
            state.clients.refuse(push.instance);
            ErrorCode::InvalidRecord
        })?;
        let client_id = &caller.attributes.client_id;
        let count = state.show(push.instance, client_id, data);
        debug!(client_instance_id = %push.instance, client_id, count, push.terminating, "client metrics");
        if push.terminating {
            state.forget(push.instance);
        }
        Ok(())
    }

    /// A connection was closed on which telemetry was spoken.
    pub(crate) fn disconnected(&self, connection: u64) {
        let mut state = self.state();
        if let Some(id) = state.clients.disconnected(connection) {
            state.forget(id);
        }
    }

    /// Forgets clients that were quiet for too long.
    pub(crate) fn expire(&self) {
        let mut state = self.state();
        for id in state.clients.expire(clock::now_ms()) {
            state.forget(id);
        }
    }

    /// The last numbers of all clients.
    pub(crate) fn points(&self) -> Vec<ClientPoint> {
        let state = self.state();
        let mut points: Vec<_> = state.shown.iter().flat_map(|(id, shown)| shown.points(*id)).collect();
        points.sort_by(|a, b| (&a.client_id, a.instance, &a.name).cmp(&(&b.client_id, b.instance, &b.name)));
        points
    }

    /// Clients known now, pushes taken and refused.
    pub(crate) fn counts(&self) -> (usize, u64, u64) {
        let instances = self.state().clients.len();
        (instances, self.pushes.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }
}

impl Shown {
    fn points(&self, instance: Uuid) -> impl Iterator<Item = ClientPoint> {
        self.points.iter().map(move |((name, attributes), value)| ClientPoint {
            client_id: self.client_id.clone(),
            instance,
            name: name.clone(),
            attributes: attributes.clone(),
            value: *value,
        })
    }
}

impl State {
    /// Keeps numbers as far as there is room; tells how many there were.
    fn show(&mut self, id: Uuid, client_id: &str, data: MetricsData) -> usize {
        let shown = self.shown.entry(id).or_default();
        client_id.clone_into(&mut shown.client_id);
        let mut count = 0;
        for point in data.into_points() {
            count += 1;
            let key = (point.name, point.attributes);
            if let Some(known) = shown.points.get_mut(&key) {
                *known = if point.is_delta { *known + point.value } else { point.value };
            } else if shown.points.len() < MAX_POINTS_PER_CLIENT && self.points < MAX_POINTS {
                shown.points.insert(key, point.value);
                self.points += 1;
            }
        }
        count
    }

    fn forget(&mut self, id: Uuid) {
        if let Some(shown) = self.shown.remove(&id) {
            self.points -= shown.points.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use ottla_record::Codec;

    use super::*;

    fn pushed(telemetry: &Telemetry, metrics: &[u8], terminating: bool) -> Result<(), ErrorCode> {
        let attributes = ClientAttributes { client_id: "app".into(), ..ClientAttributes::default() };
        let caller = Caller { connection: 5, attributes: &attributes };
        let id = Uuid::from_parts(3, 4);
        let granted = telemetry.get(id, caller);
        let subscription_id = granted.map_or(0, |granted| granted.subscription_id);
        let mut packed = Vec::new();
        Codec::from(Compression::Gzip).compress(metrics, &mut packed).unwrap();
        let push =
            Push { instance: id, subscription_id, terminating, compression_type: 1, bytes: packed.len() };
        telemetry.push(push, &packed, caller)
    }

    fn telemetry(max_bytes: usize) -> Telemetry {
        let telemetry = Telemetry::new(true, max_bytes);
        let settings = Props::from([("interval.ms".to_owned(), "100".to_owned())]);
        telemetry.subscribe("s", &settings);
        telemetry
    }

    #[test]
    fn gauges_are_replaced_and_deltas_summed_until_the_client_goes() {
        let telemetry = telemetry(100_000);
        pushed(&telemetry, &otlp::tests::pushed(1.5, 3), false).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(120));
        pushed(&telemetry, &otlp::tests::pushed(2.5, 4), false).unwrap();
        let points = telemetry.points();
        let values: Vec<_> = points.iter().map(|point| (point.name.as_str(), point.value)).collect();
        assert_eq!(values, [("latency", 2.5), ("records", 7.0)]);
        assert_eq!(points[0].client_id, "app");
        telemetry.disconnected(5);
        assert!(telemetry.points().is_empty());
        assert_eq!(telemetry.counts(), (0, 2, 0));
    }

    #[test]
    fn what_unpacks_to_too_much_or_to_nonsense_is_refused() {
        let bomb = telemetry(5000);
        assert_eq!(pushed(&bomb, &vec![0; 1_000_000], false), Err(ErrorCode::InvalidRecord));
        let nonsense = telemetry(1000);
        assert_eq!(pushed(&nonsense, &[0xff; 50], false), Err(ErrorCode::InvalidRecord));
        assert_eq!(nonsense.counts().2, 1);
    }
}
