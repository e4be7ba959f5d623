//! A broker to test with, and the tool that talks to it.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// What starts within this time is up.
const START: Duration = Duration::from_secs(90);

/// A broker; one that was started here is stopped when this is dropped.
pub(crate) struct Broker {
    pub(crate) address: String,
    process: Option<(Child, tempfile::TempDir)>,
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some((process, _)) = &mut self.process {
            _ = process.kill();
            _ = process.wait();
        }
    }
}

impl Broker {
    /// The broker that the environment names.
    pub(crate) fn named() -> Option<Self> {
        let address = std::env::var("OTTLA_TEST_BOOTSTRAP").ok()?;
        Some(Self { address, process: None })
    }

    /// A fresh node of ottla.
    pub(crate) fn start_ottla() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (file, address) = properties(dir.path());
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        command.args(["server", "--config", &file, "--log", "error"]).stdout(Stdio::null());
        let process = command.spawn().expect("the binary runs");
        Self { address, process: Some((process, dir)) }.up()
    }

    /// A fresh Apache Kafka, if its jars are there.
    pub(crate) fn start_kafka() -> Option<Self> {
        let Ok(jars) = std::env::var("OTTLA_KAFKA_CLASSPATH") else {
            eprintln!("SKIPPED: OTTLA_KAFKA_CLASSPATH is not set; nothing was tested with Apache Kafka");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let (file, address) = properties(dir.path());
        let java = |arguments: &[&str]| {
            let mut command = Command::new("java");
            command.args(["-Xmx400m", "-XX:TieredStopAtLevel=1", "-cp"]).arg(Path::new(&jars).join("*"));
            command.args(arguments).current_dir(dir.path()).stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        let format = ["kafka.tools.StorageTool", "format", "-t", "4L6g3nShT-eMCtK--X86sw", "-c", &file];
        assert!(java(&format).status().expect("java runs").success(), "kafka's storage is formatted");
        let process = java(&["kafka.Kafka", &file]).spawn().expect("java runs");
        Some(Self { address, process: Some((process, dir)) }.up())
    }

    fn up(self) -> Self {
        let started = Instant::now();
        while TcpStream::connect(&self.address).is_err() || !self.run(&["topic", "list"]).status.success() {
            assert!(started.elapsed() < START, "the broker is up within {START:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
        self
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        command.args(arguments).env("OTTLA_BOOTSTRAP_SERVER", &self.address).env_remove("RUST_LOG");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().expect("the binary runs")
    }

    /// Runs a command that must succeed, and returns what it prints.
    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        self.ok_with(arguments, "")
    }

    #[track_caller]
    pub(crate) fn ok_with(&self, arguments: &[&str], input: &str) -> String {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let text = self.ok(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    /// Runs a command that must fail with exit code 1, and returns what it says.
    #[track_caller]
    pub(crate) fn failed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        text
    }

    /// Whether the broker serves all of these requests; says so if not.
    pub(crate) fn serves(&self, requests: &[&str]) -> bool {
        let versions = self.json(&["broker", "api-versions"]);
        let apis = versions[0]["apis"].as_array().expect("a list of requests");
        let missing = requests.iter().find(|request| !apis.iter().any(|api| api["name"] == **request));
        if let Some(missing) = missing {
            eprintln!("SKIPPED: the broker does not serve {missing}");
        }
        missing.is_none()
    }
}

/// A configuration of a node with two directories, as a file, and its address.
fn properties(dir: &Path) -> (String, String) {
    let (port, controller_port) = (free_port(), free_port());
    let properties = format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@localhost:{controller_port}\n\
         listeners=PLAINTEXT://localhost:{port},CONTROLLER://localhost:{controller_port}\n\
         advertised.listeners=PLAINTEXT://localhost:{port}\ncontroller.listener.names=CONTROLLER\n\
         log.dirs={0}/data-1,{0}/data-2\noffsets.topic.replication.factor=1\noffsets.topic.num.partitions=3\n\
         transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
         transaction.state.log.num.partitions=3\ngroup.initial.rebalance.delay.ms=0\n",
        dir.display()
    );
    let file = dir.join("server.properties");
    std::fs::write(&file, properties).unwrap();
    (file.to_str().unwrap().to_owned(), format!("localhost:{port}"))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
