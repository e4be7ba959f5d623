//! Spellings of Kafka's own tools: `--topic NAME` and `--group ID` where ottla takes the name as it is.

use std::ffi::OsString;

/// Takes `--topic` (of topic, produce and consume) and `--group` (of group) out of the arguments, so that what follows them
/// is the plain name.
pub(crate) fn accept(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let flag = match arguments.get(1).and_then(|command| command.to_str()) {
        Some("topic" | "produce" | "consume") => "--topic",
        Some("group") => "--group",
        _ => return arguments,
    };
    arguments.retain_mut(|argument| {
        let Some(text) = argument.to_str() else { return true };
        if text == flag {
            return false;
        }
        if let Some(name) = text.strip_prefix(flag).and_then(|rest| rest.strip_prefix('=')) {
            *argument = name.into();
        }
        true
    });
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(line: &str) -> String {
        let accepted = accept(line.split(' ').map(OsString::from));
        accepted.iter().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn names_may_follow_kafkas_flags() {
        assert_eq!(
            accepted("ottla topic create --topic a --partitions 2"),
            "ottla topic create a --partitions 2"
        );
        assert_eq!(accepted("ottla topic describe --topic=a"), "ottla topic describe a");
        assert_eq!(accepted("ottla group describe --group g"), "ottla group describe g");
        assert_eq!(accepted("ottla consume --topic t --group g"), "ottla consume t --group g");
        assert_eq!(accepted("ottla server -o a=b"), "ottla server -o a=b");
    }
}
