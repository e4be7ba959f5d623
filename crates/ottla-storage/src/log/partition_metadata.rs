//! `partition.metadata`: the topic id of a partition directory. Without it Apache Kafka takes the directory for a stray.

use ottla_types::Uuid;

/// Name of the file in the partition directory.
pub(crate) const FILE_NAME: &str = "partition.metadata";
/// Limit for reading it; Kafka's have 43 bytes.
pub(crate) const MAX_BYTES: u64 = 4096;

pub(crate) fn format(topic_id: Uuid) -> String {
    format!("version: 0\ntopic_id: {topic_id}")
}

/// `None` for an empty file, which a crash right after the creation leaves.
pub(crate) fn parse(text: &str) -> Result<Option<Uuid>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut lines = text.lines();
    let version = field(lines.next(), "version")?;
    if version.parse::<i32>().map_or(true, |version| version < 0) {
        return Err(format!("version {version:?} is not a version"));
    }
    let id = field(lines.next(), "topic_id")?;
    let id: Uuid = id.parse().map_err(|_| format!("{id:?} is not a topic id"))?;
    if id.is_zero() { Err("the topic id is zero".to_owned()) } else { Ok(Some(id)) }
}

fn field<'a>(line: Option<&'a str>, name: &str) -> Result<&'a str, String> {
    let line = line.ok_or_else(|| format!("no {name}"))?;
    let (found, value) = line.split_once(':').ok_or_else(|| format!("malformed line {line:?}"))?;
    if found != name || !value.starts_with(char::is_whitespace) {
        return Err(format!("malformed line {line:?}"));
    }
    Ok(value.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_kafkas_bytes() {
        let text = format(Uuid::METADATA_TOPIC);
        assert_eq!(text, "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(text.len(), 43);
        assert_eq!(parse(&text), Ok(Some(Uuid::METADATA_TOPIC)));
    }

    #[test]
    fn accepts_later_versions_and_refuses_nonsense() {
        assert_eq!(
            parse("version: 7\ntopic_id:  AAAAAAAAAAAAAAAAAAAAAQ\nmore: 1"),
            Ok(Some(Uuid::METADATA_TOPIC))
        );
        assert_eq!(parse(""), Ok(None));
        for text in [
            "version: -1\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ",
            "version: 0",
            "version: 0\ntopic_id: x",
            "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA",
            "version:0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
