//! Changing the header fields that a broker assigns, in place.
//!
//! Offsets and the leader epoch lie before the checksummed bytes, so setting them is free. Setting the timestamp
//! recomputes the checksum, and is skipped when nothing would change (`DefaultRecordBatch.setMaxTimestamp`).
//!
//! All functions take one whole batch of magic 2, checked before by [`BatchView`](crate::BatchView); others panic.

use ottla_types::{LeaderEpoch, Offset, TimestampMs};

use crate::batch::at;
use crate::cursor::{i32_at, i64_at, put};
use crate::{Attributes, HEADER_LEN, TimestampType, crc32c};

/// Sets the offset of the first record.
pub fn set_base_offset(batch: &mut [u8], offset: Offset) {
    assert_v2(batch);
    put(batch, at::BASE_OFFSET, &offset.0.to_be_bytes());
}

/// Sets the base offset so that the last offset becomes `offset`.
pub fn set_last_offset(batch: &mut [u8], offset: Offset) {
    assert_v2(batch);
    let delta = i64::from(i32_at(batch, at::LAST_OFFSET_DELTA));
    set_base_offset(batch, Offset(offset.0.wrapping_sub(delta)));
}

/// Sets the epoch of the appending leader.
pub fn set_leader_epoch(batch: &mut [u8], epoch: LeaderEpoch) {
    assert_v2(batch);
    put(batch, at::LEADER_EPOCH, &epoch.0.to_be_bytes());
}

/// Sets the maximum timestamp and the timestamp type, and the checksum if either differs from what is there. Returns
/// whether it did. Attribute bits that Kafka does not define are cleared then, as Kafka does.
pub fn set_max_timestamp(batch: &mut [u8], timestamp_type: TimestampType, timestamp: TimestampMs) -> bool {
    assert_v2(batch);
    let attributes = Attributes::from_bits(batch[at::ATTRIBUTES + 1]);
    if attributes.timestamp_type() == timestamp_type && i64_at(batch, at::MAX_TIMESTAMP) == timestamp {
        return false;
    }
    let bits = attributes.with_timestamp_type(timestamp_type).bits() & 0x7f;
    put(batch, at::ATTRIBUTES, &u16::from(bits).to_be_bytes());
    put(batch, at::MAX_TIMESTAMP, &timestamp.to_be_bytes());
    update_crc(batch);
    true
}

/// Recomputes the checksum after a change of the bytes it covers (attributes to end).
pub fn update_crc(batch: &mut [u8]) {
    assert_v2(batch);
    let crc = crc32c(&batch[at::ATTRIBUTES..]);
    put(batch, at::CRC, &crc.to_be_bytes());
}

fn assert_v2(batch: &[u8]) {
    assert!(batch.len() >= HEADER_LEN && batch[at::MAGIC] == 2, "only whole batches of magic 2 are patched");
}
