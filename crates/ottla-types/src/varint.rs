//! Base-128 variable-length integers: unsigned, and zig-zag signed, as Kafka writes them on the wire and in records.

/// Most bytes that a 32-bit value takes.
pub const MAX_LEN_32: usize = 5;
/// Most bytes that a 64-bit value takes.
pub const MAX_LEN_64: usize = 10;

/// Maps a signed number so that small absolute values stay small.
pub const fn zigzag32(n: i32) -> u32 {
    ((n << 1) ^ (n >> 31)).cast_unsigned()
}

/// Maps a signed number so that small absolute values stay small.
pub const fn zigzag64(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)).cast_unsigned()
}

/// Undoes [`zigzag32`].
pub const fn unzigzag32(n: u32) -> i32 {
    (n >> 1).cast_signed() ^ -((n & 1).cast_signed())
}

/// Undoes [`zigzag64`].
pub const fn unzigzag64(n: u64) -> i64 {
    (n >> 1).cast_signed() ^ -((n & 1).cast_signed())
}

/// Bytes that `n` takes as an unsigned varint.
pub const fn len_u32(n: u32) -> usize {
    len_u64(n as u64)
}

/// Bytes that `n` takes as an unsigned varint.
pub const fn len_u64(n: u64) -> usize {
    let bits = 64 - (n | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Reads an unsigned varint of at most 32 bits from the start of `bytes`: the value and the bytes it took. `None` when the
/// bytes end too early or the number does not fit.
pub fn read_u32(bytes: &[u8]) -> Option<(u32, usize)> {
    if let Some(&first) = bytes.first()
        && first < 0x80
    {
        return Some((u32::from(first), 1));
    }
    let mut value = 0_u32;
    for (i, &byte) in bytes.iter().take(MAX_LEN_32).enumerate() {
        if i == MAX_LEN_32 - 1 && byte > 0x0f {
            return None;
        }
        value |= u32::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Some((value, i + 1));
        }
    }
    None
}

/// Reads an unsigned varint of at most 64 bits from the start of `bytes`: the value and the bytes it took. `None` when the
/// bytes end too early or the number does not fit.
pub fn read_u64(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (i, &byte) in bytes.iter().take(MAX_LEN_64).enumerate() {
        if i == MAX_LEN_64 - 1 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Some((value, i + 1));
        }
    }
    None
}

/// Reads a zig-zag varint of at most 32 bits.
pub fn read_i32(bytes: &[u8]) -> Option<(i32, usize)> {
    read_u32(bytes).map(|(n, len)| (unzigzag32(n), len))
}

/// Reads a zig-zag varint of at most 64 bits.
pub fn read_i64(bytes: &[u8]) -> Option<(i64, usize)> {
    read_u64(bytes).map(|(n, len)| (unzigzag64(n), len))
}

/// Encodes an unsigned varint; the first `.1` bytes of `.0` are the encoding.
pub const fn encode_u64(mut n: u64) -> ([u8; MAX_LEN_64], usize) {
    let mut bytes = [0; MAX_LEN_64];
    let mut len = 0;
    while n >= 0x80 {
        bytes[len] = (n as u8) | 0x80;
        n >>= 7;
        len += 1;
    }
    bytes[len] = n as u8;
    (bytes, len + 1)
}

/// Appends an unsigned varint.
pub fn put_u32(out: &mut Vec<u8>, n: u32) {
    put_u64(out, u64::from(n));
}

/// Appends an unsigned varint.
pub fn put_u64(out: &mut Vec<u8>, n: u64) {
    let (bytes, len) = encode_u64(n);
    out.extend_from_slice(&bytes[..len]);
}

/// Appends a zig-zag varint.
pub fn put_i32(out: &mut Vec<u8>, n: i32) {
    put_u32(out, zigzag32(n));
}

/// Appends a zig-zag varint.
pub fn put_i64(out: &mut Vec<u8>, n: i64) {
    put_u64(out, zigzag64(n));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trips(a: i32, b: i64) {
            let mut out = Vec::new();
            put_i32(&mut out, a);
            prop_assert_eq!(out.len(), len_u32(zigzag32(a)));
            prop_assert_eq!(read_i32(&out), Some((a, out.len())));
            prop_assert!(read_i32(&out[..out.len() - 1]).is_none());
            out.clear();
            put_i64(&mut out, b);
            prop_assert_eq!(out.len(), len_u64(zigzag64(b)));
            prop_assert_eq!(read_i64(&out), Some((b, out.len())));
            prop_assert!(read_i64(&out[..out.len() - 1]).is_none());
        }
    }

    #[test]
    fn refuses_overlong_numbers() {
        assert_eq!(read_u32(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Some((u32::MAX, 5)));
        assert_eq!(read_u32(&[0xff, 0xff, 0xff, 0xff, 0x1f]), None);
        assert_eq!(read_u32(&[0x80; 6]), None);
        assert_eq!(read_u64(&[0xff; 10]), None);
    }
}
