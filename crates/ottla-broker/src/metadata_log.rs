//! The metadata log of this node: the quorum, and the loader that turns what is committed into images.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_config::Values;
use ottla_metadata::image::{Loader, MetadataDelta, MetadataImage};
use ottla_metadata::{ReplayError, UnwritableError, VersionedRecord};
use ottla_protocol::messages::MetadataRecord;
use ottla_protocol::records::FramedRecord as _;
use ottla_protocol::wire::Reader;
use ottla_quorum::snapshot::{SnapshotId, SnapshotRetention};
use ottla_quorum::{
    BatchRecords, MetadataBatch, MetadataLogConfig, QuorumConfig, QuorumError, QuorumNode, VoterSet,
    open_metadata_log, read_bootstrap,
};
use ottla_storage::fs::Fs;
use ottla_storage::log::{Log, LogError};
use ottla_types::{LeaderEpoch, Offset};
use tracing::info;

use crate::load_notes;
use crate::random;

/// Bytes of committed batches read at a time.
const READ_BYTES: u32 = 4 << 20;

/// Why the metadata log cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MetadataLogError {
    #[error(transparent)]
    Quorum(#[from] QuorumError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error("the image cannot become a snapshot: {0}")]
    Unwritable(#[from] UnwritableError),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// When snapshots are made and old ones removed.
#[derive(Clone, Copy, Debug)]
struct SnapshotPolicy {
    /// `metadata.log.max.record.bytes.between.snapshots`.
    max_bytes: u64,
    /// `metadata.log.max.snapshot.interval.ms`; 0 for never by time.
    max_interval_ms: i64,
    retention: SnapshotRetention,
}

/// The quorum as its leader sees it.
#[derive(Clone, Debug)]
pub(crate) struct QuorumView {
    pub(crate) epoch: LeaderEpoch,
    pub(crate) high_watermark: Offset,
    /// End of this node's log, which leads.
    pub(crate) end_offset: Offset,
    pub(crate) kraft_version: i16,
    pub(crate) voters: VoterSet,
}

/// The log, driven by the controller's thread.
#[derive(Debug)]
pub(crate) struct MetadataLog {
    node: QuorumNode<Log>,
    loader: Loader,
    /// Committed batches below are in the loader.
    applied: Offset,
    bytes_since_snapshot: u64,
    last_snapshot_ms: i64,
    policy: SnapshotPolicy,
    bootstrap: Vec<Vec<u8>>,
}

impl MetadataLog {
    /// Opens the log below a metadata directory, takes up the leadership of a quorum of one, and reads everything that is
    /// committed.
    pub(crate) fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        quorum: QuorumConfig,
        values: &Values,
        now_ms: i64,
    ) -> Result<Self, MetadataLogError> {
        let config = MetadataLogConfig {
            segment_bytes: u32::try_from(
                values
                    .opt_int("internal.metadata.log.segment.bytes")
                    .unwrap_or_else(|| values.int("metadata.log.segment.bytes")),
            )
            .unwrap_or(1 << 30),
            segment_ms: values.long("metadata.log.segment.ms"),
        };
        let (log, report) = open_metadata_log(Arc::clone(&fs), dir, config, now_ms)?;
        load_notes::tell("metadata log", &report);
        let bootstrap = read_bootstrap(fs.as_ref(), dir)?.unwrap_or_default();
        let mut node = QuorumNode::open(fs, dir, quorum, log, now_ms)?;
        node.start(now_ms)?;
        node.flush(now_ms)?;
        let policy = SnapshotPolicy {
            max_bytes: u64::try_from(values.long("metadata.log.max.record.bytes.between.snapshots"))
                .unwrap_or(0),
            max_interval_ms: values.long("metadata.log.max.snapshot.interval.ms"),
            retention: SnapshotRetention {
                bytes: values.long("metadata.max.retention.bytes"),
                ms: values.long("metadata.max.retention.ms"),
            },
        };
        let mut this = Self {
            node,
            loader: Loader::default(),
            applied: Offset::ZERO,
            bytes_since_snapshot: 0,
            last_snapshot_ms: now_ms,
            policy,
            bootstrap,
        };
        if let Some(snapshot) = this.node.newest_snapshot()? {
            let image = MetadataImage::from_snapshot(
                snapshot.id.end_offset,
                snapshot.id.epoch,
                snapshot.last_contained_log_timestamp,
                snapshot.values(),
            )?;
            this.applied = snapshot.id.end_offset;
            this.loader.load_snapshot(image);
        }
        this.load_committed()?;
        this.loader.publish();
        Ok(this)
    }

    /// Everything committed so far.
    pub(crate) fn image(&self) -> &MetadataImage {
        self.loader.image()
    }

    /// The records that formatting left for an empty cluster.
    pub(crate) fn bootstrap(&self) -> Result<Vec<VersionedRecord>, ReplayError> {
        let decode = |value: &Vec<u8>| {
            let mut reader = Reader::shared(Bytes::from(value.clone()));
            let (record, version) = MetadataRecord::read(&mut reader)
                .map_err(|error| ReplayError::Undecodable(error.to_string()))?;
            Ok(VersionedRecord { record, version })
        };
        self.bootstrap.iter().map(decode).collect()
    }

    /// Offset of the next record.
    pub(crate) fn end_offset(&self) -> Offset {
        self.node.quorum().end_offset()
    }

    /// Everything below is committed.
    pub(crate) fn high_watermark(&self) -> Offset {
        self.node.quorum().high_watermark().unwrap_or(Offset::ZERO)
    }

    /// The quorum's epoch.
    pub(crate) fn epoch(&self) -> LeaderEpoch {
        self.node.quorum().election().epoch
    }

    /// `kraft.version`.
    pub(crate) fn kraft_version(&self) -> i16 {
        self.node.quorum().kraft_version()
    }

    /// Epoch, offsets and voters.
    pub(crate) fn quorum_view(&self) -> QuorumView {
        QuorumView {
            epoch: self.epoch(),
            high_watermark: self.high_watermark(),
            end_offset: self.end_offset(),
            kraft_version: self.kraft_version(),
            voters: self.node.quorum().voters().clone(),
        }
    }

    /// Appends records; they are committed by the next [`MetadataLog::commit`].
    pub(crate) fn append(
        &mut self,
        records: &[VersionedRecord],
        atomic: bool,
        now_ms: i64,
    ) -> Result<(), MetadataLogError> {
        let values: Vec<Vec<u8>> = records.iter().map(VersionedRecord::to_bytes).collect();
        self.node.append(&values, atomic, now_ms)?;
        Ok(())
    }

    /// Makes what was appended durable and returns what it changed.
    pub(crate) fn commit(&mut self, now_ms: i64) -> Result<Vec<MetadataDelta>, MetadataLogError> {
        if self.high_watermark() < self.end_offset() {
            self.node.flush(now_ms)?;
            self.load_committed()?;
        }
        Ok(self.loader.publish())
    }

    fn load_committed(&mut self) -> Result<(), MetadataLogError> {
        while self.applied < self.high_watermark() {
            let batches = self.node.read_committed(self.applied, READ_BYTES)?;
            let before = self.applied;
            for batch in &batches {
                self.load_batch(batch)?;
            }
            if self.applied == before {
                break;
            }
        }
        Ok(())
    }

    fn load_batch(&mut self, batch: &MetadataBatch) -> Result<(), MetadataLogError> {
        if batch.last_offset < self.applied {
            return Ok(());
        }
        match &batch.records {
            BatchRecords::Data(values) => {
                let values = values.iter().map(Vec::as_slice);
                self.loader.load_batch(batch.base_offset, batch.epoch, batch.timestamp_ms, values)?;
            }
            BatchRecords::Control(_) => {
                self.loader.skip_batch(batch.last_offset, batch.epoch, batch.timestamp_ms);
            }
        }
        self.applied = batch.last_offset.next();
        self.bytes_since_snapshot += batch.size_bytes as u64;
        Ok(())
    }

    /// Makes a snapshot when it is time, and removes old ones.
    pub(crate) fn maintain(&mut self, now_ms: i64) -> Result<(), MetadataLogError> {
        let by_time = self.policy.max_interval_ms > 0
            && now_ms - self.last_snapshot_ms >= self.policy.max_interval_ms
            && self.bytes_since_snapshot > 0;
        if self.bytes_since_snapshot >= self.policy.max_bytes || by_time {
            self.make_snapshot(now_ms)?;
        }
        self.node.clean(self.policy.retention, now_ms)?;
        Ok(())
    }

    fn make_snapshot(&mut self, now_ms: i64) -> Result<(), MetadataLogError> {
        let image = self.loader.image();
        let provenance = image.provenance();
        if !provenance.at_batch_end || provenance.last_offset < Offset::ZERO {
            return Ok(());
        }
        let id = SnapshotId { end_offset: provenance.last_offset.next(), epoch: provenance.epoch };
        self.last_snapshot_ms = now_ms;
        self.bytes_since_snapshot = 0;
        let Some(mut writer) = self.node.begin_snapshot(id, provenance.time_ms, now_ms, random::u64())?
        else {
            return Ok(());
        };
        for record in image.to_records()? {
            writer.append(record.to_bytes())?;
        }
        let size_bytes = writer.freeze()?;
        self.node.finish_snapshot(id, size_bytes, provenance.time_ms);
        info!("made a snapshot of the metadata at offset {}, {size_bytes} bytes", id.end_offset);
        Ok(())
    }

    /// Closes the log in order.
    pub(crate) fn close(mut self, now_ms: i64) -> Result<(), MetadataLogError> {
        self.commit(now_ms)?;
        self.node.log_mut().close(now_ms)?;
        Ok(())
    }
}

/// Where the metadata partition lives below a log directory, for messages.
pub(crate) fn metadata_path(dir: &Path) -> PathBuf {
    dir.join(ottla_quorum::METADATA_DIR)
}
