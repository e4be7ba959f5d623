//! What the command line says to good and bad arguments, without a broker.

use std::process::{Command, Output};

fn ottla(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ottla"))
        .args(arguments)
        .env_remove("OTTLA_BOOTSTRAP_SERVER")
        .env_remove("RUST_LOG")
        .output()
        .expect("the binary runs")
}

/// The arguments are refused with exit code 2 and a text that has all of these words.
#[track_caller]
fn refused(arguments: &[&str], words: &[&str]) {
    let output = ottla(arguments);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{arguments:?}: '{word}' is not in: {text}");
    }
    assert!(output.stdout.is_empty());
}

#[test]
fn bad_values_are_named_with_what_is_expected() {
    refused(&["topic", "create", "a b"], &["a b", "alphanumerics"]);
    refused(&["topic", "create", "a", "--partitions", "0"], &["--partitions", "0 is not in 1.."]);
    refused(&["topic", "create", "a", "--config", "retention"], &["--config", "expected KEY=VALUE"]);
    refused(&["topic", "create"], &["<TOPIC>..."]);
    refused(&["topic", "configure", "a"], &["--add-config"]);
    refused(&["produce", "a", "--compression", "rar"], &["rar", "none, gzip, snappy, lz4, zstd"]);
    refused(&["produce", "a", "--acks", "2"], &["--acks", "2"]);
    refused(&["produce", "a", "--header", "x"], &["--header", "expected KEY=VALUE"]);
    refused(&["produce", "a", "--key-separator", ""], &["--key-separator"]);
    refused(&["produce", "a", "--file", "/no/such/file"], &["/no/such/file", "cannot open"]);
    refused(&["consume", "a", "--offset", "x"], &["--offset", "expected an offset"]);
    refused(&["consume", "a", "--offset", "@x"], &["neither milliseconds nor a time"]);
    refused(&["consume", "a", "--format", "%x"], &["'%x' means nothing"]);
    refused(&["nonsense"], &["nonsense"]);
}

#[test]
fn contradictions_are_refused() {
    refused(&["consume", "a", "--from-beginning", "--offset", "5"], &["cannot be used with"]);
    refused(&["consume", "a", "--group", "g", "--partition", "0"], &["cannot be used with"]);
    refused(&["consume", "a", "--group", "g", "--offset", "5"], &["cannot be used with"]);
    refused(&["consume", "a", "--json", "--print-key"], &["cannot be used with"]);
}

#[test]
fn help_teaches_by_examples() {
    let commands: [&[&str]; 14] = [
        &[],
        &["server"],
        &["format"],
        &["topic", "list"],
        &["topic", "create"],
        &["topic", "describe"],
        &["topic", "configure"],
        &["topic", "add-partitions"],
        &["topic", "delete"],
        &["produce"],
        &["consume"],
        &["group", "list"],
        &["group", "describe"],
        &["group", "delete"],
    ];
    for command in commands {
        let output = ottla(&[command, &["--help"]].concat());
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("Example"), "{command:?}: {text}");
        assert!(text.contains(&["ottla", &command.join(" ")].join(" ").trim_end().to_owned()), "{command:?}");
    }
}

#[test]
fn without_a_broker_the_way_out_is_shown() {
    let output = ottla(&["topic", "list", "--bootstrap-server", "127.0.0.1:1"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("127.0.0.1:1") && text.contains("--bootstrap-server"), "{text}");

    let output = Command::new(env!("CARGO_BIN_EXE_ottla"))
        .args(["group", "list"])
        .env("OTTLA_BOOTSTRAP_SERVER", "127.0.0.1:2")
        .output()
        .expect("the binary runs");
    assert!(String::from_utf8_lossy(&output.stderr).contains("127.0.0.1:2"));
}
