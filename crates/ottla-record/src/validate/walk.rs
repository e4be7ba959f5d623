//! Walking the records of a batch that is kept as it is: lengths and numbers are read, keys and values skipped.

use ottla_types::{NO_TIMESTAMP, Offset, TimestampMs};

use super::fault::Faults;
use super::{InvalidBatch, Rules};
use crate::cursor::Cursor;
use crate::record::{BAD_HEADER_KEY, BAD_STRUCTURE, LEFT_OVER, RecordBase, header_count};
use crate::records::{CUT, REMAINING, peek_length, plain_body};
use crate::stream::Stream;
use crate::{BatchView, RecordError, RecordView, TimestampType};

/// What the walk finds out.
pub(super) struct Survey {
    pub(super) count: i32,
    pub(super) max_timestamp: TimestampMs,
    pub(super) index_of_max_timestamp: Option<i32>,
}

/// What validation needs of a record.
pub(super) struct Skim {
    offset: Offset,
    timestamp: TimestampMs,
    /// Negative: null.
    key_len: i64,
    value_len: i64,
}

impl Skim {
    pub(super) fn of(record: &RecordView<'_>) -> Self {
        let len = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64);
        let (key_len, value_len) = (len(record.key), len(record.value));
        Self { offset: record.offset, timestamp: record.timestamp, key_len, value_len }
    }

    /// As Kafka prints records; those of which it skipped key and value go by another name.
    fn text(&self, partial: bool) -> String {
        let (name, least) = if partial { ("PartialDefaultRecord", i64::MIN) } else { ("DefaultRecord", 0) };
        format!(
            "{name}(offset={}, timestamp={}, key={} bytes, value={} bytes)",
            self.offset,
            self.timestamp,
            self.key_len.max(least),
            self.value_len.max(least)
        )
    }
}

/// Checks records one by one, in order (`LogValidator.validateRecord`).
pub(super) struct Examiner<'a> {
    rules: &'a Rules<'a>,
    now: TimestampMs,
    log_append: bool,
    /// Whether Kafka would read these records without keys and values.
    partial: bool,
    faults: Faults,
    survey: Survey,
}

impl<'a> Examiner<'a> {
    pub(super) fn new(batch: &BatchView<'_>, rules: &'a Rules<'a>, now: TimestampMs, partial: bool) -> Self {
        Self {
            rules,
            now,
            log_append: batch.timestamp_type() == TimestampType::LogAppendTime,
            partial,
            faults: Faults::default(),
            survey: Survey { count: 0, max_timestamp: NO_TIMESTAMP, index_of_max_timestamp: None },
        }
    }

    /// Whether nothing was wrong so far.
    pub(super) fn is_content(&self) -> bool {
        self.faults.is_empty()
    }

    #[inline]
    pub(super) fn examine(&mut self, record: &Skim) {
        let index = self.survey.count;
        self.survey.count += 1;
        if record.timestamp > self.survey.max_timestamp {
            self.survey.max_timestamp = record.timestamp;
            self.survey.index_of_max_timestamp = Some(index);
        }
        let rules = self.rules;
        if rules.compacted && record.key_len < 0 {
            self.faults.add(index, false, || {
                format!(
                    "Compacted topic cannot accept message without key in topic partition {}",
                    rules.topic_partition
                )
            });
        } else if rules.timestamp_type == TimestampType::CreateTime && record.timestamp != NO_TIMESTAMP {
            self.examine_timestamp(index, record);
        } else if self.log_append {
            let partial = self.partial;
            self.faults.add(index, true, || {
                format!(
                    "Invalid timestamp type in message {}. Producer should not set timestamp type to \
                     LogAppendTime.",
                    record.text(partial)
                )
            });
        }
    }

    fn examine_timestamp(&mut self, index: i32, record: &Skim) {
        let (before, after) = (self.rules.timestamp_before_max_ms, self.rules.timestamp_after_max_ms);
        let age = self.now.wrapping_sub(record.timestamp);
        if age > before || age.wrapping_neg() > after {
            let range = (self.now.wrapping_sub(before), self.now.wrapping_add(after));
            self.faults.add(index, true, || {
                format!(
                    "Timestamp {} of message with offset {} is out of range. The timestamp should be within \
                     [{}, {}]",
                    record.timestamp, record.offset, range.0, range.1
                )
            });
        }
    }

    pub(super) fn finish(self) -> Result<Survey, InvalidBatch> {
        self.faults.into_result()?;
        Ok(self.survey)
    }
}

/// Checks every record of `batch`, which keeps its codec.
pub(super) fn survey(
    batch: &BatchView<'_>,
    rules: &Rules<'_>,
    now: TimestampMs,
) -> Result<Survey, InvalidBatch> {
    let compressed = batch.attributes().is_compressed();
    let mut examiner = Examiner::new(batch, rules, now, compressed);
    let base = RecordBase::of(batch);
    let count = batch.record_count();
    if count < 0 {
        return Err(InvalidBatch::Refused(format!("Found invalid record count {count} in magic v2 batch")));
    }
    if count > 0 && compressed {
        let mut stream = Stream::of_batch(batch, rules.limits)?;
        for index in 0..count {
            let record = skim(&mut stream, &base, rules.limits.max_record_bytes)?;
            // Kafka fails here too, for it wants to rebuild the batch from records whose keys it has skipped.
            if record.offset.0 != i64::from(index) {
                return Err(InvalidBatch::Refused(format!(
                    "offset {} of record {index} in a compressed batch does not follow the one before",
                    record.offset
                )));
            }
            examiner.examine(&record);
        }
        if !stream.is_at_end()? {
            return Err(REMAINING.into());
        }
    } else if count > 0 {
        let mut cursor = Cursor::new(batch.body());
        for _ in 0..count {
            let (body, _) = plain_body(&mut cursor)?;
            examiner.examine(&skim_body(body, &base)?);
        }
        if !cursor.is_empty() {
            return Err(REMAINING.into());
        }
    }
    examiner.finish()
}

/// Records up to this size are read in one piece, which is faster.
const WHOLE: usize = 16 * 1024;

fn skim(stream: &mut Stream<'_>, base: &RecordBase, max: usize) -> Result<Skim, RecordError> {
    let (prefix, body) = peek_length(stream, max)?;
    if body > WHOLE {
        stream.consume(prefix);
        return skim_long(&mut Piece { stream, left: body }, base);
    }
    if !stream.ensure(prefix + body)? {
        return Err(CUT);
    }
    stream.consume(prefix);
    skim_body(stream.take(body), base)
}

/// Reads what is needed of a record whose body is `body`; the checks are those of `read_body`.
#[inline]
fn skim_body(body: &[u8], base: &RecordBase) -> Result<Skim, RecordError> {
    let mut cursor = Cursor::new(body);
    let _attributes = cursor.u8().ok_or(BAD_STRUCTURE)?;
    let timestamp_delta = cursor.varlong().ok_or(BAD_STRUCTURE)?;
    let offset_delta = cursor.varint().ok_or(BAD_STRUCTURE)?;
    let key_len = i64::from(cursor.skip_bytes().ok_or(BAD_STRUCTURE)?);
    let value_len = i64::from(cursor.skip_bytes().ok_or(BAD_STRUCTURE)?);
    let headers = cursor.varint().ok_or(BAD_STRUCTURE)?;
    for _ in 0..header_count(headers, cursor.rest().len())? {
        if cursor.skip_bytes().ok_or(BAD_STRUCTURE)? < 0 {
            return Err(BAD_HEADER_KEY);
        }
        cursor.skip_bytes().ok_or(BAD_STRUCTURE)?;
    }
    if !cursor.is_empty() {
        return Err(LEFT_OVER);
    }
    Ok(Skim {
        offset: base.offset(offset_delta),
        timestamp: base.timestamp(timestamp_delta),
        key_len,
        value_len,
    })
}

/// The rest of a record that is not buffered whole.
struct Piece<'s, 'a> {
    stream: &'s mut Stream<'a>,
    left: usize,
}

impl Piece<'_, '_> {
    fn used<T>(&mut self, (value, len): (T, usize)) -> Result<T, RecordError> {
        self.left = self.left.checked_sub(len).ok_or(BAD_STRUCTURE)?;
        Ok(value)
    }

    fn varint(&mut self) -> Result<i32, RecordError> {
        let read = self.stream.varint()?;
        self.used(read)
    }

    /// Skips a length and that many bytes; returns the length.
    fn skip_bytes(&mut self) -> Result<i32, RecordError> {
        let len = self.varint()?;
        if let Ok(skipped) = usize::try_from(len) {
            self.used(((), skipped))?;
            self.stream.skip(skipped)?;
        }
        Ok(len)
    }
}

fn skim_long(record: &mut Piece<'_, '_>, base: &RecordBase) -> Result<Skim, RecordError> {
    let attributes = record.stream.u8()?;
    record.used(attributes)?;
    let timestamp_delta = record.stream.varlong()?;
    let timestamp_delta = record.used(timestamp_delta)?;
    let offset_delta = record.varint()?;
    let key_len = i64::from(record.skip_bytes()?);
    let value_len = i64::from(record.skip_bytes()?);
    let headers = record.varint()?;
    for _ in 0..header_count(headers, record.left)? {
        if record.skip_bytes()? < 0 {
            return Err(BAD_HEADER_KEY);
        }
        record.skip_bytes()?;
    }
    if record.left > 0 {
        return Err(LEFT_OVER);
    }
    Ok(Skim {
        offset: base.offset(offset_delta),
        timestamp: base.timestamp(timestamp_delta),
        key_len,
        value_len,
    })
}
