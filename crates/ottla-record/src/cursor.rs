//! Reading numbers from bytes that nobody vouches for.
//!
//! The variable-length numbers follow Kafka's `ByteUtils` to the bit: surplus high bits in the last byte are dropped,
//! not refused, because a log written by Kafka must read the same here.

/// Big-endian number of `N` bytes at `at`, zero-extended past the end (callers check the length before).
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    if let Some(slice) = bytes.get(at..).and_then(|rest| rest.get(..N)) {
        out.copy_from_slice(slice);
    }
    out
}

pub(crate) fn i16_at(bytes: &[u8], at: usize) -> i16 {
    i16::from_be_bytes(array(bytes, at))
}

pub(crate) fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(array(bytes, at))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(bytes, at))
}

pub(crate) fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(array(bytes, at))
}

/// Writes `value` at `at`; `bytes` is long enough by the caller's check.
pub(crate) fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// A position in a slice. `None` means that the slice ended, or that a number does not.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(len)?;
        self.rest = tail;
        Some(head)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Option<u8> {
        let (&first, tail) = self.rest.split_first()?;
        self.rest = tail;
        Some(first)
    }

    /// `ByteUtils.readVarint`: at most five bytes.
    #[inline]
    pub(crate) fn varint(&mut self) -> Option<i32> {
        let first = self.u8()?;
        let mut raw = u32::from(first & 0x7f);
        if first >= 0x80 {
            let mut shift = 7;
            loop {
                let byte = self.u8()?;
                raw |= u32::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    break;
                }
                shift += 7;
                if shift > 28 {
                    return None;
                }
            }
        }
        Some(ottla_types::varint::unzigzag32(raw))
    }

    /// `ByteUtils.readVarlong`: at most ten bytes.
    #[inline]
    pub(crate) fn varlong(&mut self) -> Option<i64> {
        let mut raw = 0_u64;
        let mut shift = 0;
        loop {
            let byte = self.u8()?;
            raw |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(ottla_types::varint::unzigzag64(raw));
            }
            shift += 7;
            if shift > 63 {
                return None;
            }
        }
    }

    /// Skips a length and that many bytes; returns the length, negative for null.
    #[inline]
    pub(crate) fn skip_bytes(&mut self) -> Option<i32> {
        let len = self.varint()?;
        if let Ok(len) = usize::try_from(len) {
            self.take(len)?;
        }
        Some(len)
    }

    /// A length and that many bytes; a negative length is null, as in Kafka's `Utils.readBytes`.
    #[inline]
    pub(crate) fn nullable_bytes(&mut self) -> Option<Option<&'a [u8]>> {
        match usize::try_from(self.varint()?) {
            Err(_) => Some(None),
            Ok(len) => self.take(len).map(Some),
        }
    }
}
