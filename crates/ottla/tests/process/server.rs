//! A server in a process and a directory of its own.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// What a server may take until it answers, or until something shows.
const PATIENCE: Duration = Duration::from_secs(300);

/// A running server. It is ended when dropped, and what it logged is shown if that is the end of a failed test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    process: Child,
    log: PathBuf,
    _dir: Option<tempfile::TempDir>,
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
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
        let log_dirs = format!("log.dirs={}", dir.path().join("data").display());
        let home = dir.path().to_owned();
        Self::start_with(&home, Some(dir), &[&["-o", &log_dirs], arguments].concat())
    }

    /// As `start`, with what it logs in this directory and `log.dirs` among the arguments.
    pub(crate) fn start_in(home: &Path, arguments: &[&str]) -> Self {
        Self::start_with(home, None, arguments)
    }

    fn start_with(home: &Path, own: Option<tempfile::TempDir>, arguments: &[&str]) -> Self {
        let sockets = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let [port, controller_port] = sockets.map(|socket| socket.local_addr().unwrap().port());
        let listeners =
            format!("listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}");
        let log = home.join("log.txt");
        let process = Command::new(binary())
            .args(["server", "-o", &listeners])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .expect("the binary runs");
        let server = Self { address: (Ipv4Addr::LOCALHOST, port).into(), process, log, _dir: own };
        server.wait_for("the server is up", || server.runs(&["topic", "list"]));
        server
    }

    /// Looks until it is so.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !is_so() {
            assert!(begin.elapsed() < PATIENCE, "{what}: {}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Whether a command of the command line against this server succeeds.
    pub(crate) fn runs(&self, arguments: &[&str]) -> bool {
        self.run(arguments).status.success()
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
