//! One record: its view, its headers, and how it is laid out in magic 2.

use std::borrow::Cow;

use ottla_types::varint::{len_u32, len_u64, put_i32, put_i64, zigzag32, zigzag64};
use ottla_types::{Offset, Sequence, TimestampMs};

use crate::batch::add_sequence;
use crate::cursor::Cursor;
use crate::{BatchHeader, RecordError, TimestampType};

/// A record, borrowed from its batch (or from the buffer it was decompressed into).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Absolute offset.
    pub offset: Offset,
    /// Milliseconds since the epoch; -1 none. In a `LogAppendTime` batch the append time.
    pub timestamp: TimestampMs,
    /// Sequence of the record, or [`Sequence::NONE`].
    pub sequence: Sequence,
    /// Key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// Value; `None` is null, a tombstone in compacted topics.
    pub value: Option<&'a [u8]>,
    /// Headers; always empty in magic 0 and 1.
    pub headers: Headers<'a>,
    /// Bytes of the record as stored (uncompressed), its length field included.
    pub size_in_bytes: usize,
}

/// A header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Key; UTF-8 by contract, any bytes in fact.
    pub key: &'a [u8],
    /// Value; `None` is null.
    pub value: Option<&'a [u8]>,
}

impl<'a> Header<'a> {
    /// A header to write.
    pub fn new(key: &'a str, value: Option<&'a [u8]>) -> Self {
        Self { key: key.as_bytes(), value }
    }

    /// The key as text, with U+FFFD for what is not UTF-8.
    pub fn key_text(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.key)
    }
}

/// The headers of a record: an iterator over bytes that were checked when the record was read.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> Headers<'a> {
    /// Number of headers that are left.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The last header with `key`, as Kafka's `Headers.lastHeader`.
    pub fn last_with_key(&self, key: &str) -> Option<Header<'a>> {
        self.filter(|header| header.key == key.as_bytes()).last()
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.count = self.count.checked_sub(1)?;
        let mut cursor = Cursor::new(self.bytes);
        let header = read_header(&mut cursor).ok()?;
        self.bytes = cursor.rest();
        Some(header)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for Headers<'_> {}

impl std::fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

pub(crate) const MAX_VARINT_LEN: usize = 5;
pub(crate) const MAX_VARLONG_LEN: usize = 10;
pub(crate) const BAD_STRUCTURE: RecordError = RecordError::InvalidRecord("Found invalid record structure");

/// What the records of a batch count from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordBase {
    offset: i64,
    timestamp: TimestampMs,
    sequence: i32,
    /// Overrides every timestamp when the batch's type is `LogAppendTime`.
    log_append_time: Option<TimestampMs>,
}

impl RecordBase {
    pub(crate) fn of(header: &BatchHeader<'_>) -> Self {
        let log_append = header.timestamp_type() == TimestampType::LogAppendTime;
        Self {
            offset: header.base_offset().0,
            timestamp: header.base_timestamp(),
            sequence: header.base_sequence().0,
            log_append_time: log_append.then(|| header.max_timestamp()),
        }
    }

    pub(crate) fn offset(&self, delta: i32) -> Offset {
        Offset(self.offset.wrapping_add(i64::from(delta)))
    }

    pub(crate) fn timestamp(&self, delta: i64) -> TimestampMs {
        self.log_append_time.unwrap_or(self.timestamp.wrapping_add(delta))
    }

    fn sequence(&self, delta: i32) -> Sequence {
        if self.sequence >= 0 { Sequence(add_sequence(self.sequence, delta)) } else { Sequence::NONE }
    }
}

/// Reads a record whose body (what follows its length field) is exactly `body`; `size_in_bytes` counts the length too.
pub(crate) fn read_body<'a>(
    body: &'a [u8],
    size_in_bytes: usize,
    base: &RecordBase,
) -> Result<RecordView<'a>, RecordError> {
    let mut cursor = Cursor::new(body);
    let _attributes = cursor.u8().ok_or(BAD_STRUCTURE)?;
    let timestamp_delta = cursor.varlong().ok_or(BAD_STRUCTURE)?;
    let offset_delta = cursor.varint().ok_or(BAD_STRUCTURE)?;
    let key = cursor.nullable_bytes().ok_or(BAD_STRUCTURE)?;
    let value = cursor.nullable_bytes().ok_or(BAD_STRUCTURE)?;
    let headers = read_headers(&mut cursor)?;
    if !cursor.is_empty() {
        return Err(LEFT_OVER);
    }
    Ok(RecordView {
        offset: base.offset(offset_delta),
        timestamp: base.timestamp(timestamp_delta),
        sequence: base.sequence(offset_delta),
        key,
        value,
        headers,
        size_in_bytes,
    })
}

pub(crate) const LEFT_OVER: RecordError =
    RecordError::InvalidRecord("Invalid record size: bytes remain after the headers");
pub(crate) const BAD_HEADER_KEY: RecordError = RecordError::InvalidRecord("Invalid negative header key size");

/// The number of headers, of which each takes at least one of the `left` bytes.
#[inline]
pub(crate) fn header_count(count: i32, left: usize) -> Result<usize, RecordError> {
    let count = usize::try_from(count)
        .map_err(|_| RecordError::InvalidRecord("Found invalid number of record headers: it is negative"))?;
    if count > left {
        return Err(RecordError::InvalidRecord(
            "Found invalid number of record headers: it is larger than the remaining size of the record",
        ));
    }
    Ok(count)
}

fn read_headers<'a>(cursor: &mut Cursor<'a>) -> Result<Headers<'a>, RecordError> {
    let count = cursor.varint().ok_or(BAD_STRUCTURE)?;
    let bytes = cursor.rest();
    let count = header_count(count, bytes.len())?;
    for _ in 0..count {
        read_header(cursor)?;
    }
    Ok(Headers { bytes: &bytes[..bytes.len() - cursor.rest().len()], count })
}

fn read_header<'a>(cursor: &mut Cursor<'a>) -> Result<Header<'a>, RecordError> {
    let key = cursor.nullable_bytes().ok_or(BAD_STRUCTURE)?.ok_or(BAD_HEADER_KEY)?;
    let value = cursor.nullable_bytes().ok_or(BAD_STRUCTURE)?;
    Ok(Header { key, value })
}

fn size_of_bytes(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| len_u64((bytes.len() as u64) << 1) + bytes.len())
}

/// What [`write`] writes.
pub(crate) struct NewRecord<'a, H> {
    pub(crate) offset_delta: i32,
    pub(crate) timestamp_delta: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: H,
}

impl<'a, H: ExactSizeIterator<Item = Header<'a>> + Clone> NewRecord<'a, H> {
    /// Bytes of the record, its length field included.
    pub(crate) fn size_in_bytes(&self) -> usize {
        let body = self.body_size();
        len_u64((body as u64) << 1) + body
    }

    fn body_size(&self) -> usize {
        let headers = self.headers.clone();
        1 + len_u64(zigzag64(self.timestamp_delta))
            + len_u32(zigzag32(self.offset_delta))
            + size_of_bytes(self.key)
            + size_of_bytes(self.value)
            + len_u64((headers.len() as u64) << 1)
            + headers
                .map(|header| size_of_bytes(Some(header.key)) + size_of_bytes(header.value))
                .sum::<usize>()
    }

    /// Appends the record; the caller has checked that [`size_in_bytes`](Self::size_in_bytes) fits an `i32`.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        let body = self.body_size();
        put_len(out, body);
        out.push(0);
        put_i64(out, self.timestamp_delta);
        put_i32(out, self.offset_delta);
        put_bytes(out, self.key);
        put_bytes(out, self.value);
        put_len(out, self.headers.len());
        for header in self.headers {
            put_bytes(out, Some(header.key));
            put_bytes(out, header.value);
        }
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_i32(out, -1),
        Some(bytes) => {
            put_len(out, bytes.len());
            out.extend_from_slice(bytes);
        }
    }
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    put_i32(out, i32::try_from(len).expect("the record's size was checked"));
}
