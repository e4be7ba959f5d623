//! What opening a log repaired, said so that an operator understands it.

use ottla_storage::log::{LoadEvent, LoadReport};
use tracing::{debug, error, info, warn};

/// Writes a log's repairs into the node's log. Losing bytes is a warning, the rest is routine after a crash.
pub(crate) fn tell(log: &str, report: &LoadReport) {
    for event in &report.events {
        match event {
            LoadEvent::Replayed { records, end } => {
                info!("{log}: {records} records came back from the journal; the log ends at {end}");
            }
            LoadEvent::JournalGap { end } => {
                error!(
                    "{log}: ends at {end}, but the journal goes on after that: the disk has lost what it had synced"
                );
            }
            LoadEvent::RecoveredSegment { base, size_bytes } => {
                debug!("{log}: read segment {base}, {size_bytes} bytes, and rebuilt its indexes");
            }
            LoadEvent::CutTail { base, removed_bytes, reason } => {
                warn!(
                    "{log}: cut {removed_bytes} bytes off the end of segment {base}, which a crash left incomplete: {reason}"
                );
            }
            LoadEvent::RemovedSegments { bases } => {
                warn!("{log}: removed the segments after the cut: {bases:?}");
            }
            LoadEvent::CorruptSnapshot { offset } => {
                info!(
                    "{log}: rebuilt the producers' state, as its snapshot at offset {offset} was not readable"
                );
            }
            LoadEvent::FinishedSwap { segments } => {
                info!("{log}: finished an interrupted compaction: {segments:?}")
            }
            LoadEvent::RemovedFile { name } => info!("{log}: removed {name}, which belongs to nothing"),
        }
    }
}
