//! The topics in a consumer's subscription: the prefix that all versions of the consumer protocol share.

/// The topics, or `None` if the bytes are not a subscription.
pub(crate) fn topics(bytes: &[u8]) -> Option<Vec<String>> {
    let (_version, rest) = bytes.split_first_chunk::<2>()?;
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let count = usize::try_from(i32::from_be_bytes(*count)).ok()?;
    let mut topics = Vec::new();
    for _ in 0..count {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (name, tail) = tail.split_at_checked(length)?;
        topics.push(std::str::from_utf8(name).ok()?.to_owned());
        rest = tail;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_topics_and_ignores_what_later_versions_add() {
        let bytes = b"\0\x03\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff\0\0\0\0";
        assert_eq!(topics(bytes), Some(vec!["a".to_owned(), "bc".to_owned()]));
    }

    #[test]
    fn refuses_every_truncation_of_the_topics() {
        let bytes = b"\0\0\0\0\0\x02\0\x01a\0\x02bc";
        for end in 0..bytes.len() {
            assert_eq!(topics(&bytes[..end]), None, "cut at {end}");
        }
        assert_eq!(topics(b"\0\0\xff\xff\xff\xff"), None);
        assert_eq!(topics(b"\0\0\x7f\xff\xff\xff"), None);
    }
}
