//! Log levels of a running server, changed by requests.

use crate::server::Server;

/// A server whose levels and log are looked at.
struct Watched(Server);

impl Watched {
    fn start(format: &str) -> Self {
        Self(Server::start(&["--log", "info,ottla_storage::log=warn", "--log-format", format]))
    }

    /// What a `config` command prints about this server's loggers.
    #[track_caller]
    fn loggers(&self, command: &str, arguments: &[&str]) -> String {
        let of = ["config", command, "--entity-type", "broker-loggers", "--entity-name", "1"];
        let output = self.0.run(&[&of, arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn level(&self, logger: &str) -> Option<String> {
        let described = self.loggers("describe", &["--json"]);
        let described: serde_json::Value = serde_json::from_str(&described).unwrap();
        let entries = described["configs"].as_array().unwrap();
        assert!(entries.iter().all(|entry| entry["source"] == "DYNAMIC_BROKER_LOGGER_CONFIG"), "{described}");
        let found = entries.iter().find(|entry| entry["name"] == logger)?;
        Some(found["value"].as_str().unwrap().to_owned())
    }

    /// How many lines a crate has written at the DEBUG level, in either form of the log.
    fn debug_lines(&self, of: &str) -> usize {
        let (text, target) = (format!(" DEBUG {of}::"), format!("\"target\":\"{of}::"));
        let is_one = |line: &&str| {
            line.contains(&text) || line.contains("\"level\":\"DEBUG\"") && line.contains(&target)
        };
        self.0.log().lines().filter(is_one).count()
    }
}

fn levels_change_while_the_server_runs(format: &str) {
    let watched = Watched::start(format);
    let server = &watched.0;
    let debug_lines = || watched.debug_lines("ottla_net");
    assert_eq!(watched.level("root").as_deref(), Some("INFO"));
    assert_eq!(watched.level("ottla_net").as_deref(), Some("INFO"));
    assert_eq!(watched.level("ottla_storage::log").as_deref(), Some("WARN"));
    assert_eq!(watched.level("nobody"), None);
    assert_eq!(debug_lines(), 0, "{}", server.log());

    watched.loggers("alter", &["--add-config", "ottla_net=DEBUG"]);
    assert_eq!(watched.level("ottla_net").as_deref(), Some("DEBUG"));
    server.wait_for("a connection is logged", || {
        assert!(server.runs(&["topic", "list"]));
        debug_lines() > 0
    });
    assert_eq!(watched.debug_lines("ottla_broker"), 0, "{}", server.log());

    watched.loggers("delete", &["ottla_net"]);
    let before = debug_lines();
    assert!(server.runs(&["topic", "list"]));
    assert_eq!(watched.level("ottla_net").as_deref(), Some("INFO"));
    assert_eq!(debug_lines(), before, "{}", server.log());

    // All follow the root, but for what the command line set.
    watched.loggers("alter", &["--add-config", "root=DEBUG"]);
    assert_eq!(watched.level("ottla_coordinator").as_deref(), Some("DEBUG"));
    assert_eq!(watched.level("ottla_storage::log").as_deref(), Some("WARN"));
    assert!(debug_lines() > before, "{}", server.log());
}

#[test]
fn levels_change_while_lines_are_written() {
    levels_change_while_the_server_runs("text");
}

#[test]
fn levels_change_while_json_is_written() {
    levels_change_while_the_server_runs("json");
}
