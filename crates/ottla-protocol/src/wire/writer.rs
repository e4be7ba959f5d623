//! Writing messages, or counting the bytes that they would take.

use bytes::Bytes;
use ottla_types::{Uuid, varint};

use super::reader::MAX_STRING;
use super::{Element, EncodeFault, RecordData, VersionRange};

/// Longest value on the wire in bytes (`Integer.MAX_VALUE`).
const MAX_LENGTH: usize = i32::MAX as usize;

/// Writes messages; or only counts, so that the same code gives the exact size first.
///
/// The first error sticks and what is written after it has no meaning.
#[derive(Debug)]
pub struct Writer {
    buf: Vec<u8>,
    /// Bytes so far, with those of the gaps.
    len: usize,
    /// Bytes of the gaps.
    external: usize,
    is_counting: bool,
    gaps: Vec<Gap>,
    version: i16,
    is_flexible: bool,
    fault: Option<EncodeFault>,
    throttle_time_ms: i32,
    error_codes: Vec<i16>,
}

/// Record data that is not in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gap {
    /// Position in the buffer before which the external bytes go.
    at: usize,
    len: usize,
}

/// What was written: bytes, with gaps where external record data goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    buf: Bytes,
    gaps: Vec<Gap>,
}

/// A stretch of an encoded message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Bytes to send as they are.
    Bytes(Bytes),
    /// Length in bytes of external record data, in the order in which the message holds them.
    External(usize),
}

/// The tagged section of a struct while it is written.
#[derive(Debug)]
pub struct Tags {
    /// Where the count is in the buffer.
    at: usize,
}

/// A tagged field while it is written: where its value starts.
#[derive(Clone, Copy, Debug)]
pub struct TagStart {
    buf: usize,
    len: usize,
}

impl Writer {
    /// A writer that writes, with memory for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { buf: Vec::with_capacity(capacity), is_counting: false, ..Self::counting() }
    }

    /// A writer that only counts.
    pub fn counting() -> Self {
        Self {
            buf: Vec::new(),
            len: 0,
            external: 0,
            is_counting: true,
            gaps: Vec::new(),
            version: 0,
            is_flexible: false,
            fault: None,
            throttle_time_ms: 0,
            error_codes: Vec::new(),
        }
    }

    /// Makes every `ThrottleTimeMs` at least `ms`, so that a quota need not know the message.
    #[must_use]
    pub fn throttling(self, ms: i32) -> Self {
        Self { throttle_time_ms: ms, ..self }
    }

    /// The largest throttle time that was asked for or written.
    pub(crate) fn throttled_ms(&self) -> i32 {
        self.throttle_time_ms.max(0)
    }

    /// The error codes that were written, without 0.
    pub(crate) fn take_error_codes(&mut self) -> Vec<i16> {
        std::mem::take(&mut self.error_codes)
    }

    /// Bytes written or counted so far, external record data included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The same without external record data: what it takes in memory.
    pub(crate) fn len_in_memory(&self) -> usize {
        self.len - self.external
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The version of the message being written.
    pub fn version(&self) -> i16 {
        self.version
    }

    /// The first error.
    pub fn fault(&self) -> Option<EncodeFault> {
        self.fault
    }

    /// What was written.
    pub fn finish(self) -> Encoded {
        Encoded { buf: self.buf.into(), gaps: self.gaps }
    }

    /// What was written, where there cannot be external record data.
    pub(crate) fn into_vec(self) -> Vec<u8> {
        debug_assert!(self.gaps.is_empty(), "no record data in records");
        self.buf
    }

    pub(super) fn begin(&mut self, versions: VersionRange, version: i16, first_flexible: Option<i16>) {
        self.version = version;
        self.is_flexible = first_flexible.is_some_and(|first| version >= first);
        if !versions.contains(version) {
            self.fail(EncodeFault::UnsupportedVersion);
        }
    }

    #[cold]
    fn fail(&mut self, fault: EncodeFault) {
        self.fault.get_or_insert(fault);
    }

    /// Notes that a field holds something that the version cannot express.
    #[cold]
    pub fn not_in_version(&mut self, field: &'static str) {
        self.fail(EncodeFault::FieldNotInVersion(field));
    }

    /// Writes bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        if !self.is_counting {
            self.buf.extend_from_slice(bytes);
        }
    }

    /// Writes one byte.
    pub fn bool(&mut self, value: bool) {
        self.raw(&[u8::from(value)]);
    }

    /// Writes one byte.
    pub fn i8(&mut self, value: i8) {
        self.raw(&value.to_be_bytes());
    }

    /// Writes two bytes, as all fixed-size numbers in big-endian order.
    pub fn i16(&mut self, value: i16) {
        self.raw(&value.to_be_bytes());
    }

    /// Writes two bytes.
    pub fn u16(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }

    /// Writes the field `ThrottleTimeMs` of a response; see [`Writer::throttling`].
    pub fn throttle_time_ms(&mut self, value: i32) {
        // Without a quota the message's own value stays as it is.
        self.throttle_time_ms =
            if self.throttle_time_ms > 0 { self.throttle_time_ms.max(value) } else { value };
        self.i32(self.throttle_time_ms);
    }

    /// Writes a field `ErrorCode`, and takes note of it.
    pub fn error_code(&mut self, value: i16) {
        if value != 0 && !self.is_counting {
            self.error_codes.push(value);
        }
        self.i16(value);
    }

    /// Writes four bytes.
    pub fn i32(&mut self, value: i32) {
        self.raw(&value.to_be_bytes());
    }

    /// Writes four bytes.
    pub fn u32(&mut self, value: u32) {
        self.raw(&value.to_be_bytes());
    }

    /// Writes eight bytes.
    pub fn i64(&mut self, value: i64) {
        self.raw(&value.to_be_bytes());
    }

    /// Writes eight bytes.
    pub fn f64(&mut self, value: f64) {
        self.raw(&value.to_be_bytes());
    }

    /// Writes sixteen bytes.
    pub fn uuid(&mut self, value: Uuid) {
        self.raw(value.as_bytes());
    }

    /// Writes an unsigned variable-length number.
    pub fn uvarint(&mut self, value: u32) {
        let (bytes, len) = varint::encode_u64(u64::from(value));
        self.raw(bytes.get(..len).unwrap_or_default());
    }

    /// The length before bytes, records and arrays.
    fn length(&mut self, length: usize) {
        match (i32::try_from(length), u32::try_from(length + 1)) {
            (Ok(_), Ok(compact)) if self.is_flexible => self.uvarint(compact),
            (Ok(plain), _) => self.i32(plain),
            _ => self.fail(EncodeFault::TooLong),
        }
    }

    fn null(&mut self, nullable: bool) {
        if !nullable {
            self.fail(EncodeFault::UnexpectedNull);
        }
        if self.is_flexible { self.uvarint(0) } else { self.i32(-1) }
    }

    fn text(&mut self, text: &str, is_flexible: bool) {
        match i16::try_from(text.len()) {
            Ok(_) if is_flexible => self.uvarint(text.len() as u32 + 1),
            Ok(length) => self.i16(length),
            Err(_) => self.fail(EncodeFault::TooLong),
        }
        debug_assert!(self.fault.is_some() || text.len() <= MAX_STRING, "checked above");
        self.raw(text.as_bytes());
    }

    /// Writes a string.
    pub fn string(&mut self, value: &str) {
        self.text(value, self.is_flexible);
    }

    /// Writes a string or, when `nullable`, null.
    pub fn nullable_string(&mut self, value: Option<&str>, nullable: bool) {
        match value {
            Some(value) => self.text(value, self.is_flexible),
            None if self.is_flexible || !nullable => self.null(nullable),
            None => self.i16(-1),
        }
    }

    /// Writes a string or null as old versions have it, whatever the version.
    pub fn inflexible_nullable_string(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.text(value, false),
            None => self.i16(-1),
        }
    }

    /// Writes bytes.
    pub fn bytes(&mut self, value: &[u8]) {
        self.length(value.len());
        self.raw(value);
    }

    /// Writes bytes or, when `nullable`, null.
    pub fn nullable_bytes(&mut self, value: Option<&[u8]>, nullable: bool) {
        match value {
            Some(value) => self.bytes(value),
            None => self.null(nullable),
        }
    }

    /// Writes record data or, when `nullable`, null; leaves a gap for external data.
    pub fn records(&mut self, value: Option<&RecordData<'_>>, nullable: bool) {
        let Some(records) = value else { return self.null(nullable) };
        self.length(records.len());
        match records.as_slice() {
            Some(bytes) => self.raw(bytes),
            None => {
                self.len += records.len();
                self.external += records.len();
                if !self.is_counting {
                    self.gaps.push(Gap { at: self.buf.len(), len: records.len() });
                }
            }
        }
    }

    /// Writes an array.
    pub fn array<'a, T: Element<'a>>(&mut self, elements: &[T]) {
        self.length(elements.len());
        for element in elements {
            element.write_to(self);
        }
    }

    /// Writes an array or, when `nullable`, null.
    pub fn nullable_array<'a, T: Element<'a>>(&mut self, elements: Option<&[T]>, nullable: bool) {
        match elements {
            Some(elements) => self.array(elements),
            None => self.null(nullable),
        }
    }

    /// Writes a struct or, when `nullable`, null: one byte says which.
    pub fn nullable_struct<'a, T: Element<'a>>(&mut self, value: Option<&T>, nullable: bool) {
        match value {
            Some(value) => {
                if nullable {
                    self.i8(1);
                }
                value.write_to(self);
            }
            None if nullable => self.i8(-1),
            None => self.fail(EncodeFault::UnexpectedNull),
        }
    }

    /// Writes a tagged struct or null: here a varint says which.
    pub fn nullable_tagged_struct<'a, T: Element<'a>>(&mut self, value: Option<&T>) {
        self.uvarint(u32::from(value.is_some()));
        if let Some(value) = value {
            value.write_to(self);
        }
    }

    /// Writes the empty tagged section of a struct; nothing in versions without.
    pub fn no_tags(&mut self) {
        if self.is_flexible {
            self.raw(&[0]);
        }
    }

    /// Begins the tagged section at the end of a struct.
    pub fn tags(&mut self) -> Tags {
        let at = self.buf.len();
        self.no_tags();
        Tags { at }
    }

    /// Begins a tagged field. Tags must grow.
    pub fn tag(&mut self, tags: &mut Tags, tag: u32) -> TagStart {
        debug_assert!(self.is_flexible, "tagged fields need a flexible version");
        // No struct has 128 tagged fields, so the count stays one byte.
        if let Some(count) = self.buf.get_mut(tags.at) {
            *count += 1;
        }
        self.uvarint(tag);
        TagStart { buf: self.buf.len(), len: self.len }
    }

    /// Ends a tagged field: puts its size before its value.
    pub fn end_tag(&mut self, start: TagStart) {
        let size = self.len - start.len;
        debug_assert!(self.is_counting || self.buf.len() - start.buf == size, "no gap in a tagged field");
        if size > MAX_LENGTH {
            return self.fail(EncodeFault::TooLong);
        }
        let (bytes, len) = varint::encode_u64(size as u64);
        self.len += len;
        if !self.is_counting {
            self.buf.splice(start.buf..start.buf, bytes.into_iter().take(len));
        }
    }
}

impl Encoded {
    /// The bytes, when there is no external record data.
    pub fn into_bytes(self) -> Option<Vec<u8>> {
        self.gaps.is_empty().then(|| self.buf.into())
    }

    /// Bytes with those of external record data.
    pub fn len(&self) -> usize {
        self.buf.len() + self.gaps.iter().map(|gap| gap.len).sum::<usize>()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The message in sending order: stretches of bytes and external record data.
    pub fn into_parts(self) -> Vec<Part> {
        let mut parts = Vec::with_capacity(self.gaps.len() * 2 + 1);
        let mut from = 0;
        for gap in &self.gaps {
            if gap.at > from {
                parts.push(Part::Bytes(self.buf.slice(from..gap.at)));
            }
            parts.push(Part::External(gap.len));
            from = gap.at;
        }
        if from < self.buf.len() {
            parts.push(Part::Bytes(self.buf.slice(from..)));
        }
        parts
    }
}
