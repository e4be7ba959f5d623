//! A server under measurement: started, timed, its CPU time and memory read from `/proc`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::test::node::answers;
use crate::test::run_command;

/// What is measured.
pub(super) enum System {
    /// Apache Kafka from its jars.
    Kafka { jars: PathBuf, scratch: PathBuf },
    /// The release binary.
    Ottla { name: String, binary: PathBuf, scratch: PathBuf, options: Vec<String> },
}

const PORT: u16 = 19592;

impl System {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Kafka { .. } => "Apache Kafka 4.4.0",
            Self::Ottla { name, .. } => name,
        }
    }

    fn scratch(&self) -> &Path {
        match self {
            Self::Kafka { scratch, .. } | Self::Ottla { scratch, .. } => scratch,
        }
    }

    /// The command that runs the server; formats Kafka's directory first.
    fn command(&self, data: &Path) -> Result<Command> {
        let controller = PORT + 1;
        let listeners = format!("PLAINTEXT://localhost:{PORT},CONTROLLER://localhost:{controller}");
        let shared = [
            format!("listeners={listeners}"),
            format!("advertised.listeners={listeners}"),
            format!("controller.quorum.bootstrap.servers=localhost:{controller}"),
            format!("log.dirs={}", data.display()),
        ];
        match self {
            Self::Ottla { binary, options, .. } => {
                let mut command = Command::new(binary);
                command.arg("server");
                for option in shared.iter().chain(options) {
                    command.arg("-o").arg(option);
                }
                Ok(command)
            }
            Self::Kafka { jars, scratch } => {
                let mut properties = shared.join("\n");
                properties.push_str(
                    "\nprocess.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n\
                     listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
                     offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
                     transaction.state.log.min.isr=1\n",
                );
                let config = scratch.join("server.properties");
                fs::write(&config, properties)?;
                let java = |class: &str| {
                    let mut command = Command::new("java");
                    command.args(["-Xms1g", "-Xmx1g", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-cp"]);
                    command.arg(jars.join("*")).arg(class);
                    command
                };
                run_command(
                    java("kafka.tools.StorageTool")
                        .args(["format", "--standalone", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c"])
                        .arg(&config)
                        .stdout(Stdio::null())
                        .stderr(Stdio::null()),
                )?;
                let mut command = java("kafka.Kafka");
                command.arg(config);
                Ok(command)
            }
        }
    }
}

/// A running server.
pub(super) struct Server {
    child: Child,
    pub(super) bootstrap: String,
    /// From the start of the process to its first answer.
    pub(super) ready: Duration,
    data: PathBuf,
}

impl Server {
    pub(super) fn start(system: &System) -> Result<Self> {
        let scratch = system.scratch();
        let data = scratch.join("data");
        if scratch.exists() {
            fs::remove_dir_all(scratch)?;
        }
        fs::create_dir_all(scratch)?;
        let mut command = system.command(&data)?;
        let log = File::create(scratch.join("server.log"))?;
        command.stdout(log.try_clone()?).stderr(log).stdin(Stdio::null());
        let start = Instant::now();
        let mut child = command.spawn().context("starting the server")?;
        while !answers(PORT) {
            if child.try_wait()?.is_some() || start.elapsed() > Duration::from_secs(60) {
                bail!(
                    "{} did not start:\n{}",
                    system.name(),
                    fs::read_to_string(scratch.join("server.log"))?
                );
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Self { child, bootstrap: format!("localhost:{PORT}"), ready: start.elapsed(), data })
    }

    /// User and system CPU time of all its threads so far.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> =
            stat.rsplit(')').next().context("fields of stat")?.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        Ok(ticks as f64 / 100.0)
    }

    /// Resident memory, MiB.
    pub(super) fn resident_mib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).context("VmRSS")?;
        Ok(line.split_whitespace().nth(1).context("a size")?.parse::<f64>()? / 1024.0)
    }

    pub(super) fn stop(&mut self) -> Result<()> {
        run_command(Command::new("kill").arg(self.child.id().to_string()))?;
        self.child.wait()?;
        fs::remove_dir_all(&self.data)?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One line about this machine: processor, cores, memory, kernel.
pub(super) fn machine() -> Result<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpuinfo
        .lines()
        .find(|l| l.starts_with("model name"))
        .and_then(|l| l.split(": ").nth(1))
        .unwrap_or("?");
    let cores = cpuinfo.lines().filter(|l| l.starts_with("processor")).count();
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kib: f64 = memory.split_whitespace().nth(1).context("MemTotal")?.parse()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{model}, {cores} cores, {:.0} GiB, Linux {}", kib / 1_048_576.0, kernel.trim()))
}
