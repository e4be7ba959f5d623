//! Names of the files in a partition directory.

use std::path::{Path, PathBuf};

use ottla_types::Offset;

pub(crate) const LOG: &str = "log";
pub(crate) const INDEX: &str = "index";
pub(crate) const TIME_INDEX: &str = "timeindex";
pub(crate) const TXN_INDEX: &str = "txnindex";
pub(crate) const SNAPSHOT: &str = "snapshot";

/// Appended to a file that is to be removed.
pub(crate) const DELETED: &str = ".deleted";
/// Appended to a segment that compaction is writing.
pub(crate) const CLEANED: &str = ".cleaned";
/// Appended to a finished segment that replaces others.
pub(crate) const SWAP: &str = ".swap";
/// Snapshots of the quorum on their way out; not ours to touch.
pub(crate) const CHECKPOINT_DELETED: &str = ".checkpoint.deleted";

/// Digits of an offset in a file name.
const OFFSET_DIGITS: usize = 20;

/// `<20 digits>.<extension>` in `dir`.
pub(crate) fn path(dir: &Path, base: Offset, extension: &str) -> PathBuf {
    dir.join(format!("{:0OFFSET_DIGITS$}.{extension}", base.value()))
}

/// With a suffix after the extension.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(suffix);
    PathBuf::from(name)
}

/// The offset and the extension (with suffixes) of a file name; `None` for names that do not start with an offset.
pub(crate) fn parse(name: &str) -> Option<(Offset, &str)> {
    let (digits, extension) = name.split_once('.')?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((Offset(digits.parse().ok()?), extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        let path = path(Path::new("/d/t-0"), Offset(1_062_917), SNAPSHOT);
        assert_eq!(path, Path::new("/d/t-0/00000000000001062917.snapshot"));
        assert_eq!(parse("00000000000001062917.snapshot"), Some((Offset(1_062_917), "snapshot")));
        assert_eq!(parse("00000000000000000007.log.swap"), Some((Offset(7), "log.swap")));
        assert_eq!(parse("leader-epoch-checkpoint"), None);
        assert_eq!(parse("partition.metadata"), None);
        assert_eq!(parse("99999999999999999999.log"), None);
    }
}
