//! A data directory with its `server.properties`, and the servers that run on it.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::peer::Peer;

const CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Qg";

/// How long a server may take to start or stop on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a user's file has, whether ottla uses the key or not. With `{}` for what differs.
const PROPERTIES: &str = "\
############################# Server Basics #############################
process.roles=broker,controller
node.id=1
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT
num.network.threads=3
num.io.threads=4
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
num.partitions=1
num.recovery.threads.per.data.dir=2
offsets.topic.num.partitions=5
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=5
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
log.retention.hours=-1
log.cleaner.backoff.ms=100
log.cleaner.dedupe.buffer.size=16777216
log.retention.check.interval.ms=300000
group.initial.rebalance.delay.ms=0
group.consumer.session.timeout.ms=1200000
group.consumer.max.session.timeout.ms=1200000
metadata.log.max.record.bytes.between.snapshots=6000
file.delete.delay.ms=60000
metric.reporters=
log.durability.policy=sync
log.message.timestamp.after.max.ms=9223372036854775807
";

/// A release of Apache Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    V4_0,
    V4_2,
    V4_4,
}

impl Release {
    fn folder(self) -> &'static str {
        match self {
            Self::V4_0 => "kafka-4.0",
            Self::V4_2 => "kafka-4.2",
            Self::V4_4 => "kafka",
        }
    }
}

/// How a site is laid out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Number of `log.dirs`.
    pub(crate) dirs: usize,
    /// `controller.quorum.voters` (kraft.version 0) in place of voters in the log.
    pub(crate) static_voters: bool,
}

/// The directories, the configuration, and where the servers listen.
#[derive(Debug)]
pub(crate) struct Site {
    jars: PathBuf,
    home: tempfile::TempDir,
    shape: Shape,
    address: SocketAddr,
}

impl Site {
    pub(crate) fn new(jars: PathBuf, shape: Shape) -> Self {
        let ports = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
        let [address, controller] = ports.map(|port| port.local_addr().expect("bound"));
        let site = Self { jars, home: tempfile::tempdir().expect("a directory"), shape, address };
        let mut text = PROPERTIES.to_owned();
        let dirs: Vec<String> = site.dirs().iter().map(|dir| dir.display().to_string()).collect();
        writeln!(text, "log.dirs={}", dirs.join(",")).expect("a string");
        writeln!(text, "listeners=PLAINTEXT://{address},CONTROLLER://{controller}").expect("a string");
        writeln!(text, "advertised.listeners=PLAINTEXT://{address},CONTROLLER://{controller}")
            .expect("a string");
        if shape.static_voters {
            writeln!(text, "controller.quorum.voters=1@{controller}").expect("a string");
        } else {
            writeln!(text, "controller.quorum.bootstrap.servers={controller}").expect("a string");
        }
        fs::write(site.properties(), text).expect("a writable directory");
        site
    }

    pub(crate) fn dirs(&self) -> Vec<PathBuf> {
        (0..self.shape.dirs).map(|i| self.home.path().join(format!("data-{i}"))).collect()
    }

    pub(crate) fn properties(&self) -> PathBuf {
        self.home.path().join("server.properties")
    }

    /// A JVM with a main class; its output goes to `log`.
    fn java(&self, folder: &str, main: &str, log: &Path) -> Command {
        let file = File::options().create(true).append(true).open(log).expect("a writable directory");
        let mut command = Command::new("java");
        command.args(["-Xmx400m", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"]);
        let path = |folder: &str| self.jars.join(folder).join("jars/*").display().to_string();
        command.arg(format!("{}:{}", path(folder), path("kafka-logging"))).arg(main);
        command.current_dir(self.home.path()).stdin(Stdio::null());
        command.stdout(file.try_clone().expect("a file")).stderr(file);
        command
    }

    /// Formats as Kafka's documentation says.
    pub(crate) fn format_by(&self, release: Release) {
        let log = self.home.path().join("format.log");
        let mut command = self.java(release.folder(), "kafka.tools.StorageTool", &log);
        command.args(["format", "-t", CLUSTER, "-c"]).arg(self.properties());
        if !self.shape.static_voters {
            command.arg("--standalone");
        }
        assert!(command.status().expect("java runs").success(), "{}", text_of(&log));
    }

    pub(crate) fn format_by_ottla(&self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        command.args(["format", "-t", CLUSTER, "--config"]).arg(self.properties());
        let output = command.output().expect("ottla runs");
        assert!(output.status.success(), "{output:?}");
    }

    /// Runs a tool of Kafka's newest tools and returns what it printed.
    pub(crate) fn tool(&self, main: &str, args: &[String]) -> String {
        let log = self.home.path().join("tool.log");
        let mut command = self.java("kafka-tools", main, &log);
        let output = command.args(args).stdout(Stdio::piped()).output().expect("java runs");
        assert!(output.status.success(), "{main}: {}", text_of(&log));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts a release of Kafka; `turn` names its log.
    pub(crate) fn start_kafka(&self, release: Release, turn: usize) -> Server {
        let log = self.home.path().join(format!("{turn}-kafka.log"));
        let mut command = self.java(release.folder(), "kafka.Kafka", &log);
        command.arg(self.properties());
        self.started(&mut command, Kind::Kafka, log)
    }

    pub(crate) fn start_ottla(&self, turn: usize) -> Server {
        let log = self.home.path().join(format!("{turn}-ottla.log"));
        let file = File::create(&log).expect("a writable directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        command.args(["server", "--log", "debug", "--config"]).arg(self.properties());
        command.current_dir(self.home.path()).stdin(Stdio::null()).stdout(file.try_clone().expect("a file"));
        self.started(command.stderr(file), Kind::Ottla, log)
    }

    fn started(&self, command: &mut Command, kind: Kind, log: PathBuf) -> Server {
        let mut server = Server { kind, log, process: command.spawn().expect("it starts") };
        let begin = Instant::now();
        while Peer::connect(self.address).is_err() {
            let ended = server.process.try_wait().expect("a child");
            assert!(ended.is_none(), "{kind:?} ended with {ended:?}: {}", server.said());
            assert!(begin.elapsed() < PATIENCE, "{kind:?} does not answer: {}", server.said());
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    pub(crate) fn peer(&self) -> Peer {
        Peer::connect(self.address).expect("it answered before")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Kafka,
    Ottla,
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) kind: Kind,
    log: PathBuf,
    process: Child,
}

impl Server {
    /// What it has written.
    pub(crate) fn said(&self) -> String {
        text_of(&self.log)
    }

    /// SIGTERM, and the end.
    pub(crate) fn stop(&mut self) {
        let status = Command::new("kill").arg(self.process.id().to_string()).status();
        assert!(status.expect("kill runs").success());
        let begin = Instant::now();
        while self.process.try_wait().expect("a child").is_none() {
            assert!(begin.elapsed() < PATIENCE, "{:?} does not stop: {}", self.kind, self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGKILL, and the end.
    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What the servers said, and what they left, is the way to the cause.
            eprintln!("the directory is kept: {}", self.home.path().display());
            self.home.disable_cleanup(true);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn text_of(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
