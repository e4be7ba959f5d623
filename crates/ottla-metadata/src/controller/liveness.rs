//! Heartbeats of brokers: fencing, unfencing, controlled shutdown, failed and cordoned directories.

use std::collections::BTreeSet;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_protocol::messages::broker_heartbeat_response::BrokerHeartbeatResponse;
use ottla_protocol::messages::broker_registration_change_record::BrokerRegistrationChangeRecord;
use ottla_types::{BrokerEpoch, NodeId, Offset, TimestampMs, Uuid};

use super::elections::{Change, registration_change};
use super::{Context, Controller, Decision, Effect};
use crate::ApiError;
use crate::features::MetadataVersion;
use crate::image::Broker;
use crate::record::VersionedRecord;

/// What the controller makes of a broker (`BrokerControlState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fenced,
    Unfenced,
    ControlledShutdown,
    ShutdownNow,
}

impl Controller {
    /// Notes that a broker was heard of. Call it as soon as a heartbeat is read, before it waits for its turn: a slow
    /// controller must not fence brokers.
    pub fn contact(&mut self, broker: NodeId, epoch: BrokerEpoch, now_ms: TimestampMs) {
        self.heartbeats.contact(broker, epoch, now_ms);
    }

    /// Answers a heartbeat (v0-2).
    pub fn broker_heartbeat(
        &self,
        _context: &Context,
        request: &BrokerHeartbeatRequest,
    ) -> Decision<BrokerHeartbeatResponse> {
        match self.try_heartbeat(request) {
            Ok(decision) => decision,
            Err(error) => Decision::reply(BrokerHeartbeatResponse {
                error_code: error.code.code(),
                ..BrokerHeartbeatResponse::default()
            }),
        }
    }

    fn try_heartbeat(
        &self,
        request: &BrokerHeartbeatRequest,
    ) -> Result<Decision<BrokerHeartbeatResponse>, ApiError> {
        let version = self.version()?;
        let (id, epoch) = (NodeId(request.broker_id), BrokerEpoch(request.broker_epoch));
        let broker = self.checked_broker(id, epoch)?;
        let registered_at = self.registered_at.get(&id).copied().ok_or(ErrorCode::StaleBrokerEpoch)?;
        let is_caught_up = request.current_metadata_offset >= registered_at.0;
        let now = self.current_state(id);
        let next = self.next_state(id, now, request, is_caught_up);
        let mut records = Vec::new();
        if next != now {
            match next {
                State::Fenced | State::ShutdownNow => self.fence(version, id, epoch, &mut records),
                State::Unfenced => self.unfence(version, id, epoch, &mut records),
                State::ControlledShutdown => self.enter_controlled_shutdown(version, id, epoch, &mut records),
            }
        }
        if version.has_directory_assignment() {
            self.note_offline_dirs(version, broker, &request.offline_log_dirs, &mut records);
        }
        if version.has_cordoned_dirs() {
            note_cordoned_dirs(broker, request.cordoned_log_dirs.as_deref(), &mut records);
        }
        let is_fenced = matches!(next, State::Fenced | State::ShutdownNow);
        let reply = BrokerHeartbeatResponse {
            is_caught_up,
            is_fenced,
            should_shut_down: next == State::ShutdownNow,
            error_code: ErrorCode::None.code(),
            throttle_time_ms: 0,
        };
        let effect = Effect::Heartbeat {
            broker: id,
            fenced: is_fenced,
            metadata_offset: Offset(request.current_metadata_offset),
            in_controlled_shutdown: next == State::ControlledShutdown,
            told_to_stop: next == State::ShutdownNow,
        };
        Ok(Decision { effect, ..Decision::of(records, reply) })
    }

    fn current_state(&self, id: NodeId) -> State {
        if self.heartbeats.controlled_shutdown(id).is_some() {
            State::ControlledShutdown
        } else if self.heartbeats.is_fenced(id) {
            State::Fenced
        } else {
            State::Unfenced
        }
    }

    fn next_state(&self, id: NodeId, now: State, request: &BrokerHeartbeatRequest, caught_up: bool) -> State {
        match now {
            State::Fenced if request.want_shut_down => State::ShutdownNow,
            State::Fenced if !request.want_fence && caught_up => State::Unfenced,
            State::Fenced => State::Fenced,
            State::Unfenced if request.want_fence && request.want_shut_down => State::ShutdownNow,
            State::Unfenced if request.want_fence => State::Fenced,
            State::Unfenced if request.want_shut_down && self.index.leads(id) => State::ControlledShutdown,
            State::Unfenced if request.want_shut_down => State::ShutdownNow,
            State::Unfenced => State::Unfenced,
            State::ControlledShutdown if self.index.leads(id) => State::ControlledShutdown,
            State::ControlledShutdown => {
                // All others must have learned who leads now.
                let wanted = self.heartbeats.controlled_shutdown(id).unwrap_or(Offset::MAX);
                let learned = wanted <= self.heartbeats.lowest_active_offset();
                if learned { State::ShutdownNow } else { State::ControlledShutdown }
            }
            State::ShutdownNow => State::ShutdownNow,
        }
    }

    /// The registration of a broker that names its right epoch.
    pub(super) fn checked_broker(&self, id: NodeId, epoch: BrokerEpoch) -> Result<&Broker, ApiError> {
        let stale = |text: String| ApiError::new(ErrorCode::StaleBrokerEpoch, text);
        match self.image.cluster().broker(id) {
            None => Err(stale(format!("No broker registration found for broker id {id}"))),
            Some(broker) if broker.epoch != epoch => {
                Err(stale(format!("Expected broker epoch {}, but got broker epoch {epoch}", broker.epoch)))
            }
            Some(broker) => Ok(broker),
        }
    }

    fn note_offline_dirs(
        &self,
        version: MetadataVersion,
        broker: &Broker,
        offline: &[Uuid],
        records: &mut Vec<VersionedRecord>,
    ) {
        let (failed, online): (Vec<_>, Vec<_>) =
            broker.directories.iter().partition(|dir| offline.contains(dir));
        if failed.is_empty() {
            return;
        }
        let change = Change { leaving: Some(broker.id), ..Change::default() };
        for directory in failed {
            self.update_leaders(version, change, self.index.in_directory(directory), records);
        }
        let record = BrokerRegistrationChangeRecord {
            log_dirs: online,
            ..registration_change(broker.id, broker.epoch)
        };
        records.push(VersionedRecord::new(record, 2));
    }

    /// Fences the broker whose session ran out first, if any. Answers whether there was one: then call again.
    ///
    /// # Errors
    /// Before the cluster has a `metadata.version`.
    pub fn fence_stale_broker(&self, now_ms: TimestampMs) -> Result<Decision<bool>, ApiError> {
        let version = self.version()?;
        let Some((id, epoch)) = self.heartbeats.expired(now_ms) else { return Ok(Decision::reply(false)) };
        let mut records = Vec::new();
        if self.image.cluster().broker(id).is_some_and(|broker| broker.epoch == epoch && !broker.fenced) {
            self.fence(version, id, epoch, &mut records);
        }
        let effect = Effect::SessionExpired { broker: id, epoch };
        Ok(Decision { effect, ..Decision::of(records, true) })
    }
}

fn note_cordoned_dirs(broker: &Broker, cordoned: Option<&[Uuid]>, records: &mut Vec<VersionedRecord>) {
    let Some(cordoned) = cordoned else { return };
    let set = |dirs: &[Uuid]| dirs.iter().copied().collect::<BTreeSet<_>>();
    if broker.cordoned.as_deref().is_none_or(|known| set(known) != set(cordoned)) {
        let record = BrokerRegistrationChangeRecord {
            cordoned_log_dirs: Some(cordoned.to_vec()),
            ..registration_change(broker.id, broker.epoch)
        };
        records.push(VersionedRecord::new(record, 3));
    }
}
