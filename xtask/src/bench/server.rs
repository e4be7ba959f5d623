//! A server under measurement: started, timed, its CPU time and memory read from `/proc`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::system::{KAFKA_JVM, System};
use crate::kafka::{Launch, SINGLE_NODE};
use crate::test::node::{answers, free_port};
use crate::test::run_command;

/// Longest start and stop: with 10,000 partitions and a slow disk both take minutes.
const LIMIT: Duration = Duration::from_secs(600);

/// A running server; ended when dropped, its data removed.
pub(super) struct Server {
    child: Child,
    command: Command,
    port: u16,
    dir: PathBuf,
    /// Address for clients.
    pub(super) bootstrap: String,
    /// From the start of the process to its first answer.
    pub(super) ready: Duration,
}

impl Server {
    /// Starts `system` on an empty directory `dir`.
    pub(super) fn start(system: &System, dir: &Path) -> Result<Self> {
        if dir.exists() {
            fs::remove_dir_all(dir)?;
        }
        fs::create_dir_all(dir)?;
        let (mut command, port) = match system {
            System::Kafka { jars } => {
                let log_dirs = format!("log.dirs={}", dir.join("data").display());
                let options: Vec<&str> = SINGLE_NODE.iter().copied().chain([&*log_dirs]).collect();
                let launch = Launch::prepare(jars, dir, KAFKA_JVM, &options)?;
                (launch.command(), launch.port)
            }
            System::Ottla { binary, policy } => ottla(binary, policy, dir)?,
            System::Machine => bail!("the machine is not a server"),
        };
        let log = File::create(dir.join("server.log"))?;
        command.stdout(log.try_clone()?).stderr(log).stdin(Stdio::null());
        let start = Instant::now();
        let child = command.spawn().with_context(|| format!("starting {}", system.name()))?;
        let bootstrap = format!("localhost:{port}");
        let dir = dir.to_owned();
        let mut server = Self { child, command, port, dir, bootstrap, ready: Duration::ZERO };
        server.wait_ready(start)?;
        Ok(server)
    }

    fn wait_ready(&mut self, start: Instant) -> Result<()> {
        while !answers(self.port) {
            if self.child.try_wait()?.is_some() || start.elapsed() > LIMIT {
                bail!("the server did not start:\n{}", fs::read_to_string(self.dir.join("server.log"))?);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.ready = start.elapsed();
        Ok(())
    }

    /// Stops it in order and starts it again; how long the start took is in `ready`, how long the stop took is returned.
    pub(super) fn restart(&mut self) -> Result<Duration> {
        let start = Instant::now();
        self.stop()?;
        let stopped = start.elapsed();
        self.start_again()?;
        Ok(stopped)
    }

    /// Kills it and starts it again; how long the start took is in `ready`.
    pub(super) fn crash_and_restart(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.start_again()
    }

    fn start_again(&mut self) -> Result<()> {
        let start = Instant::now();
        self.child = self.command.spawn().context("starting the server again")?;
        self.wait_ready(start)
    }

    /// Stops it in order and keeps its data in `kept`, for when thousands of files would have to be removed: a file system without a
    /// journal (ext4) searches past every inode given back in the last minutes when it makes a file, so the next case would pay for it.
    pub(super) fn stop_and_keep(mut self, kept: &Path) -> Result<()> {
        self.stop()?;
        fs::create_dir_all(kept)?;
        Ok(fs::rename(self.dir.join("data"), kept.join(self.child.id().to_string()))?)
    }

    /// Stops it in order.
    pub(super) fn stop(&mut self) -> Result<()> {
        run_command(Command::new("kill").arg(self.child.id().to_string()))?;
        let start = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(start.elapsed() < LIMIT, "the server does not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// User and system CPU time of all its threads so far.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> =
            stat.rsplit(')').next().context("fields of stat")?.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// What `work` yields, and the server's CPU seconds meanwhile.
    pub(super) fn metered<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
        let before = self.cpu_seconds()?;
        let done = work()?;
        Ok((done, self.cpu_seconds()? - before))
    }

    /// Resident memory, MiB.
    pub(super) fn resident_mib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).context("VmRSS")?;
        Ok(line.split_whitespace().nth(1).context("a size")?.parse::<f64>()? / 1024.0)
    }

    /// Writes all segment files of a topic to the disk and drops them from the page cache; returns their bytes.
    pub(super) fn make_cold(&self, topic: &str) -> Result<u64> {
        let mut bytes = 0;
        for partition in fs::read_dir(self.dir.join("data"))?.flatten() {
            let name = partition.file_name();
            let is_of_topic = name.to_str().and_then(|n| n.rsplit_once('-')).is_some_and(|(t, _)| t == topic);
            if !is_of_topic {
                continue;
            }
            for file in fs::read_dir(partition.path())?.flatten() {
                if file.path().extension().is_some_and(|e| e == "log") {
                    let file = File::open(file.path())?;
                    file.sync_all()?;
                    bytes += file.metadata()?.len();
                    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
                }
            }
        }
        ensure!(bytes > 0, "topic {topic} has no segment files");
        Ok(bytes)
    }
}

fn ottla(binary: &Path, policy: &str, dir: &Path) -> Result<(Command, u16)> {
    let (port, controller) = (free_port()?, free_port()?);
    let listeners = format!("PLAINTEXT://localhost:{port},CONTROLLER://localhost:{controller}");
    let mut command = Command::new(binary);
    command.arg("server");
    for option in [
        format!("listeners={listeners}"),
        format!("advertised.listeners={listeners}"),
        format!("controller.quorum.bootstrap.servers=localhost:{controller}"),
        format!("log.dirs={}", dir.join("data").display()),
        format!("log.durability.policy={policy}"),
    ] {
        command.arg("-o").arg(option);
    }
    Ok((command, port))
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(self.dir.join("data"));
    }
}
