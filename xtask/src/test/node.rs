//! A running ottla node for a lane: own directory, own ports, ended when dropped.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// A node started from the built binary.
pub(crate) struct Node {
    child: Child,
    command: Command,
    port: u16,
    /// Address for clients.
    pub(crate) bootstrap: String,
    /// Directory of its data and log.
    pub(crate) dir: PathBuf,
}

/// A port that nobody listens on now.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Whether a server answers an ApiVersions request (version 0, correlation id 7, no client id).
pub(crate) fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("localhost", port)) else { return false };
    let request = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];
    let mut response = [0_u8; 8];
    stream.set_read_timeout(Some(Duration::from_secs(30))).is_ok()
        && stream.write_all(&request).is_ok()
        && stream.read_exact(&mut response).is_ok()
        && response[7] == 7
}

impl Node {
    /// Starts a node below `scratch` and waits until it takes connections.
    pub(crate) fn start(binary: &Path, scratch: &Path) -> Result<Self> {
        Self::start_with(binary, scratch, &[])
    }

    /// Starts a node with further `key=value` options.
    pub(crate) fn start_with(binary: &Path, scratch: &Path, options: &[&str]) -> Result<Self> {
        let dir = scratch.join(format!("node-{}", std::process::id()));
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        let (port, controller) = (free_port()?, free_port()?);
        let listeners = format!("PLAINTEXT://localhost:{port},CONTROLLER://localhost:{controller}");
        let log = File::create(dir.join("server.log"))?;
        let mut command = Command::new(binary);
        command.arg("server").stdout(log.try_clone()?).stderr(log);
        for option in [
            format!("log.dirs={}", dir.join("data").display()),
            format!("listeners={listeners}"),
            format!("advertised.listeners={listeners}"),
            format!("controller.quorum.bootstrap.servers=localhost:{controller}"),
        ] {
            command.arg("-o").arg(option);
        }
        for option in options {
            command.arg("-o").arg(option);
        }
        let child = command.spawn().with_context(|| format!("starting {}", binary.display()))?;
        let mut node = Self { child, command, port, bootstrap: format!("localhost:{port}"), dir };
        node.wait()?;
        Ok(node)
    }

    fn wait(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !answers(self.port) {
            if self.child.try_wait()?.is_some() || Instant::now() > deadline {
                bail!("the node did not start:\n{}", fs::read_to_string(self.dir.join("server.log"))?);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Ends the node at once (SIGKILL) and starts it again on its directory.
    pub(crate) fn crash_and_restart(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.child = self.command.spawn().context("starting the node again")?;
        self.wait()
    }

    /// Stops the node in order (SIGTERM) and fails if it does not end well.
    pub(crate) fn stop(&mut self) -> Result<()> {
        super::run_command(Command::new("kill").arg(self.child.id().to_string()))?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the node stopped with {status}:\n{}", fs::read_to_string(self.dir.join("server.log"))?);
        }
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Already ended is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
