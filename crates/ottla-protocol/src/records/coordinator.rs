//! Keys and values of `__consumer_offsets`, `__transaction_state` and `__share_group_state`: an i16 says the record type
//! before a key, the message version before a value (Kafka's `CoordinatorRecordSerde`).

use crate::wire::{DecodeError, DecodeFault, EncodeError, Message, Reader, Writer};

/// The version of all keys; the record type takes the place of a version.
const KEY_VERSION: i16 = 0;

/// The key of a coordinator record.
pub trait CoordinatorKey<'a>: Message<'a> {
    /// The record type before the key.
    const TYPE: i16;
    /// What such a record holds.
    type Value<'v>: CoordinatorValue<'v>;
}

/// The value of a coordinator record.
pub trait CoordinatorValue<'a>: Message<'a> {
    /// The record type before the key.
    const TYPE: i16;
}

/// The number before a key (the record type) or a value (the version), and the rest. `None` when there are not even two bytes.
pub fn split_prefix(bytes: &[u8]) -> Option<(i16, &[u8])> {
    let (prefix, rest) = bytes.split_first_chunk::<2>()?;
    Some((i16::from_be_bytes(*prefix), rest))
}

/// Reads a key of a known type, prefix included.
///
/// # Errors
/// When the prefix is another type, or the rest is not such a key. Bytes after the key are ignored, as in Kafka.
pub fn decode_key<'a, K: CoordinatorKey<'a>>(bytes: &'a [u8]) -> Result<K, DecodeError> {
    let mut r = Reader::new(bytes);
    let record_type = r.i16();
    if r.fault().is_none() && record_type != K::TYPE {
        let fault = DecodeFault::UnknownRecordType(record_type);
        return Err(DecodeError { message: K::NAME, version: KEY_VERSION, position: 0, fault });
    }
    K::read(&mut r, KEY_VERSION)
}

/// Reads a value, version prefix included; also returns the version. Bytes after the value are ignored, as in Kafka.
///
/// # Errors
/// When the version is unknown or the bytes are not such a value.
pub fn decode_value<'a, V: Message<'a>>(bytes: &'a [u8]) -> Result<(V, i16), DecodeError> {
    let mut r = Reader::new(bytes);
    let version = r.i16();
    V::read(&mut r, version).map(|value| (value, version))
}

/// The bytes of a key, with the record type before it.
///
/// # Errors
/// When a string is too long.
pub fn encode_key<'a, K: CoordinatorKey<'a>>(key: &K) -> Result<Vec<u8>, EncodeError> {
    prefixed(K::TYPE, key, KEY_VERSION)
}

/// The bytes of a value, with its version before it.
///
/// # Errors
/// When the value cannot be expressed in that version.
pub fn encode_value<'a, V: Message<'a>>(value: &V, version: i16) -> Result<Vec<u8>, EncodeError> {
    prefixed(version, value, version)
}

pub(super) fn prefixed<'a, M: Message<'a>>(
    prefix: i16,
    message: &M,
    version: i16,
) -> Result<Vec<u8>, EncodeError> {
    let mut w = Writer::with_capacity(2 + message.size(version)?);
    w.i16(prefix);
    message.write(&mut w, version)?;
    Ok(w.into_vec())
}
