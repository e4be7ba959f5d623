//! Writing the records of a batch anew, with the codec of the topic.

use ottla_types::{NO_TIMESTAMP, Offset, ProducerEpoch, ProducerId, TimestampMs};

use super::walk::{Examiner, Skim, Survey};
use super::{InvalidBatch, Rules};
use crate::{BatchBuilder, BatchView, Codec, TimestampType};

/// Checks every record of `batch`, and builds one of them at offset 0 with `target`.
///
/// The base timestamp becomes that of the first record, and the offsets consecutive, whatever they were. Memory: the
/// decompressed records, at most `limits.max_batch_bytes`, and what they compress to.
pub(super) fn rebuild(
    batch: &BatchView<'_>,
    target: Codec,
    rules: &Rules<'_>,
    now: TimestampMs,
) -> Result<(Survey, Vec<u8>), InvalidBatch> {
    let mut examiner = Examiner::new(batch, rules, now, false);
    let mut builder = BatchBuilder::new()
        .codec(target)
        .producer(batch.producer_id(), batch.producer_epoch(), batch.base_sequence())
        .transactional(batch.attributes().is_transactional())
        .control(batch.attributes().is_control());
    if rules.timestamp_type == TimestampType::LogAppendTime {
        builder = builder.log_append_time(now);
    }
    let mut records = batch.records_within(rules.limits)?;
    let mut offset = Offset::ZERO;
    let mut negative = None;
    while let Some(record) = records.try_next()? {
        examiner.examine(&Skim::of(&record));
        if !examiner.is_content() {
            continue;
        }
        if record.timestamp < NO_TIMESTAMP {
            negative.get_or_insert(record.timestamp);
        }
        builder.push(offset, record.timestamp, record.key, record.value, record.headers)?;
        offset = offset.next();
    }
    let survey = examiner.finish()?;
    if let Some(timestamp) = negative {
        return Err(InvalidBatch::Refused(format!("Invalid negative timestamp {timestamp}")));
    }
    check_producer(batch)?;
    Ok((survey, builder.build()?))
}

/// What Kafka's `MemoryRecordsBuilder` demands of a producer, and a batch that keeps its codec gets away with.
fn check_producer(batch: &BatchView<'_>) -> Result<(), InvalidBatch> {
    let refused = |message: &str| Err(InvalidBatch::Refused(message.to_owned()));
    if batch.producer_id() == ProducerId::NONE {
        return if batch.attributes().is_transactional() {
            refused("Cannot write transactional messages without a valid producer ID")
        } else {
            Ok(())
        };
    }
    if batch.producer_epoch() == ProducerEpoch::NONE {
        return refused("Invalid negative producer epoch");
    }
    if batch.base_sequence().0 < 0 && !batch.attributes().is_control() {
        return refused("Invalid negative sequence number used");
    }
    Ok(())
}
