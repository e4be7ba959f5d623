//! The small files of text, as they are.

use std::io::Write;
use std::path::Path;

use anyhow::Context as _;

use super::Health;

/// Larger files are none of them.
const MAX_BYTES: u64 = 64 << 20;
const NAMES: [&str; 9] = [
    "leader-epoch-checkpoint",
    "recovery-point-offset-checkpoint",
    "replication-offset-checkpoint",
    "log-start-offset-checkpoint",
    "cleaner-offset-checkpoint",
    "partition.metadata",
    "quorum-state",
    "meta.properties",
    ".kafka_cleanshutdown",
];

pub(super) fn text(path: &Path, out: &mut impl Write) -> anyhow::Result<Health> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if !NAMES.contains(&&*name) {
        writeln!(out, "Ignoring unknown file {}", path.display())?;
        return Ok(Health::Good);
    }
    let reading = || format!("reading {}", path.display());
    let size = std::fs::metadata(path).with_context(reading)?.len();
    anyhow::ensure!(size <= MAX_BYTES, "{} is larger than such a file can be: {size} bytes", path.display());
    let text = std::fs::read_to_string(path).with_context(reading)?;
    let mut lines = text.lines();
    if name.ends_with("-checkpoint") {
        let (version, count) = (lines.next().unwrap_or_default(), lines.next().unwrap_or("0"));
        let entries: Vec<&str> = lines.collect();
        writeln!(out, "version: {version} entries: {count}")?;
        let fields = if name.starts_with("leader-epoch") {
            &["epoch", "startOffset"][..]
        } else {
            &["topic", "partition", "offset"][..]
        };
        for entry in &entries {
            let named =
                fields.iter().zip(entry.split_whitespace()).map(|(name, value)| format!("{name}: {value}"));
            writeln!(out, "{}", named.collect::<Vec<_>>().join(" "))?;
        }
        let is_whole = count.parse() == Ok(entries.len());
        if !is_whole {
            writeln!(out, "Found {} entries where the file says {count}", entries.len())?;
            return Ok(Health::Damaged);
        }
        return Ok(Health::Good);
    }
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(Health::Good)
}
