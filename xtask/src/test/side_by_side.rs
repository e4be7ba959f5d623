//! Work that mostly waits, done side by side: lanes of a whole run, and test executables within one.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result};

use super::Context;

/// Does all jobs, in this order, so many at the same time.
pub(super) fn each<T: Send>(jobs: Vec<T>, workers: usize, work: impl Fn(T) + Sync) {
    let queue = Mutex::new(VecDeque::from(jobs));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(job) = next() {
                    work(job);
                }
            });
        }
    });
}

/// Runs a command to its end with all that it prints going to a file; tells what it printed, and whether it succeeded.
pub(super) fn logged(command: &mut Command, path: &Path) -> Result<(String, bool)> {
    let log = File::create(path).with_context(|| format!("creating {}", path.display()))?;
    let status = command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .status()
        .with_context(|| format!("starting {command:?}"))?;
    Ok((String::from_utf8_lossy(&fs::read(path)?).into_owned(), status.success()))
}

/// Runs lanes as processes of their own, each with its output in one piece when it ends. Tells for each, in the order in which
/// they ended, the line of its summary and whether it succeeded.
pub(super) fn lanes(
    context: &Context,
    names: &[&'static str],
    workers: usize,
) -> Result<Vec<(String, bool)>> {
    let dir = context.target.join("lanes");
    fs::create_dir_all(&dir)?;
    // A copy, as lanes build this program anew.
    let program = dir.join("xtask");
    fs::copy(std::env::current_exe()?, &program).context("copying this program")?;
    let ended = Mutex::new(Vec::new());
    each(names.to_vec(), workers, |name| {
        println!("{name} begins");
        let (summary, succeeded) = lane(&program, &dir.join(format!("{name}.log")), name);
        ended.lock().unwrap_or_else(PoisonError::into_inner).push((summary, succeeded));
    });
    Ok(ended.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn lane(program: &Path, log: &Path, name: &str) -> (String, bool) {
    let (printed, succeeded) = logged(Command::new(program).args(["test", "--lane", name]), log)
        .unwrap_or_else(|error| (format!("{error:#}"), false));
    println!("{}", printed.trim_end());
    let summary = printed.lines().rev().find(|line| line.starts_with(&format!("{name:12} ")));
    (summary.map_or_else(|| format!("{name:12} FAILED"), str::to_owned), succeeded)
}
