//! A future log: the copy of a log in another directory, which takes its place when it has caught up
//! (`ReplicaAlterLogDirsThread`, KIP-113).

use std::io;

use ottla_types::{LeaderEpoch, Offset};

use super::{AppendError, EpochEnd, Log, LogError, LogSlice, ReadError, ReadRequest};

/// What a future log is to take next of the one that it copies.
#[derive(Debug)]
pub struct Chunk {
    slice: Option<LogSlice>,
    /// Where the slice begins.
    start: Offset,
    /// Where the copied log began.
    log_start: Offset,
    /// Where the copied log ended.
    end: Offset,
    /// What the copied log knows of the future one's newest epoch, as a leader tells its follower.
    agreed: Option<EpochEnd>,
}

/// What became of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is in the future log, which grew by so many bytes.
    Bytes(usize),
    /// The future log had something else and was cut, so that another chunk comes next. Before that goes in, the recovery point must
    /// be written ([`LogDirs::checkpoint_cut`](crate::dir::LogDirs::checkpoint_cut)): the old one speaks of what was there.
    Cut,
    /// It was at the end: nothing is lacking.
    Nothing,
}

impl Chunk {
    /// The batches; none at the end.
    ///
    /// # Errors
    /// As reading a file.
    pub fn read(&self) -> io::Result<Option<Vec<u8>>> {
        self.slice.as_ref().map(LogSlice::read).transpose()
    }
}

impl Log {
    /// What a future log that ends at `end`, with `epoch` its newest, lacks first of this one: at most `max_bytes`, but one batch.
    ///
    /// # Errors
    /// The disk.
    pub fn chunk_after(
        &self,
        end: Offset,
        epoch: Option<LeaderEpoch>,
        max_bytes: u32,
    ) -> Result<Chunk, ReadError> {
        let newest =
            || EpochEnd { epoch: self.latest_epoch().unwrap_or(LeaderEpoch::NONE), end: self.log_end };
        let agreed = epoch.map(|epoch| self.end_offset_for_epoch(epoch).unwrap_or_else(newest));
        let offset = end.max(self.log_start).min(self.log_end);
        let upper_bound = self.log_end;
        let read = self.read(ReadRequest {
            offset,
            max_bytes,
            min_one_batch: true,
            upper_bound,
            aborted_transactions: false,
        })?;
        let (start, log_start) = (read.start.offset, self.log_start);
        Ok(Chunk { slice: read.slice, start, log_start, end: self.log_end, agreed })
    }

    /// Takes a chunk, whose batches are `bytes`, into this future log.
    ///
    /// # Errors
    /// The disk; or the batches do not follow what is here.
    pub fn take_chunk(
        &mut self,
        chunk: &Chunk,
        bytes: Option<&[u8]>,
        now_ms: i64,
    ) -> Result<Taken, AppendError> {
        let end = self.log_end;
        let mut common = self.common_end(chunk);
        if bytes.is_some() {
            // This log may end inside of a batch of the other one.
            common = common.min(chunk.start);
        }
        if end > common {
            self.truncate_to(common, now_ms).map_err(AppendError::Log)?;
            return Ok(Taken::Cut);
        }
        // What this log has, if anything, is below the start of the other one, and so may be the end of a transaction in it. A gap
        // above that start is what compaction has left, and the copy has it, too.
        let begins_anew = chunk.log_start > end;
        let Some(bytes) = bytes else {
            if end < chunk.end && begins_anew {
                self.truncate_fully_and_start_at(chunk.end, None, now_ms).map_err(AppendError::Log)?;
            } else if end < chunk.end {
                // Compaction has removed the last records; the log ends after them all the same.
                self.skip_to(chunk.end, now_ms).map_err(AppendError::Log)?;
            }
            return Ok(Taken::Nothing);
        };
        // What lies below has gone from the current log in the meantime, or never was in this one.
        if chunk.start > end && begins_anew {
            self.truncate_fully_and_start_at(chunk.start, None, now_ms).map_err(AppendError::Log)?;
        }
        Ok(Taken::Bytes(self.append_as_follower(bytes, LeaderEpoch(i32::MAX), now_ms)?.written_bytes))
    }

    /// Ends the log at `end`, with a new segment there, though nothing lies before it.
    fn skip_to(&mut self, end: Offset, now_ms: i64) -> Result<(), LogError> {
        self.write(|log| {
            log.roll_at(end, now_ms)?;
            log.log_end = end;
            Ok(())
        })
    }

    /// How far this log has the history of the copied one, as far as their epochs tell (KIP-101). A crash may take from the copied
    /// log what this one keeps, and other records are there then.
    fn common_end(&self, chunk: &Chunk) -> Offset {
        let Some(agreed) = chunk.agreed else { return chunk.end };
        let own = self.end_offset_for_epoch(agreed.epoch).map_or(self.log_end, |own| own.end);
        own.min(agreed.end).min(chunk.end)
    }

    /// Makes the rest of a future log that has caught up what `current` is: its start, its epochs, all of it durable.
    ///
    /// # Errors
    /// The disk.
    pub fn take_over(&mut self, current: &Self, now_ms: i64) -> Result<(), LogError> {
        if let Some(topic_id) = current.topic_id() {
            // A crash may have taken it from a copy that was not durable yet.
            self.assign_topic_id(topic_id)?;
        }
        // The copy may have records that were compacted away there since: they keep their epoch.
        let own = self.epoch_entries().to_vec();
        for entry in current.epoch_entries() {
            let here = own.iter().find(|own| own.epoch == entry.epoch).map(|own| own.start);
            self.assign_epoch_start(entry.epoch, here.map_or(entry.start, |here| here.min(entry.start)));
        }
        self.set_high_watermark(current.high_watermark());
        match self.advance_log_start(current.log_start_offset().min(self.high_watermark())) {
            Ok(_) | Err(ReadError::OffsetOutOfRange { .. }) => {}
            Err(ReadError::Log(error)) => return Err(error),
        }
        self.flush(now_ms)?;
        Ok(())
    }
}
