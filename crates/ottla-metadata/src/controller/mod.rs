//! The controller: takes requests, answers with records and replies, and changes its state only by replaying records.
//!
//! How it is driven, on one thread, together with the quorum (`ottla-quorum`) and its log:
//!
//! 1. At start: [`Controller::new`], then [`Controller::load`] with the image of the newest snapshot, then
//!    [`Controller::replay`] for each record of the log, with its offset.
//! 2. When the quorum says that this node leads and that its log is committed: [`Controller::activate`], then accept the
//!    decision of [`Controller::activation`]. From then on requests are served.
//! 3. A request: call its method, which reads the state and returns a [`Decision`]. Encode the records and append them to the
//!    quorum (as one batch when [`Decision::atomic`]); the quorum says at which offset the first of them is. Then
//!    [`Controller::accept`], which replays them, and returns the offset to wait for. The reply leaves when the high watermark
//!    is past that offset. Also a decision without records waits so: it may rest on records that are not committed yet.
//! 4. From time to time: [`Controller::no_op`] every `metadata.max.idle.interval.ms`; [`Controller::fence_stale_broker`] every
//!    eighth of the session timeout until it answers false; [`Controller::balance_leaders`] and
//!    [`Controller::elect_unclean_leaders`] at their intervals.
//! 5. After a failed append or a lost leadership: drop the controller and start at 1.
//!
//! A reply never has a throttle time: quotas are the shell's. Requests that make or delete partitions ask
//! [`ChargePartitions`] for each topic.

mod activation;
mod alter_client_quotas;
mod alter_configs;
mod alter_partition;
mod assign_dirs;
mod assignment;
mod create_partitions;
mod create_topics;
mod decision;
mod delete_topics;
mod elections;
mod heartbeats;
mod index;
mod liveness;
mod partition_change;
pub mod placement;
mod producer_ids;
mod reassignments;
mod registration;
mod scram;
mod settings;
mod update_features;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use ottla_protocol::messages::MetadataRecord;
use ottla_types::{NodeId, Offset, TimestampMs};

pub use activation::{ELR_BOOTSTRAP_KEY, bootstrap_records};
pub use decision::{Context, Decision, Effect};
pub use delete_topics::TopicAccess;
pub use settings::Settings;

use self::heartbeats::Heartbeats;
use self::index::Index;
use crate::features::MetadataVersion;
use crate::image::{Changes, MetadataImage};
use crate::record::VersionedRecord;
use crate::{ApiError, ReplayError};

/// Most records of an atomic decision; larger decisions are split into batches of this size.
pub const MAX_RECORDS_PER_BATCH: usize = 10_000;

/// Told how many partitions a request is about to make or delete for a topic; refuses what is beyond a quota (KIP-599).
pub type ChargePartitions<'a> = &'a mut dyn FnMut(usize) -> Result<(), ApiError>;

/// For requests without a quota.
///
/// # Errors
/// None.
pub fn free_of_charge(_partitions: usize) -> Result<(), ApiError> {
    Ok(())
}

/// Most partitions that one CreateTopics or CreatePartitions request may make.
const MAX_PARTITIONS_PER_REQUEST: usize = 10_000;

/// The controller's state. See the module's documentation for how it is driven.
#[derive(Clone, Debug)]
pub struct Controller {
    settings: Settings,
    /// Everything replayed, committed or not.
    image: MetadataImage,
    index: Index,
    /// Offset of each broker's newest registration record: a broker has caught up when it applied it.
    registered_at: BTreeMap<NodeId, Offset>,
    heartbeats: Heartbeats,
    /// While a metadata transaction is open: where it began, and the state before it.
    transaction: Option<(Offset, Box<MetadataImage>)>,
    active: bool,
}

impl Controller {
    /// A controller of an empty cluster.
    pub fn new(settings: Settings) -> Self {
        let session_timeout_ms = settings.session_timeout_ms;
        Self {
            settings,
            image: MetadataImage::default(),
            index: Index::default(),
            registered_at: BTreeMap::new(),
            heartbeats: Heartbeats::new(session_timeout_ms),
            transaction: None,
            active: false,
        }
    }

    /// Replaces the state by a snapshot's image.
    pub fn load(&mut self, image: MetadataImage) {
        let offset = image.provenance().last_offset;
        self.registered_at = image.cluster().brokers().map(|broker| (broker.id, offset)).collect();
        self.index = Index::of(image.topics());
        self.image = image;
        self.transaction = None;
    }

    /// The state: everything replayed, also what is not committed yet. Not for readers: those take the image of the
    /// [`Loader`](crate::image::Loader), which is fed with committed batches.
    pub fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// Whether [`Controller::activate`] was called.
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// Takes up the leadership: the sessions of all unfenced brokers start anew.
    pub fn activate(&mut self, now_ms: TimestampMs) {
        self.active = true;
        self.heartbeats = Heartbeats::new(self.settings.session_timeout_ms);
        for broker in self.image.cluster().brokers() {
            self.heartbeats.register(broker.id, broker.fenced);
            if !broker.fenced {
                self.heartbeats.contact(broker.id, broker.epoch, now_ms);
            }
        }
    }

    /// Ends a broker's session, after [`Controller::activate`]: of the broker in this very process, whose former incarnation
    /// ended with the former process. It may then register again at once.
    pub fn end_session(&mut self, broker: NodeId) {
        if let Some(registered) = self.image.cluster().broker(broker) {
            self.heartbeats.expire(broker, registered.epoch);
        }
    }

    /// Replays the records of a decision, the first of which was appended at `base_offset`, and returns the offset that
    /// has to be committed before the reply may leave. For a decision without records `base_offset` is the end of the log.
    ///
    /// # Errors
    /// When a record does not fit: the controller must be dropped.
    pub fn accept<R>(&mut self, decision: &Decision<R>, base_offset: Offset) -> Result<Offset, ReplayError> {
        let mut next = base_offset;
        for record in &decision.records {
            self.replay(&record.record, next)?;
            next = next.next();
        }
        let last = Offset(next.0.saturating_sub(1));
        self.apply_effect(&decision.effect, last);
        Ok(last)
    }

    /// Applies one record of the log.
    ///
    /// # Errors
    /// When it does not fit: the controller must be dropped.
    pub fn replay(&mut self, record: &MetadataRecord<'_>, offset: Offset) -> Result<(), ReplayError> {
        match record {
            MetadataRecord::BeginTransaction(_) => {
                if self.transaction.is_some() {
                    return Err(ReplayError::Transaction("begins inside an open one"));
                }
                self.transaction = Some((offset, Box::new(self.image.clone())));
            }
            MetadataRecord::EndTransaction(_) => {
                let open = self.transaction.take();
                open.ok_or(ReplayError::Transaction("ends where none is open"))?;
            }
            MetadataRecord::AbortTransaction(_) => {
                let open = self.transaction.take();
                let (_, before) = open.ok_or(ReplayError::Transaction("is aborted where none is open"))?;
                self.index = Index::of(before.topics());
                self.registered_at.retain(|id, _| before.cluster().broker(*id).is_some());
                self.image = *before;
            }
            _ => self.replay_change(record, offset)?,
        }
        Ok(())
    }

    fn replay_change(&mut self, record: &MetadataRecord<'_>, offset: Offset) -> Result<(), ReplayError> {
        // The topic is still there to be taken out of the index.
        if let MetadataRecord::RemoveTopic(removed) = record
            && let Some(topic) = self.image.topics().by_id(removed.topic_id)
        {
            self.index.remove_topic(topic);
        }
        let mut changes = Changes::default();
        let before = self.index.before(record, self.image.topics());
        self.image.replay(record, &mut changes)?;
        self.index.after(before, &changes, self.image.topics());
        for id in changes.brokers {
            self.note_broker(record, id, offset);
        }
        Ok(())
    }

    /// Keeps the volatile state of brokers in step with a record about broker `id`.
    fn note_broker(&mut self, record: &MetadataRecord<'_>, id: NodeId, offset: Offset) {
        match record {
            MetadataRecord::RegisterBroker(_) => {
                self.registered_at.insert(id, offset);
                self.heartbeats.remove(id);
            }
            MetadataRecord::UnregisterBroker(_) => {
                self.registered_at.remove(&id);
                self.heartbeats.remove(id);
            }
            _ => {}
        }
        if let Some(broker) = self.image.cluster().broker(id) {
            self.heartbeats.register(id, broker.fenced);
        }
    }

    /// The cluster's `metadata.version`.
    ///
    /// # Errors
    /// Before the bootstrap records are replayed: the controller is not ready for requests.
    fn version(&self) -> Result<MetadataVersion, ApiError> {
        self.image
            .features()
            .metadata_version()
            .ok_or_else(|| ottla_protocol::ErrorCode::NotController.into())
    }

    /// A record that changes nothing, which keeps the log moving.
    pub fn no_op(&self) -> Decision<()> {
        Decision::of(vec![VersionedRecord::new(ottla_protocol::messages::NoOpRecord::default(), 0)], ())
    }
}
