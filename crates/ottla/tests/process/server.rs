//! A server in a process and a directory of its own.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// What a server may take until it answers.
const START: Duration = Duration::from_secs(300);

/// A running server; it is ended when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    process: Child,
    log: PathBuf,
    _dir: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// The binary that was built with the tests; `OTTLA_BIN` names another one, for measuring one that is optimized.
fn binary() -> PathBuf {
    std::env::var_os("OTTLA_BIN").map_or_else(|| env!("CARGO_BIN_EXE_ottla").into(), PathBuf::from)
}

impl Server {
    /// Starts one with these further arguments, and waits until it answers.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sockets = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let [port, controller_port] = sockets.map(|socket| socket.local_addr().unwrap().port());
        let listeners =
            format!("listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}");
        let log_dirs = format!("log.dirs={}", dir.path().join("data").display());
        let log = dir.path().join("log.txt");
        let process = Command::new(binary())
            .args(["server", "-o", &listeners, "-o", &log_dirs])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .expect("the binary runs");
        let server = Self { address: (Ipv4Addr::LOCALHOST, port).into(), process, log, _dir: dir };
        let begin = Instant::now();
        while !server.run(&["topic", "list"]).status.success() {
            assert!(begin.elapsed() < START, "the server is up: {}", server.log());
            std::thread::sleep(Duration::from_millis(100));
        }
        server
    }

    /// Runs a command of the command line against this server.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .env("OTTLA_BOOTSTRAP_SERVER", self.address.to_string())
            .env_remove("RUST_LOG");
        command.stdin(Stdio::null()).output().expect("the binary runs")
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The most memory that the process ever had, in bytes.
    pub(crate) fn peak_bytes(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the peak is told");
        line.trim().trim_end_matches("kB").trim().parse::<usize>().expect("a number") * 1024
    }
}
