//! Reading messages from bytes that may be anything.

use std::borrow::Cow;

use bytes::Bytes;
use ottla_types::{Uuid, varint};

use super::{DecodeFault, RecordData, VersionRange};

/// Longest string on the wire in bytes (`Short.MAX_VALUE`).
pub(super) const MAX_STRING: usize = 0x7fff;

/// What fields and array elements are made of: generated structs and the plain types. The reader and the writer know the
/// version; [`Message`](super::Message) sets it.
pub trait Element<'a>: Sized {
    /// The fewest bytes that a value takes in any version; at least 1. Bounds how many elements the remaining bytes
    /// can hold.
    const MIN_SIZE: usize;

    /// Reads a value. After an error the value is meaningless and the reader remembers the error.
    fn read_from(r: &mut Reader<'a>) -> Self;

    /// Counts or writes the value. The writer remembers an error.
    fn write_to(&self, w: &mut super::Writer);
}

/// Reads messages from bytes; borrows from them, or (over shared bytes) copies strings and shares record data.
///
/// The first error sticks: from then on the reader is at its end and yields zeros, so nothing is allocated for bytes
/// that are not there.
#[derive(Debug)]
pub struct Reader<'a> {
    borrowed: &'a [u8],
    shared: Option<Bytes>,
    position: usize,
    end: usize,
    version: i16,
    is_flexible: bool,
    /// Bytes that elements of arrays may still take in memory.
    allowance: usize,
    fault: Option<(DecodeFault, usize)>,
}

/// Elements of arrays may take so many times the bytes of the message in memory …
const MEMORY_RATIO: usize = 4;
/// … and this much in any case. A name of two bytes may be an element of sixty: a hundred megabytes of them would be gigabytes.
const MEMORY_BYTES: usize = 32 << 20;

/// What a message of `bytes` may take.
fn allowance(bytes: usize) -> usize {
    bytes.saturating_mul(MEMORY_RATIO).saturating_add(MEMORY_BYTES)
}

/// The tagged section of a struct while it is read.
#[derive(Debug)]
pub struct Tags {
    left: u32,
    /// Where the current field must end.
    end: usize,
}

impl<'a> Reader<'a> {
    /// Reads from `bytes`; strings, bytes and record data borrow from them.
    pub fn new(bytes: &'a [u8]) -> Self {
        let end = bytes.len();
        Self {
            borrowed: bytes,
            shared: None,
            position: 0,
            end,
            version: 0,
            is_flexible: false,
            allowance: allowance(end),
            fault: None,
        }
    }

    /// Reads from shared bytes: what is read outlives the reader.
    pub fn shared(bytes: Bytes) -> Self {
        let mut reader = Self::new(&[]);
        reader.end = bytes.len();
        reader.allowance = allowance(reader.end);
        reader.shared = Some(bytes);
        reader
    }

    /// Bytes read so far; after an error, the length of the whole.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Bytes not yet read; none after an error.
    pub fn remaining(&self) -> usize {
        self.end - self.position
    }

    /// The version of the message being read.
    pub fn version(&self) -> i16 {
        self.version
    }

    /// The first error and where it was.
    pub fn fault(&self) -> Option<(DecodeFault, usize)> {
        self.fault
    }

    pub(super) fn begin(&mut self, versions: VersionRange, version: i16, first_flexible: Option<i16>) {
        self.version = version;
        self.is_flexible = first_flexible.is_some_and(|first| version >= first);
        if !versions.contains(version) {
            self.fail(DecodeFault::UnsupportedVersion);
        }
    }

    #[cold]
    pub(crate) fn fail(&mut self, fault: DecodeFault) {
        self.fault.get_or_insert((fault, self.position));
        self.position = self.end;
    }

    fn data(&self) -> &[u8] {
        let all: &[u8] = match &self.shared {
            None => self.borrowed,
            Some(shared) => shared,
        };
        all.get(self.position..).unwrap_or_default()
    }

    fn fixed<const N: usize>(&mut self) -> [u8; N] {
        match self.data().first_chunk::<N>() {
            Some(&bytes) => {
                self.position += N;
                bytes
            }
            None => {
                self.fail(DecodeFault::Truncated);
                [0; N]
            }
        }
    }

    /// Reads a byte, not zero meaning true.
    pub fn bool(&mut self) -> bool {
        self.i8() != 0
    }

    /// Reads one byte.
    pub fn i8(&mut self) -> i8 {
        i8::from_be_bytes(self.fixed())
    }

    /// Reads two bytes, as all fixed-size numbers in big-endian order.
    pub fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.fixed())
    }

    /// Reads two bytes.
    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.fixed())
    }

    /// Reads four bytes.
    pub fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.fixed())
    }

    /// Reads four bytes.
    pub fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.fixed())
    }

    /// Reads eight bytes.
    pub fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.fixed())
    }

    /// Reads eight bytes.
    pub fn f64(&mut self) -> f64 {
        f64::from_be_bytes(self.fixed())
    }

    /// Reads sixteen bytes.
    pub fn uuid(&mut self) -> Uuid {
        Uuid::from_bytes(self.fixed())
    }

    /// Reads an unsigned variable-length number.
    pub fn uvarint(&mut self) -> u32 {
        let data = self.data();
        match varint::read_u32(data) {
            Some((value, len)) => {
                self.position += len;
                value
            }
            None => {
                let is_short = data.len() < varint::MAX_LEN_32;
                self.fail(if is_short { DecodeFault::Truncated } else { DecodeFault::BadVarint });
                0
            }
        }
    }

    /// The next two numbers of two bytes, without moving on; zeros when they are not there.
    pub(crate) fn peek_two_i16(&self) -> (i16, i16) {
        let [a, b, c, d] = self.data().first_chunk::<4>().copied().unwrap_or_default();
        (i16::from_be_bytes([a, b]), i16::from_be_bytes([c, d]))
    }

    /// A compact length: 0 is null, else the length plus one.
    fn compact_length(&mut self) -> Option<usize> {
        self.uvarint().checked_sub(1).map(|length| length as usize)
    }

    /// The length before bytes, records and arrays; negative is null.
    fn length(&mut self) -> Option<usize> {
        if self.is_flexible { self.compact_length() } else { usize::try_from(self.i32()).ok() }
    }

    fn string_length(&mut self, is_flexible: bool) -> Option<usize> {
        let length = if is_flexible { self.compact_length() } else { usize::try_from(self.i16()).ok() };
        if length.is_some_and(|length| length > MAX_STRING) {
            self.fail(DecodeFault::StringTooLong);
            return Some(0);
        }
        length
    }

    /// Takes `length` bytes: borrowed ones as a slice of the source, shared ones as a range of it.
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        if length > self.remaining() {
            self.fail(DecodeFault::LengthBeyondEnd);
            return 0..0;
        }
        let start = self.position;
        self.position += length;
        start..self.position
    }

    fn text(&mut self, length: usize) -> Cow<'a, str> {
        let range = self.range(length);
        match &self.shared {
            None => text(self.borrowed.get(range).unwrap_or_default()),
            Some(shared) => Cow::Owned(text(shared.get(range).unwrap_or_default()).into_owned()),
        }
    }

    fn binary(&mut self, length: usize) -> Cow<'a, [u8]> {
        let range = self.range(length);
        match &self.shared {
            None => Cow::Borrowed(self.borrowed.get(range).unwrap_or_default()),
            Some(shared) => Cow::Owned(shared.get(range).unwrap_or_default().to_vec()),
        }
    }

    /// Fails on null where it is not allowed.
    fn check_null(&mut self, nullable: bool) {
        if !nullable && self.fault.is_none() {
            self.fail(DecodeFault::UnexpectedNull);
        }
    }

    /// Reads a string; malformed UTF-8 becomes replacement characters, as in Kafka.
    pub fn string(&mut self) -> Cow<'a, str> {
        self.nullable_string(false).unwrap_or_default()
    }

    /// Reads a string or, when `nullable`, null.
    pub fn nullable_string(&mut self, nullable: bool) -> Option<Cow<'a, str>> {
        match self.string_length(self.is_flexible) {
            Some(length) => Some(self.text(length)),
            None => {
                self.check_null(nullable);
                None
            }
        }
    }

    /// Reads a string or null as old versions have it, whatever the version.
    pub fn inflexible_nullable_string(&mut self) -> Option<Cow<'a, str>> {
        self.string_length(false).map(|length| self.text(length))
    }

    /// Reads bytes.
    pub fn bytes(&mut self) -> Cow<'a, [u8]> {
        self.nullable_bytes(false).unwrap_or_default()
    }

    /// Reads bytes or, when `nullable`, null.
    pub fn nullable_bytes(&mut self, nullable: bool) -> Option<Cow<'a, [u8]>> {
        match self.length() {
            Some(length) => Some(self.binary(length)),
            None => {
                self.check_null(nullable);
                None
            }
        }
    }

    /// Reads record data or, when `nullable`, null. Never copies.
    pub fn records(&mut self, nullable: bool) -> Option<RecordData<'a>> {
        let Some(length) = self.length() else {
            self.check_null(nullable);
            return None;
        };
        let range = self.range(length);
        Some(match &self.shared {
            None => RecordData::Borrowed(self.borrowed.get(range).unwrap_or_default()),
            Some(shared) => RecordData::Owned(shared.slice(range)),
        })
    }

    /// Reads an array.
    pub fn array<T: Element<'a>>(&mut self) -> Vec<T> {
        let count = self.count(T::MIN_SIZE, false).unwrap_or(0);
        self.elements(count)
    }

    /// Reads an array or, when `nullable`, null.
    pub fn nullable_array<T: Element<'a>>(&mut self, nullable: bool) -> Option<Vec<T>> {
        self.count(T::MIN_SIZE, nullable).map(|count| self.elements(count))
    }

    fn elements<T: Element<'a>>(&mut self, count: usize) -> Vec<T> {
        let Some(left) = self.allowance.checked_sub(count.saturating_mul(size_of::<T>())) else {
            self.fail(DecodeFault::TooManyElements);
            return Vec::new();
        };
        self.allowance = left;
        let mut elements = Vec::with_capacity(self.elements_at_once(count, size_of::<T>()));
        for _ in 0..count {
            elements.push(T::read_from(self));
            if self.fault.is_some() {
                break;
            }
        }
        elements
    }

    /// The count before an array of elements of at least `min_size` bytes.
    fn count(&mut self, min_size: usize, nullable: bool) -> Option<usize> {
        match self.length() {
            Some(count) if count > self.remaining() / min_size => {
                self.fail(DecodeFault::LengthBeyondEnd);
                Some(0)
            }
            None => {
                self.check_null(nullable);
                None
            }
            count => count,
        }
    }

    /// For how many elements to take memory before reading any: a count may be as large as the remaining bytes allow, but
    /// memory for elements much larger than their encoding comes as they are read.
    fn elements_at_once(&self, count: usize, size: usize) -> usize {
        count.min(self.remaining().saturating_mul(4) / size.max(1) + 4)
    }

    /// Reads a struct or null: one byte says which, negative is null.
    pub fn nullable_struct<T: Element<'a>>(&mut self) -> Option<T> {
        if self.i8() < 0 { None } else { Some(T::read_from(self)) }
    }

    /// Reads a tagged struct or null: here a varint says which, 0 is null.
    pub fn nullable_tagged_struct<T: Element<'a>>(&mut self) -> Option<T> {
        if self.uvarint() == 0 { None } else { Some(T::read_from(self)) }
    }

    /// Begins the tagged section at the end of a struct; empty in versions without.
    pub fn tags(&mut self) -> Tags {
        let left = if self.is_flexible { self.uvarint() } else { 0 };
        Tags { left, end: self.position }
    }

    /// The next tag, with the reader at its value; checks that the value before was read to its end.
    pub fn next_tag(&mut self, tags: &mut Tags) -> Option<u32> {
        if self.fault.is_some() {
            return None;
        }
        if self.position != tags.end {
            self.fail(DecodeFault::BadTagSize);
            return None;
        }
        tags.left = tags.left.checked_sub(1)?;
        let tag = self.uvarint();
        let size = self.uvarint() as usize;
        if size > self.remaining() {
            self.fail(DecodeFault::LengthBeyondEnd);
            return None;
        }
        tags.end = self.position + size;
        Some(tag)
    }

    /// Skips the value of the current tag.
    pub fn skip_tag(&mut self, tags: &Tags) {
        self.position = tags.end;
    }

    /// Refuses a tag that this version does not have.
    pub fn misplaced_tag(&mut self) {
        self.fail(DecodeFault::MisplacedTag);
    }

    /// Skips the tagged section of a struct that has no tagged fields yet.
    pub fn skip_tags(&mut self) {
        let mut tags = self.tags();
        while self.next_tag(&mut tags).is_some() {
            self.skip_tag(&tags);
        }
    }
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

macro_rules! element {
    ($($ty:ty, $size:expr, $read:ident, |$w:ident, $value:ident| $write:expr;)*) => {
        $(impl<'a> Element<'a> for $ty {
            const MIN_SIZE: usize = $size;

            fn read_from(r: &mut Reader<'a>) -> Self {
                r.$read()
            }

            fn write_to(&self, $w: &mut super::Writer) {
                let $value = self;
                $write;
            }
        })*
    };
}

element! {
    i8, 1, i8, |w, value| w.i8(*value);
    i16, 2, i16, |w, value| w.i16(*value);
    i32, 4, i32, |w, value| w.i32(*value);
    i64, 8, i64, |w, value| w.i64(*value);
    Uuid, 16, uuid, |w, value| w.uuid(*value);
    Cow<'a, str>, 1, string, |w, value| w.string(value);
}
