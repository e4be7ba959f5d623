//! Apache Kafka from its jars, one node that is broker and controller: to compare with, to move data from, to measure beside.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::test::node::{answers, free_port};
use crate::test::run_command;

/// What a single node needs to be told in any case.
pub(crate) const SINGLE_NODE: &[&str] = &[
    "process.roles=broker,controller",
    "node.id=1",
    "controller.listener.names=CONTROLLER",
    "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "offsets.topic.replication.factor=1",
    "transaction.state.log.replication.factor=1",
    "transaction.state.log.min.isr=1",
];

/// What makes groups quicker to come up than with the defaults.
pub(crate) const QUICK_GROUPS: &[&str] =
    &["offsets.topic.num.partitions=5", "group.initial.rebalance.delay.ms=0"];

/// How a node is started, as often as wanted, on a directory formatted for it.
pub(crate) struct Launch {
    jars: PathBuf,
    config: PathBuf,
    jvm: &'static [&'static str],
    /// Where it listens for clients.
    pub(crate) port: u16,
}

impl Launch {
    /// Writes `dir/server.properties` with these `key=value` options, to which it adds listeners, and formats what they say.
    pub(crate) fn prepare(
        jars: &Path,
        dir: &Path,
        jvm: &'static [&'static str],
        options: &[&str],
    ) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let (port, controller) = (free_port()?, free_port()?);
        let listeners = format!("PLAINTEXT://localhost:{port},CONTROLLER://localhost:{controller}");
        let config = dir.join("server.properties");
        fs::write(
            &config,
            format!(
                "listeners={listeners}\nadvertised.listeners={listeners}\n\
                 controller.quorum.bootstrap.servers=localhost:{controller}\n{}\n",
                options.join("\n")
            ),
        )?;
        let launch = Self { jars: jars.to_owned(), config, jvm, port };
        run_command(
            launch
                .java("kafka.tools.StorageTool")
                .args(["format", "--standalone", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c"])
                .arg(&launch.config)
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        )?;
        Ok(launch)
    }

    /// The command that runs the node until it is ended.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.java("kafka.Kafka");
        command.arg(&self.config);
        command
    }

    fn java(&self, class: &str) -> Command {
        let mut command = Command::new("java");
        command.args(self.jvm).arg("-cp").arg(self.jars.join("*")).arg(class).stdin(Stdio::null());
        command
    }
}

/// A running node; ended when dropped.
pub(crate) struct Kafka {
    child: Child,
    /// Address for clients.
    pub(crate) bootstrap: String,
}

impl Kafka {
    /// Formats `dir`, starts a node there and waits until it takes connections. It is small and starts fast.
    pub(crate) fn start(jars: &Path, dir: &Path) -> Result<Self> {
        let log_dirs = format!("log.dirs={}", dir.join("data").display());
        let options: Vec<&str> =
            SINGLE_NODE.iter().chain(QUICK_GROUPS).copied().chain([log_dirs.as_str()]).collect();
        Self::start_with(jars, dir, &options)
    }

    /// The same with these `key=value` options, listeners apart.
    pub(crate) fn start_with(jars: &Path, dir: &Path, options: &[&str]) -> Result<Self> {
        let launch = Launch::prepare(jars, dir, &["-Xmx512m", "-XX:TieredStopAtLevel=1"], options)?;
        let log = File::create(dir.join("server.log"))?;
        let child = launch.command().stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut kafka = Self { child, bootstrap: format!("localhost:{}", launch.port) };
        let deadline = Instant::now() + Duration::from_secs(120);
        while !answers(launch.port) {
            if kafka.child.try_wait().context("looking after Kafka")?.is_some() || Instant::now() > deadline {
                bail!("Apache Kafka did not start:\n{}", fs::read_to_string(dir.join("server.log"))?);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(kafka)
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // Already ended is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
