//! `.kafka_cleanshutdown`: the promise that every log in the directory was closed in order (`CleanShutdownFileHandler`).

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::fs::{Fs, OpenMode, exists, read_file, remove_file_if_exists};

/// Name of the marker in a log directory.
pub const CLEAN_SHUTDOWN_MARKER: &str = ".kafka_cleanshutdown";
const MAX_BYTES: u64 = 1 << 16;

/// A marker that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanShutdown {
    /// Epoch of the broker that wrote it; `None` when it does not say (also: written before Kafka 3.8, or unreadable).
    pub broker_epoch: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct Content {
    #[serde(default)]
    version: i32,
    #[serde(rename = "brokerEpoch")]
    broker_epoch: Option<i64>,
}

/// The marker of a log directory, if there is one. That it exists is what counts, whatever is in it.
///
/// # Errors
/// Whether it exists cannot be found out.
pub fn read_marker(fs: &dyn Fs, dir: &Path) -> io::Result<Option<CleanShutdown>> {
    let path = dir.join(CLEAN_SHUTDOWN_MARKER);
    if !exists(fs, &path)? {
        return Ok(None);
    }
    let content = read_file(fs, &path, MAX_BYTES).ok();
    let content: Option<Content> = content.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let broker_epoch = content.and_then(|content| content.broker_epoch).filter(|&epoch| epoch >= 0);
    Ok(Some(CleanShutdown { broker_epoch }))
}

/// Writes the marker, durably. Everything it vouches for must be durable before.
///
/// # Errors
/// As create, write and sync.
pub fn write_marker(fs: &dyn Fs, dir: &Path, broker_epoch: Option<i64>) -> io::Result<()> {
    let content = Content { version: 0, broker_epoch: Some(broker_epoch.unwrap_or(-1)) };
    let text = serde_json::to_vec(&content).map_err(io::Error::other)?;
    let file = fs.open(&dir.join(CLEAN_SHUTDOWN_MARKER), OpenMode::CreateOrOpen)?;
    file.set_len(0)?;
    file.write_at(&text, 0)?;
    file.sync_data()?;
    fs.sync_dir(dir)
}

/// Removes the marker, durably: the first write to a log after this must not survive a crash together with the marker.
///
/// # Errors
/// As remove and sync; that there is none is success.
pub fn remove_marker(fs: &dyn Fs, dir: &Path) -> io::Result<()> {
    remove_file_if_exists(fs, &dir.join(CLEAN_SHUTDOWN_MARKER))?;
    fs.sync_dir(dir)
}
