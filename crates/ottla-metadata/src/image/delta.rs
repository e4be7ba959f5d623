//! An image on its way to the next one.

use ottla_protocol::messages::MetadataRecord;

use super::{Changes, MetadataImage, Provenance};
use crate::ReplayError;

/// The changes since an image. Replay records, then [`MetadataDelta::image`] is the next image.
#[derive(Clone, Debug)]
pub struct MetadataDelta {
    base: MetadataImage,
    image: MetadataImage,
    changes: Changes,
}

impl MetadataDelta {
    /// Nothing changed yet.
    pub fn new(base: MetadataImage) -> Self {
        Self { image: base.clone(), base, changes: Changes::default() }
    }

    /// The delta that replaces `base` by the image of a snapshot: what the snapshot lacks is deleted.
    pub fn replace(base: MetadataImage, image: MetadataImage) -> Self {
        let changes = Changes::between(&base, &image);
        Self { base, image, changes }
    }

    /// Applies a record.
    ///
    /// # Errors
    /// When the record does not fit the state; the delta is then of no more use.
    pub fn replay(&mut self, record: &MetadataRecord<'_>) -> Result<(), ReplayError> {
        self.image.replay(record, &mut self.changes)
    }

    /// The image before.
    pub fn base(&self) -> &MetadataImage {
        &self.base
    }

    /// The image after.
    pub fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// What changed.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    pub(super) fn set_provenance(&mut self, provenance: Provenance) {
        self.image.set_provenance(provenance);
    }
}
