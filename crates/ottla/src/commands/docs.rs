//! `docs/cli.md`, written from the definitions of the commands.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Command, CommandFactory as _};

use super::Cli;

const WIDTH: usize = 110;

const HEAD: &str = "\
# Commands

Written from the program's own help; change it with `UPDATE=1 cargo test -p ottla --bin ottla`.

Commands that work on a cluster find it by `--bootstrap-server` (or `OTTLA_BOOTSTRAP_SERVER`, or `localhost:9092`), and work with
Apache Kafka as with ottla. Whatever lists or describes prints a table, or JSON with `--json`. Exit codes: 0 done, 1 failed, 2 bad
usage or configuration. Flags of Kafka's tools are understood where they say the same: `ottla topic --describe --topic orders` is
`ottla topic describe orders`.

Kafka's own tools work too: `cargo xtask test --lane tools` runs some 300 of their commands against Apache Kafka and ottla and fails
when what they print differs.

| Kafka's tool | here |
|---|---|
| `kafka-server-start.sh`, `kafka-storage.sh format` | `ottla server`, `ottla format` |
| `kafka-topics.sh` | `ottla topic` |
| `kafka-console-producer.sh`, `kafka-console-consumer.sh` | `ottla produce`, `ottla consume` |
| `kafka-consumer-groups.sh`, `kafka-groups.sh` | `ottla group` |
| `kafka-configs.sh`, `kafka-client-metrics.sh` | `ottla config`, `ottla quota` |
| `kafka-transactions.sh` | `ottla transaction`, `ottla producer` |
| `kafka-delete-records.sh` | `ottla delete-records` |
| `kafka-log-dirs.sh` | `ottla log-dirs` |
| `kafka-broker-api-versions.sh`, `kafka-cluster.sh` | `ottla broker` |
| `kafka-features.sh` | `ottla feature` |
| `kafka-metadata-quorum.sh` | `ottla quorum` |
| `kafka-leader-election.sh`, `kafka-reassign-partitions.sh` | `ottla partition` |
| `kafka-producer-perf-test.sh`, `kafka-consumer-perf-test.sh` | `ottla perf` |
";

/// The document.
fn markdown() -> String {
    let mut root = Cli::command().term_width(WIDTH).max_term_width(WIDTH);
    root.build();
    let (mut list, mut sections) = (String::new(), String::new());
    for command in root.get_subcommands() {
        write_command("ottla", command, &mut list, &mut sections);
    }
    format!(
        "{HEAD}\n| command | what it does |\n|---|---|\n{list}\n{}",
        sections.trim_end().to_owned() + "\n"
    )
}

fn write_command(parent: &str, command: &Command, list: &mut String, sections: &mut String) {
    let name = format!("{parent} {}", command.get_name());
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let below: Vec<&Command> = command.get_subcommands().filter(|it| it.get_name() != "help").collect();
    if below.is_empty() {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let anchor = name.replace(' ', "-");
        _ = writeln!(list, "| [`{name}`](#{anchor}) | {about} |");
        let help = command.clone().term_width(WIDTH).max_term_width(WIDTH).render_help().to_string();
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        _ = write!(sections, "## {name}\n\n```text\n{}\n```\n\n", lines.join("\n").trim_end());
    }
    for command in below {
        write_command(&name, command, list, sections);
    }
}

#[test]
fn the_document_says_what_the_help_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let expected = markdown();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &expected).expect("docs/cli.md is written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "docs/cli.md is out of date: run `UPDATE=1 cargo test -p ottla --bin ottla`");
}
