//! From the batches of the committed log to images (`MetadataLoader`, `MetadataBatchLoader`).

use ottla_protocol::messages::MetadataRecord;
use ottla_types::{LeaderEpoch, Offset, TimestampMs};

use super::{Changes, MetadataDelta, MetadataImage, Provenance};
use crate::{ReplayError, record};

/// A delta to tell everybody about: its [`MetadataDelta::image`] is the image to publish.
pub type Publication = MetadataDelta;

/// Turns committed batches into images.
///
/// Call [`Loader::load_batch`] for each committed data batch in order ([`Loader::skip_batch`] for a control batch), then
/// [`Loader::publish`] when there are none left for now: it yields the deltas since the last call, usually one. Nothing of an
/// open metadata transaction is published; an aborted one never is. A snapshot that replaces the log goes through
/// [`Loader::load_snapshot`].
#[derive(Clone, Debug, Default)]
pub struct Loader {
    /// The last image published.
    published: MetadataImage,
    /// What follows it, outside of a transaction or inside an open one.
    delta: Option<MetadataDelta>,
    /// Deltas that are complete, but not yet handed out.
    ready: Vec<Publication>,
    in_transaction: bool,
}

impl Loader {
    /// Starts at an image, as one read from a snapshot.
    pub fn new(image: MetadataImage) -> Self {
        Self { published: image, ..Self::default() }
    }

    /// The last image handed out, or that it was made with.
    pub fn image(&self) -> &MetadataImage {
        &self.published
    }

    /// Whether a metadata transaction is open.
    pub fn in_transaction(&self) -> bool {
        self.in_transaction
    }

    /// Reads one data batch: the values of its records, with what its header says.
    ///
    /// # Errors
    /// When a record cannot be read or does not fit the state. The node cannot go on.
    pub fn load_batch<'a>(
        &mut self,
        base_offset: Offset,
        epoch: LeaderEpoch,
        time_ms: TimestampMs,
        values: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), ReplayError> {
        let mut offset = base_offset;
        for value in values {
            let before = Provenance {
                last_offset: Offset(offset.0.saturating_sub(1)),
                epoch,
                time_ms,
                at_batch_end: offset == base_offset,
            };
            let (record, _) = record::decode(value)?;
            self.replay(&record, before)?;
            offset = offset.next();
        }
        self.note_end(Offset(offset.0.saturating_sub(1)), epoch, time_ms);
        Ok(())
    }

    /// Passes over a control batch, whose last offset the next image covers.
    pub fn skip_batch(&mut self, last_offset: Offset, epoch: LeaderEpoch, time_ms: TimestampMs) {
        self.note_end(last_offset, epoch, time_ms);
    }

    /// Replaces everything by a snapshot's image. The delta is handed out by the next [`Loader::publish`].
    pub fn load_snapshot(&mut self, image: MetadataImage) {
        self.in_transaction = false;
        self.delta = None;
        let base = self.ready.last().map_or(&self.published, MetadataDelta::image).clone();
        self.ready.push(MetadataDelta::replace(base, image));
    }

    /// Hands out what is new since the last call, oldest first.
    pub fn publish(&mut self) -> Vec<Publication> {
        if !self.in_transaction {
            self.finish_delta();
        }
        let ready = std::mem::take(&mut self.ready);
        if let Some(last) = ready.last() {
            self.published = last.image().clone();
        }
        ready
    }

    fn current(&mut self) -> &mut MetadataDelta {
        let base = self.ready.last().map_or(&self.published, MetadataDelta::image);
        self.delta.get_or_insert_with(|| MetadataDelta::new(base.clone()))
    }

    fn finish_delta(&mut self) {
        self.ready.extend(self.delta.take());
    }

    fn note_end(&mut self, last_offset: Offset, epoch: LeaderEpoch, time_ms: TimestampMs) {
        self.current().set_provenance(Provenance { last_offset, epoch, time_ms, at_batch_end: true });
    }

    fn replay(&mut self, record: &MetadataRecord<'_>, before: Provenance) -> Result<(), ReplayError> {
        match record {
            MetadataRecord::BeginTransaction(_) if self.in_transaction => {
                Err(ReplayError::Transaction("begins inside an open one"))
            }
            MetadataRecord::BeginTransaction(_) => {
                // What came before belongs to everybody, even when it is in the same batch.
                if let Some(delta) = &mut self.delta {
                    if !before.at_batch_end {
                        delta.set_provenance(before);
                    }
                    self.finish_delta();
                }
                self.in_transaction = true;
                Ok(())
            }
            MetadataRecord::EndTransaction(_) if !self.in_transaction => {
                Err(ReplayError::Transaction("ends where none is open"))
            }
            MetadataRecord::AbortTransaction(_) if !self.in_transaction => {
                Err(ReplayError::Transaction("is aborted where none is open"))
            }
            MetadataRecord::EndTransaction(_) => {
                self.in_transaction = false;
                Ok(())
            }
            MetadataRecord::AbortTransaction(_) => {
                self.in_transaction = false;
                self.delta = None;
                Ok(())
            }
            other => self.current().replay(other),
        }
    }
}

impl MetadataImage {
    /// The image of a snapshot: the values of its data records, in order, and what its file name and header say.
    ///
    /// # Errors
    /// When a record cannot be read or does not fit the ones before it.
    pub fn from_snapshot<'a>(
        end_offset: Offset,
        epoch: LeaderEpoch,
        last_timestamp_ms: TimestampMs,
        values: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, ReplayError> {
        let (mut image, mut changes) = (Self::default(), Changes::default());
        for value in values {
            let (record, _) = record::decode(value)?;
            image.replay(&record, &mut changes)?;
        }
        image.set_provenance(Provenance {
            last_offset: Offset(end_offset.0.saturating_sub(1)),
            epoch,
            time_ms: last_timestamp_ms,
            at_batch_end: true,
        });
        Ok(image)
    }
}
