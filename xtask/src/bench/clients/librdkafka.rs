//! The load generator around librdkafka in `xtask/load`: built on first use, results read as JSON.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::test::{Context, output_of, run_command};

/// The built program.
pub(crate) struct Load {
    binary: PathBuf,
}

/// Percentiles of latencies.
#[derive(Debug, Deserialize)]
pub(crate) struct Latencies {
    /// Percentile and milliseconds, ascending.
    pub(crate) percentiles_ms: Vec<(f64, f64)>,
}

/// What came of sending at a fixed rate.
#[derive(Debug, Deserialize)]
pub(crate) struct Rate {
    pub(crate) rate: f64,
    pub(crate) acked: u64,
    pub(crate) failed: u64,
    pub(crate) latencies: Latencies,
    /// How much later than intended records came to librdkafka.
    pub(crate) lateness: Latencies,
    /// CPU seconds a second of the program.
    pub(crate) cores: f64,
}

/// What came of sending as fast as possible.
#[derive(Debug, Deserialize)]
pub(crate) struct Flood {
    pub(crate) rate: f64,
    pub(crate) acked: u64,
    pub(crate) failed: u64,
}

/// What was read.
#[derive(Debug, Deserialize)]
pub(crate) struct Read {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
}

/// How long a group took to settle, in seconds.
#[derive(Debug, Deserialize)]
pub(crate) struct Settled {
    pub(crate) formed: f64,
    pub(crate) joined: f64,
    pub(crate) left: f64,
}

/// Commits of offsets.
#[derive(Debug, Deserialize)]
pub(crate) struct Commits {
    pub(crate) count: u64,
    pub(crate) seconds: f64,
    pub(crate) latencies: Latencies,
}

/// How long a topic took to be made.
#[derive(Debug, Deserialize)]
pub(crate) struct Created {
    pub(crate) seconds: f64,
}

/// What the machine does without a server.
#[derive(Debug, Deserialize)]
pub(crate) struct Limits {
    pub(crate) sink: Cost,
    pub(crate) durable_sink: Cost,
    pub(crate) source: Cost,
    pub(crate) syncs: Latencies,
    pub(crate) paced_syncs: Latencies,
    pub(crate) echoes: Vec<Latencies>,
}

/// What a gigabyte took.
#[derive(Debug, Deserialize)]
pub(crate) struct Cost {
    pub(crate) cpu_s_per_gb: f64,
    pub(crate) mb_per_s: f64,
}

/// A run of the program that goes on meanwhile; ended when dropped.
pub(crate) struct Running<T> {
    child: Option<Child>,
    what: String,
    result: PhantomData<T>,
}

impl Load {
    /// Builds the program; the first time takes a minute, for librdkafka.
    pub(crate) fn build(context: &Context) -> Result<Self> {
        let target = context.target.join("bench/load");
        let manifest = context.root.join("xtask/load/Cargo.toml");
        let mut cargo = context.cargo();
        cargo.args(["build", "--release", "--locked", "--manifest-path"]).arg(manifest);
        run_command(cargo.arg("--target-dir").arg(&target))?;
        Ok(Self { binary: target.join("release/ottla-load") })
    }

    /// librdkafka's version.
    pub(crate) fn version(&self) -> Result<String> {
        Ok(serde_json::from_str(output_of(Command::new(&self.binary).arg("version"))?.trim())?)
    }

    /// Runs a command of the program to its end: `words` are its command line, split at blanks.
    pub(crate) fn run<T: DeserializeOwned>(&self, bootstrap: &str, words: &str) -> Result<T> {
        self.spawn(bootstrap, words)?.wait()
    }

    /// Runs a command that needs no server to its end.
    pub(crate) fn run_alone<T: DeserializeOwned>(&self, words: &str) -> Result<T> {
        self.start(words.to_owned())?.wait()
    }

    /// Starts a command of the program.
    pub(crate) fn spawn<T: DeserializeOwned>(&self, bootstrap: &str, words: &str) -> Result<Running<T>> {
        self.start(format!("{words} --bootstrap {bootstrap}"))
    }

    fn start<T>(&self, words: String) -> Result<Running<T>> {
        let mut command = Command::new(&self.binary);
        command.args(words.split_whitespace());
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("starting the load")?;
        Ok(Running { child: Some(child), what: words, result: PhantomData })
    }
}

impl<T: DeserializeOwned> Running<T> {
    /// Waits for its end and result.
    pub(crate) fn wait(mut self) -> Result<T> {
        let child = self.child.take().context("a run that was not waited for")?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("load {}: {}", self.what, output.status);
        }
        serde_json::from_slice(&output.stdout).with_context(|| format!("the result of load {}", self.what))
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Already ended is fine.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
