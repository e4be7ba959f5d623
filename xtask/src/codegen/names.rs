//! Rust names for Kafka's names.

/// `PartitionMaxBytes` → `partition_max_bytes`; runs of capitals are one word, and so is `KRaft`.
pub(crate) fn snake(name: &str) -> String {
    let name = name.replace("KRaft", "Kraft");
    let chars: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (i, &c) in chars.iter().enumerate() {
        let after_lower = i > 0 && !chars[i - 1].is_ascii_uppercase();
        let before_lower = i > 0 && chars.get(i + 1).is_some_and(char::is_ascii_lowercase);
        if c.is_ascii_uppercase() && (after_lower || before_lower) {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// The name of a struct field.
pub(crate) fn field(name: &str) -> String {
    let name = snake(name);
    if matches!(name.as_str(), "type" | "match" | "ref" | "move" | "use" | "in" | "as" | "where" | "final") {
        return format!("r#{name}");
    }
    name
}

/// `JoinGroup` → `JOIN_GROUP`.
pub(crate) fn screaming(name: &str) -> String {
    snake(name).to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_words_like_kafka_readers_expect() {
        assert_eq!(snake("PartitionMaxBytes"), "partition_max_bytes");
        assert_eq!(snake("KRaftVersionRecord"), "kraft_version_record");
        assert_eq!(snake("HostID"), "host_id");
        assert_eq!(snake("ISRSize"), "isr_size");
        assert_eq!(field("Type"), "r#type");
    }
}
