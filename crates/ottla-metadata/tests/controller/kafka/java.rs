//! Runs Apache Kafka and its tools.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The jars of Apache Kafka, and a scratch directory.
pub(crate) struct Kafka {
    jars: PathBuf,
    scratch: tempfile::TempDir,
}

/// A standalone node: broker 1 and controller.
pub(crate) struct KafkaNode {
    pub(crate) dir: PathBuf,
    pub(crate) port: u16,
    pub(crate) controller_port: u16,
    properties: PathBuf,
}

pub(crate) struct Running {
    child: Child,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn has_java() -> bool {
    Command::new("java").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn jars(variable: &str, test: &str) -> Option<PathBuf> {
    let Some(jars) = std::env::var_os(variable) else {
        eprintln!("SKIPPED: {test}: {variable} (directory of Kafka's jars) is not set");
        return None;
    };
    if !has_java() {
        eprintln!("SKIPPED: {test}: no java");
        return None;
    }
    Some(PathBuf::from(jars))
}

fn java(jars: &Path) -> Command {
    let mut command = Command::new("java");
    command.arg("-Xmx400m").arg("-cp").arg(jars.join("*"));
    command
}

/// Runs a command to its end; its output must not be an error.
fn lines(mut command: Command) -> Vec<String> {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(str::to_owned).collect()
}

impl Kafka {
    pub(crate) fn find(test: &str) -> Option<Self> {
        let jars = jars("OTTLA_KAFKA_CLASSPATH", test)?;
        Some(Self { jars, scratch: tempfile::tempdir().unwrap() })
    }

    pub(crate) fn node(&self) -> KafkaNode {
        let (port, controller_port) = (free_port(), free_port());
        let dir = self.scratch.path().join("data");
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n\
             controller.quorum.bootstrap.servers=localhost:{controller_port}\n\
             listeners=PLAINTEXT://localhost:{port},CONTROLLER://localhost:{controller_port}\n\
             advertised.listeners=PLAINTEXT://localhost:{port},CONTROLLER://localhost:{controller_port}\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\nlog.dirs={}\n\
             offsets.topic.replication.factor=1\nmetadata.log.max.record.bytes.between.snapshots=3000\n",
            dir.display()
        );
        let properties = self.scratch.path().join("server.properties");
        fs::write(&properties, text).unwrap();
        KafkaNode { dir, port, controller_port, properties }
    }

    pub(crate) fn format(&self, node: &KafkaNode) {
        let mut command = java(&self.jars);
        command.args([
            "kafka.tools.StorageTool",
            "format",
            "--standalone",
            "-t",
            "MkU3OEVBNTcwNTJENDM2Qg",
            "-c",
        ]);
        command.arg(&node.properties);
        lines(command);
    }

    pub(crate) fn start(&self, node: &KafkaNode) -> Running {
        let output = fs::File::create(self.scratch.path().join("kafka.log")).unwrap();
        let mut command = java(&self.jars);
        command.arg("kafka.Kafka").arg(&node.properties);
        command.stdout(output.try_clone().unwrap()).stderr(output);
        let mut running = Running { child: command.spawn().unwrap() };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("localhost", node.port)).is_err() {
            let log = || fs::read_to_string(self.scratch.path().join("kafka.log")).unwrap_or_default();
            assert!(running.child.try_wait().unwrap().is_none(), "Kafka stopped: {}", log());
            assert!(Instant::now() < deadline, "Kafka does not listen: {}", log());
            std::thread::sleep(Duration::from_millis(200));
        }
        running
    }

    /// Runs `Cluster.java` against a node.
    pub(crate) fn cluster(&self, what: &str, node: &KafkaNode) -> Vec<String> {
        let mut command = java(&self.jars);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/controller/kafka/Cluster.java"));
        command.arg(what).arg(format!("localhost:{}", node.port));
        lines(command)
    }
}

impl Running {
    pub(crate) fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "Kafka does not stop");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that fails leaves it running; one that succeeds has waited for it.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// The jars of Kafka's command-line tools.
pub(crate) struct Tools {
    jars: PathBuf,
}

impl Tools {
    pub(crate) fn find(test: &str) -> Option<Self> {
        Some(Self { jars: jars("OTTLA_KAFKA_TOOLS_CLASSPATH", test)? })
    }

    pub(crate) fn dump(&self, file: &Path) -> Vec<String> {
        let mut command = java(&self.jars);
        command
            .args(["org.apache.kafka.tools.DumpLogSegments", "--cluster-metadata-decoder", "--files"])
            .arg(file);
        lines(command)
    }
}
