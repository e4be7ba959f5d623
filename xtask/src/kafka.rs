//! A running Apache Kafka, from its jars, to compare with or to move data from.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::test::node::{answers, free_port};
use crate::test::run_command;

/// What a single node needs to be told in any case.
pub(crate) const COMMON: &[&str] = &[
    "process.roles=broker,controller",
    "node.id=1",
    "controller.listener.names=CONTROLLER",
    "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "offsets.topic.replication.factor=1",
    "offsets.topic.num.partitions=5",
    "transaction.state.log.replication.factor=1",
    "transaction.state.log.min.isr=1",
    "group.initial.rebalance.delay.ms=0",
];

/// A single node, broker and controller; ended when dropped.
pub(crate) struct Kafka {
    child: Child,
    /// Address for clients.
    pub(crate) bootstrap: String,
}

impl Kafka {
    /// Formats `dir`, starts a node there and waits until it takes connections.
    pub(crate) fn start(jars: &Path, dir: &Path) -> Result<Self> {
        let log_dirs = format!("log.dirs={}", dir.join("data").display());
        let options = COMMON.iter().copied().chain([log_dirs.as_str()]).collect::<Vec<_>>();
        Self::start_with(jars, dir, &options)
    }

    /// The same with these `key=value` options, listeners apart.
    pub(crate) fn start_with(jars: &Path, dir: &Path, options: &[&str]) -> Result<Self> {
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
        let java = |class: &str| {
            let mut command = Command::new("java");
            command.args(["-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp"]).arg(jars.join("*")).arg(class);
            command.stdin(Stdio::null());
            command
        };
        run_command(
            java("kafka.tools.StorageTool")
                .args(["format", "--standalone", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c"])
                .arg(&config)
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        )?;
        let log = File::create(dir.join("server.log"))?;
        let child = java("kafka.Kafka").arg(&config).stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut kafka = Self { child, bootstrap: format!("localhost:{port}") };
        let deadline = Instant::now() + Duration::from_secs(120);
        while !answers(port) {
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
