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
    refused(&["topic", "alter", "a"], &["--partitions", "--config", "--delete-config"]);
    refused(&["topic", "create", "a", "--replica-assignment", "1:1"], &["partition 0 names a broker twice"]);
    refused(&["topic", "describe", "a", "--interval", "1"], &["--interval", "10m"]);
    refused(&["group", "list", "--state", "x"], &["Stable", "Empty"]);
    refused(&["group", "list", "--type", "x"], &["classic", "consumer"]);
    refused(&["group", "reset-offsets", "g", "--topic", "a"], &["--to-earliest", "--shift-by"]);
    refused(&["group", "reset-offsets", "g", "--to-earliest"], &["--topic", "--all-topics"]);
    refused(&["group", "reset-offsets", "g", "--all-topics", "--by-duration", "x"], &["P1DT2H"]);
    refused(&["group", "reset-offsets", "g", "--from-file", "/no/such"], &["/no/such"]);
    refused(&["group", "remove-members", "g"], &["--member-id", "--all"]);
    refused(&["delete-records", "a:0"], &["TOPIC:PARTITION:OFFSET"]);
    refused(&["delete-records", "--offset-json-file", "/no/such"], &["/no/such"]);
    refused(&["config", "describe"], &["--topic", "--broker-defaults"]);
    refused(&["config", "alter", "--topic", "a", "--add-config", "x=1,2"], &["[compact,delete]"]);
    refused(&["config", "describe", "--entity-type", "users"], &["ottla quota"]);
    refused(&["config", "describe", "--entity-type", "x"], &["topics, brokers"]);
    refused(&["quota", "set", "--user", "a", "producer_byte_rate=x"], &["'x' is no number"]);
    refused(&["quota", "set", "producer_byte_rate=1"], &["--user", "--ip"]);
    refused(&["transaction", "list", "--state", "x"], &["Ongoing"]);
    refused(&["transaction", "abort", "--topic", "a", "--partition", "0"], &["--start-offset"]);
    refused(&["partition", "reassign", "a:0"], &["TOPIC:PARTITION=ID,ID"]);
    refused(&["perf", "produce", "a", "--num-records", "1"], &["--record-size", "--payload-file"]);
    refused(&["feature", "upgrade", "--feature", "a=x"], &["FEATURE=LEVEL"]);
    refused(&["completions", "tcsh"], &["bash", "fish"]);
    refused(&["topic", "list", "--command-config", "/no/such"], &["/no/such", "cannot read"]);
    refused(&["produce", "a", "--compression", "rar"], &["rar", "none, gzip, snappy, lz4, zstd"]);
    refused(&["produce", "a", "--acks", "2"], &["--acks", "2"]);
    refused(&["produce", "a", "--header", "x"], &["--header", "expected KEY=VALUE"]);
    refused(&["produce", "a", "--key-separator", ""], &["--key-separator"]);
    refused(&["produce", "a", "--file", "/no/such/file"], &["/no/such/file", "cannot open"]);
    refused(&["consume", "a", "--offset", "x"], &["--offset", "expected an offset"]);
    refused(&["consume", "a", "--offset", "@x"], &["neither milliseconds since 1970 nor a time"]);
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

/// The commands under a command, as its help lists them.
fn subcommands(command: &[String]) -> Vec<String> {
    let arguments: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
    let output = ottla(&arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let Some((_, rest)) = text.split_once("Commands:\n") else { return Vec::new() };
    let lines = rest.lines().take_while(|line| line.starts_with("  "));
    let names =
        lines.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn a_node_that_should_ask_an_authorizer_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.properties");
    let data = dir.path().join("data").display().to_string();
    let settings = format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\nlog.dirs={data}\n\
         listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0\n\
         controller.quorum.bootstrap.servers=127.0.0.1:9093\n"
    );
    std::fs::write(&file, settings.clone()).unwrap();
    let file = file.display().to_string();
    let formatted = ottla(&["format", "--config", &file]);
    assert!(formatted.status.success(), "{formatted:?}");
    assert_eq!(ottla(&["check-dir", "--config", &file]).status.code(), Some(0));
    let class = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";
    std::fs::write(&file, format!("{settings}authorizer.class.name={class}\n")).unwrap();
    let started = ottla(&["server", "--config", &file]);
    let text = String::from_utf8_lossy(&started.stderr);
    assert!(!started.status.success() && text.contains(class), "{text}");
    let checked = ottla(&["check-dir", "--config", &file]);
    assert_eq!(checked.status.code(), Some(2));
    let text = String::from_utf8_lossy(&checked.stdout);
    assert!(text.contains(&format!("authorizer.class.name is {class}")), "{text}");
}

#[test]
fn help_teaches_by_examples() {
    let mut commands = vec![Vec::new()];
    let mut leaves = 0;
    while let Some(command) = commands.pop() {
        let below = subcommands(&command);
        if below.is_empty() || command.is_empty() {
            leaves += 1;
            let arguments: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
            let output = ottla(&arguments);
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("Example"), "{command:?}: {text}");
            let name = ["ottla".to_owned(), command.join(" ")].join(" ");
            let (_, examples) = text.split_once("Example").expect("it was found");
            assert!(examples.contains(name.trim_end()), "{command:?} is not in its examples: {text}");
        }
        commands.extend(below.into_iter().map(|name| [command.clone(), vec![name]].concat()));
    }
    assert!(leaves > 35, "{leaves} commands");
}

#[test]
fn completions_and_manual_pages_are_written() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = ottla(&["completions", shell]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("reset-offsets"), "{shell}");
    }
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man1");
    assert!(ottla(&["man", pages.to_str().unwrap()]).status.success());
    let page = std::fs::read_to_string(pages.join("ottla-topic-create.1")).unwrap();
    assert!(page.contains(".TH ottla") && page.contains("replication"), "{page}");

    let output = ottla(&["version", "--json"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains(env!("CARGO_PKG_VERSION")));
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
