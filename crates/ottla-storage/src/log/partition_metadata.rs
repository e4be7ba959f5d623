//! `partition.metadata`: the topic id of a partition directory. Without it Apache Kafka takes the directory for a stray.

use ottla_types::Uuid;

/// Name of the file in the partition directory.
pub(crate) const FILE_NAME: &str = "partition.metadata";
/// Limit for reading it; Kafka's have 43 bytes.
pub(crate) const MAX_BYTES: u64 = 4096;

pub(crate) fn format(topic_id: Uuid) -> String {
    format!("version: 0\ntopic_id: {topic_id}")
}

/// `None` for what a crash right after the creation leaves: nothing, or a part of what [`format`] gives, with zeros where the
/// rest never reached the disk.
pub(crate) fn parse(text: &str) -> Result<Option<Uuid>, String> {
    if is_torn(text) {
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

/// Whether the file was written in part. It is written once, in place, before anything that the topic id protects.
fn is_torn(text: &str) -> bool {
    let whole = format(Uuid::ZERO);
    let prefix = whole.len() - Uuid::ZERO.to_string().len();
    let is_own = |(at, (found, due)): (usize, (u8, u8))| found == 0 || at >= prefix || found == due;
    let bytes = text.bytes();
    let is_short = text.len() < whole.len() || text.contains('\0');
    is_short && text.len() <= whole.len() && bytes.zip(whole.bytes()).enumerate().all(is_own)
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
    fn a_torn_file_is_none() {
        let whole = format(Uuid::METADATA_TOPIC);
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]), Ok(None), "{end}");
            let zeros = "\0".repeat(whole.len() - end);
            assert_eq!(parse(&format!("{}{zeros}", &whole[..end])), Ok(None), "{end}");
            assert_eq!(parse(&format!("{}{}", "\0".repeat(end + 1), &whole[end + 1..])), Ok(None), "{end}");
        }
    }

    #[test]
    fn accepts_later_versions_and_refuses_nonsense() {
        assert_eq!(
            parse("version: 7\ntopic_id:  AAAAAAAAAAAAAAAAAAAAAQ\nmore: 1"),
            Ok(Some(Uuid::METADATA_TOPIC))
        );
        for text in [
            "version: -1\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ",
            "version: 1",
            "version: 0\ntopic: x",
            "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA",
            "version:0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
