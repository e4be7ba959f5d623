//! What machine this is, and which day.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::test::output_of;

/// One line about this machine: processor, cores, memory, kernel.
pub(super) fn describe() -> Result<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpuinfo
        .lines()
        .find(|l| l.starts_with("model name"))
        .and_then(|l| l.split(": ").nth(1))
        .unwrap_or("?");
    let cores = cpuinfo.lines().filter(|l| l.starts_with("processor")).count();
    let kib = meminfo("MemTotal:")? as f64;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{model}, {cores} cores, {:.0} GiB, Linux {}", kib / 1_048_576.0, kernel.trim()))
}

/// A line of `/proc/meminfo`, in KiB.
pub(super) fn meminfo(name: &str) -> Result<u64> {
    let memory = fs::read_to_string("/proc/meminfo")?;
    let line = memory.lines().find(|line| line.starts_with(name)).context("a line of /proc/meminfo")?;
    Ok(line.split_whitespace().nth(1).context("a size")?.parse()?)
}

/// Today, `2026-01-31`, in UTC.
pub(super) fn today() -> Result<String> {
    Ok(output_of(Command::new("date").args(["-u", "+%F"]))?.trim().to_owned())
}

/// The commit of the checkout, with a mark if it has changes.
pub(super) fn commit(root: &std::path::Path) -> String {
    let described = output_of(
        Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=10"]).current_dir(root),
    );
    described.map_or_else(|_| "unknown commit".to_owned(), |text| text.trim().to_owned())
}
