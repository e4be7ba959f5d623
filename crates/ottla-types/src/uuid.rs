//! Kafka's UUID: 16 bytes on the wire, 22 characters of URL-safe base64 in text.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A topic id, directory id, member id or incarnation id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid([u8; 16]);

/// The text is not 22 characters of URL-safe base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UuidError(String);

impl Uuid {
    /// All zeros: "no id".
    pub const ZERO: Self = Self([0; 16]);
    /// Topic id of `__cluster_metadata`.
    pub const METADATA_TOPIC: Self = Self::from_parts(0, 1);
    /// Directory id of a replica that is being moved from a broker without directory ids (`DirectoryId.MIGRATING`).
    pub const DIR_MIGRATING: Self = Self::from_parts(0, 0);
    /// Directory id of a replica whose directory is not yet chosen (`DirectoryId.UNASSIGNED`).
    pub const DIR_UNASSIGNED: Self = Self::from_parts(0, 1);
    /// Directory id of a replica whose directory failed (`DirectoryId.LOST`).
    pub const DIR_LOST: Self = Self::from_parts(0, 2);

    /// From the most and least significant 64 bits.
    pub const fn from_parts(most: u64, least: u64) -> Self {
        let (m, l) = (most.to_be_bytes(), least.to_be_bytes());
        Self([m[0], m[1], m[2], m[3], m[4], m[5], m[6], m[7], l[0], l[1], l[2], l[3], l[4], l[5], l[6], l[7]])
    }

    /// From the wire form.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// A version 4 UUID of 16 random bytes, or `None` when Kafka would not use it: reserved, or its text starts with `-`
    /// (which a command line would take for an option). Draw again then.
    pub fn from_random(mut bytes: [u8; 16]) -> Option<Self> {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let id = Self(bytes);
        (!id.is_reserved() && !id.to_string().starts_with('-')).then_some(id)
    }

    /// The wire form.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Whether this is the all-zero "no id".
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// Whether the id is one of the first hundred, which Kafka keeps for special meanings (`DirectoryId.reserved`).
    pub fn is_reserved(&self) -> bool {
        self.0[..15].iter().all(|&b| b == 0) && self.0[15] < 100
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0_u8; 22];
        let written = URL_SAFE_NO_PAD.encode_slice(self.0, &mut text).map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(&text[..written]).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = UuidError;

    fn from_str(text: &str) -> Result<Self, UuidError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| UuidError(text.to_owned()))?;
        bytes.try_into().map(Self).map_err(|_| UuidError(text.to_owned()))
    }
}

impl fmt::Display for UuidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not an id: expected 22 characters of URL-safe base64", self.0)
    }
}

impl std::error::Error for UuidError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_topic_id_reads_as_kafka_prints_it() {
        assert_eq!(Uuid::METADATA_TOPIC.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!("AAAAAAAAAAAAAAAAAAAAAQ".parse(), Ok(Uuid::METADATA_TOPIC));
        assert!("AAAA".parse::<Uuid>().is_err());
    }
}
