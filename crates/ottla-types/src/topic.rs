//! Topic names, partitions, and the placement of keys on the partitions of internal topics.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Index of a partition within its topic.
pub type PartitionIndex = i32;

/// Longest legal topic name in bytes (`Topic.MAX_NAME_LENGTH`).
pub(crate) const MAX_TOPIC_NAME_LENGTH: usize = 249;

/// A topic name, cheap to clone. Not necessarily legal: see [`TopicName::check`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

/// Why a string is not a legal topic name; the texts are those of Kafka's `Topic.validate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicError {
    /// The empty string.
    Empty,
    /// `.` or `..`.
    Dots,
    /// Longer than 249 bytes; carries the name.
    TooLong(String),
    /// Holds a character other than ASCII letters, digits, `.`, `_` and `-`; carries the name.
    IllegalCharacter(String),
}

impl TopicName {
    /// Wraps a name without checking it.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `name` is legal for a topic (Kafka's `Topic.validate`).
    ///
    /// # Errors
    /// The rule that the name breaks.
    pub fn check(name: &str) -> Result<(), TopicError> {
        if name.is_empty() {
            Err(TopicError::Empty)
        } else if name == "." || name == ".." {
            Err(TopicError::Dots)
        } else if name.len() > MAX_TOPIC_NAME_LENGTH {
            Err(TopicError::TooLong(name.to_owned()))
        } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
            Err(TopicError::IllegalCharacter(name.to_owned()))
        } else {
            Ok(())
        }
    }
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "Topic name is invalid: the empty string is not allowed"),
            Self::Dots => write!(f, "Topic name is invalid: '.' or '..' is not allowed"),
            Self::TooLong(name) => write!(
                f,
                "Topic name is invalid: the length of '{name}' is longer than the max allowed length \
                 {MAX_TOPIC_NAME_LENGTH}"
            ),
            Self::IllegalCharacter(name) => write!(
                f,
                "Topic name is invalid: '{name}' contains one or more characters other than ASCII \
                 alphanumerics, '.', '_' and '-'"
            ),
        }
    }
}

impl std::error::Error for TopicError {}

impl Deref for TopicName {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for TopicName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for TopicName {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A partition of a topic, by name; prints as Kafka does: `topic-3`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicName,
    /// The partition within it.
    pub partition: PartitionIndex,
}

impl TopicPartition {
    /// Names a partition.
    pub fn new(topic: &str, partition: PartitionIndex) -> Self {
        Self { topic: TopicName::new(topic), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// The partition of an internal topic that holds `key` (a group id, a transactional id, …): the absolute value of Java's
/// `String.hashCode` modulo the partition count, with `i32::MIN` taken as 0 (`Utils.abs`).
pub fn partition_for_key(key: &str, partitions: i32) -> PartitionIndex {
    assert!(partitions > 0, "an internal topic has at least one partition");
    let hash = key.encode_utf16().fold(0_i32, |h, unit| h.wrapping_mul(31).wrapping_add(i32::from(unit)));
    hash.checked_abs().unwrap_or(0) % partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_keys_as_java_hash_code_does() {
        assert_eq!(partition_for_key("g", 50), 3);
        assert_eq!(partition_for_key("test-group", 50), 12);
        assert_eq!(partition_for_key("my-transactional-id", 50), 46);
        assert_eq!(partition_for_key("", 50), 0);
        assert_eq!(partition_for_key("polygenelubricants", 50), 0);
    }

    #[test]
    fn refuses_illegal_names() {
        assert_eq!(TopicName::check("a.b_c-9"), Ok(()));
        assert_eq!(TopicName::check(""), Err(TopicError::Empty));
        assert_eq!(TopicName::check(".."), Err(TopicError::Dots));
        assert!(matches!(TopicName::check("a b"), Err(TopicError::IllegalCharacter(_))));
        assert!(matches!(TopicName::check(&"a".repeat(250)), Err(TopicError::TooLong(_))));
    }
}
