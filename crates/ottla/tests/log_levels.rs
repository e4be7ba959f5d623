//! Log levels of a running server, changed by requests.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(60);

struct Server {
    address: String,
    log: PathBuf,
    process: Child,
    _dir: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

impl Server {
    fn start(format: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sockets = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let [port, controller_port] = sockets.map(|socket| socket.local_addr().unwrap().port());
        let listeners =
            format!("listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}");
        let log_dirs = format!("log.dirs={}", dir.path().join("data").display());
        let log = dir.path().join("log.txt");
        let process = Command::new(env!("CARGO_BIN_EXE_ottla"))
            .args(["server", "-o", &listeners, "-o", &log_dirs, "--log", "info,ottla_storage::log=warn"])
            .args(["--log-format", format])
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .expect("the binary runs");
        let server = Self { address: format!("127.0.0.1:{port}"), log, process, _dir: dir };
        let begin = Instant::now();
        while !server.run(&["topic", "list"]).status.success() {
            assert!(begin.elapsed() < DEADLINE, "the server is up: {}", server.log());
            std::thread::sleep(Duration::from_millis(100));
        }
        server
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        command.args(arguments).env("OTTLA_BOOTSTRAP_SERVER", &self.address).env_remove("RUST_LOG");
        command.stdin(Stdio::null()).output().expect("the binary runs")
    }

    /// What a `config` command prints about this server's loggers.
    #[track_caller]
    fn loggers(&self, command: &str, arguments: &[&str]) -> String {
        let of = ["config", command, "--entity-type", "broker-loggers", "--entity-name", "1"];
        let output = self.run(&[&of, arguments].concat());
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

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// How many lines a crate has written at the DEBUG level, in either form of the log.
    fn debug_lines(&self, of: &str) -> usize {
        let (text, target) = (format!(" DEBUG {of}::"), format!("\"target\":\"{of}::"));
        let is_one = |line: &&str| {
            line.contains(&text) || line.contains("\"level\":\"DEBUG\"") && line.contains(&target)
        };
        self.log().lines().filter(is_one).count()
    }
}

fn levels_change_while_the_server_runs(format: &str) {
    let server = Server::start(format);
    let debug_lines = || server.debug_lines("ottla_net");
    assert_eq!(server.level("root").as_deref(), Some("INFO"));
    assert_eq!(server.level("ottla_net").as_deref(), Some("INFO"));
    assert_eq!(server.level("ottla_storage::log").as_deref(), Some("WARN"));
    assert_eq!(server.level("nobody"), None);
    assert_eq!(debug_lines(), 0, "{}", server.log());

    server.loggers("alter", &["--add-config", "ottla_net=DEBUG"]);
    assert_eq!(server.level("ottla_net").as_deref(), Some("DEBUG"));
    let begin = Instant::now();
    while debug_lines() == 0 {
        assert!(begin.elapsed() < DEADLINE, "a connection is logged: {}", server.log());
        assert!(server.run(&["topic", "list"]).status.success());
    }
    assert_eq!(server.debug_lines("ottla_broker"), 0, "{}", server.log());

    server.loggers("delete", &["ottla_net"]);
    let before = debug_lines();
    assert!(server.run(&["topic", "list"]).status.success());
    assert_eq!(server.level("ottla_net").as_deref(), Some("INFO"));
    assert_eq!(debug_lines(), before, "{}", server.log());

    // All follow the root, but for what the command line set.
    server.loggers("alter", &["--add-config", "root=DEBUG"]);
    assert_eq!(server.level("ottla_coordinator").as_deref(), Some("DEBUG"));
    assert_eq!(server.level("ottla_storage::log").as_deref(), Some("WARN"));
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
