//! Spellings of Kafka's own tools: `--topic NAME` and `--group ID` where ottla takes the name as it is, and `--create`,
//! `--describe` and the like for what ottla makes a subcommand of.

use std::ffi::OsString;

/// Flags of Kafka's tools that say what to do.
const ACTIONS: [&str; 8] = [
    "--list",
    "--create",
    "--describe",
    "--alter",
    "--delete",
    "--reset-offsets",
    "--delete-offsets",
    "--move",
];

/// Takes Kafka's spellings and returns ottla's.
pub(crate) fn accept(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let Some(command) = arguments.get(1).and_then(|command| command.to_str()).map(str::to_owned) else {
        return arguments;
    };
    move_action(&command, &mut arguments);
    let action = arguments.get(2).and_then(|action| action.to_str()).unwrap_or_default();
    match (command.trim_end_matches('s'), action) {
        ("topic" | "produce" | "consume", _) | ("perf", "produce" | "consume") => {
            drop_flag(&mut arguments, "--topic");
        }
        ("group", _) => drop_flag(&mut arguments, "--group"),
        ("transaction", "describe" | "force-terminate" | "forceTerminateTransaction") => {
            drop_flag(&mut arguments, "--transactional-id");
        }
        _ => {}
    }
    arguments
}

/// `ottla topic … --create …` is `ottla topic create …`.
fn move_action(command: &str, arguments: &mut Vec<OsString>) {
    let has_actions = matches!(
        command.trim_end_matches('s'),
        "topic" | "group" | "config" | "log-dir" | "quota" | "feature" | "quorum"
    );
    let is_flag = |argument: &OsString| argument.to_str().is_some_and(|text| text.starts_with('-'));
    if !has_actions || !arguments.get(2).is_some_and(is_flag) {
        return;
    }
    let is_action = |argument: &OsString| argument.to_str().is_some_and(|text| ACTIONS.contains(&text));
    if let Some(at) = arguments.iter().position(is_action) {
        let action = arguments.remove(at);
        let name = action.to_str().unwrap_or_default().trim_start_matches('-').to_owned();
        arguments.insert(2, name.into());
    }
}

/// Takes a flag out, so that what follows it is the plain name.
fn drop_flag(arguments: &mut Vec<OsString>, flag: &str) {
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
        for (given, taken) in [
            ("ottla topic create --topic a --partitions 2", "ottla topic create a --partitions 2"),
            ("ottla topic describe --topic=a", "ottla topic describe a"),
            ("ottla group describe --group g", "ottla group describe g"),
            ("ottla group reset-offsets --group g --topic t", "ottla group reset-offsets g --topic t"),
            ("ottla consume --topic t --group g", "ottla consume t --group g"),
            ("ottla perf produce --topic t", "ottla perf produce t"),
            ("ottla transaction describe --transactional-id x", "ottla transaction describe x"),
            ("ottla config describe --topic t", "ottla config describe --topic t"),
            ("ottla server -o a=b", "ottla server -o a=b"),
        ] {
            assert_eq!(accepted(given), taken);
        }
    }

    #[test]
    fn actions_may_be_kafkas_flags() {
        for (given, taken) in [
            ("ottla topic --bootstrap-server a:1 --list", "ottla topic list --bootstrap-server a:1"),
            ("ottla topics --create --topic a", "ottla topics create a"),
            ("ottla group --describe --group g --members", "ottla group describe g --members"),
            ("ottla group --group g --reset-offsets --to-latest", "ottla group reset-offsets g --to-latest"),
            ("ottla topic list --describe", "ottla topic list --describe"),
            ("ottla topic --help", "ottla topic --help"),
        ] {
            assert_eq!(accepted(given), taken);
        }
    }
}
