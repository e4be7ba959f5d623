//! The two servers: a node of ours in this process, and Apache Kafka in a process of its own.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ottla_broker::{LogLevels, Node};
use ottla_config::{BrokerConfig, Sources};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Settings that both have beside their addresses and directories.
const SETTINGS: &[(&str, &str)] = &[
    ("process.roles", "broker,controller"),
    ("node.id", "1"),
    ("controller.listener.names", "CONTROLLER"),
    ("offsets.topic.num.partitions", "1"),
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.num.partitions", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.num.partitions", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("group.consumer.assignment.interval.ms", "0"),
    ("broker.rack", "rack-a"),
    ("num.partitions", "2"),
    ("log.cleaner.backoff.ms", "200"),
    // The records are of one fixed day long ago.
    ("log.retention.ms", "-1"),
    // A machine that is busy elsewhere for a while must not cost a broker its leaderships: each is a new leader epoch.
    ("broker.session.timeout.ms", "600000"),
];

/// Two ports that nobody listened on a moment ago.
fn free_ports() -> [u16; 2] {
    let sockets = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
    sockets.map(|socket| socket.local_addr().expect("bound").port())
}

fn settings(dir: &Path, [broker, controller]: [u16; 2], extra: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = [
        ("log.dirs", dir.join("data").display().to_string()),
        ("listeners", format!("PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}")),
        ("advertised.listeners", format!("PLAINTEXT://127.0.0.1:{broker}")),
        ("controller.quorum.bootstrap.servers", format!("127.0.0.1:{controller}")),
    ];
    let shared = SETTINGS.iter().map(|(key, value)| (*key, (*value).to_owned()));
    let extra = extra.iter().map(|(key, value)| (*key, (*value).to_owned()));
    shared.chain(own).chain(extra).map(|(key, value)| (key.to_owned(), value)).collect()
}

/// As a properties file.
fn text(settings: &[(String, String)]) -> String {
    settings.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
}

/// A node of ours.
pub(crate) struct Own {
    pub(crate) address: SocketAddr,
    node: Option<Node>,
    runtime: Runtime,
    _dir: TempDir,
}

impl Own {
    pub(crate) fn start(extra: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().expect("a directory");
        let ports = free_ports();
        let properties = text(&settings(dir.path(), ports, extra));
        let sources = Sources { properties: Some(&properties), overrides: &[] };
        let (config, _) = BrokerConfig::load(sources).expect("a valid configuration");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let node =
            runtime.block_on(Node::start(config, LogLevels::default(), || {})).expect("the node starts");
        Self { address: (Ipv4Addr::LOCALHOST, ports[0]).into(), node: Some(node), runtime, _dir: dir }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            let stopped = self.runtime.block_on(node.stop());
            assert!(std::thread::panicking() || stopped.is_ok(), "the node stops: {stopped:?}");
        }
    }
}

/// Past the capture of passing tests' output: this has to be seen.
fn skipped(why: &str) {
    let text = format!("SKIPPED: {why}; answers were not compared with Apache Kafka's\n");
    std::io::stderr().write_all(text.as_bytes()).expect("a standard error");
}

/// Apache Kafka 4.4.0.
pub(crate) struct Kafka {
    pub(crate) address: SocketAddr,
    process: Child,
    _dir: TempDir,
}

impl Kafka {
    /// Starts one when `OTTLA_KAFKA_CLASSPATH` has its jars; says loudly when not.
    pub(crate) fn start(extra: &[(&str, &str)]) -> Option<Self> {
        let Some(jars) = std::env::var_os("OTTLA_KAFKA_CLASSPATH").map(PathBuf::from) else {
            skipped("OTTLA_KAFKA_CLASSPATH is not set");
            return None;
        };
        let java = Command::new("java").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !java.is_ok_and(|status| status.success()) {
            skipped("there is no java");
            return None;
        }
        let dir = TempDir::new().expect("a directory");
        let ports = free_ports();
        let properties = dir.path().join("server.properties");
        fs::write(&properties, text(&settings(dir.path(), ports, extra))).expect("a writable directory");
        let java = |main: &str| {
            let log = fs::File::options().create(true).append(true).open(dir.path().join("log.txt"));
            let log = log.expect("a writable directory");
            let mut command = Command::new("java");
            command.args(["-Xmx400m", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp"]);
            command.arg(jars.join("*")).arg(main).stdin(Stdio::null());
            command.stdout(log.try_clone().expect("a file")).stderr(log);
            command
        };
        let formatted = java("kafka.tools.StorageTool")
            .args(["format", "--standalone", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c"])
            .arg(&properties)
            .status();
        let said = || fs::read_to_string(dir.path().join("log.txt")).unwrap_or_default();
        assert!(formatted.expect("java runs").success(), "formatting failed: {}", said());
        let mut process = java("kafka.Kafka").arg(&properties).spawn().expect("java runs");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports[0]));
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = process.try_wait().expect("a child");
            assert!(ended.is_none(), "Kafka ended with {ended:?}: {}", said());
            if begin.elapsed() > Duration::from_secs(60) {
                _ = process.kill();
                panic!("Kafka does not listen: {}", said());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(Self { address, process, _dir: dir })
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}
