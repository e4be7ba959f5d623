//! Whole small files: reading them, and replacing them so that a crash leaves either the old or the new contents.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Fs, FsFile, OpenMode};

/// Whether there is anything at `path`.
///
/// # Errors
/// As [`Fs::info`], except that nothing being there is an answer.
pub fn exists(fs: &dyn Fs, path: &Path) -> io::Result<bool> {
    match fs.info(path) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Reads a whole file of at most `max_bytes` bytes.
///
/// # Errors
/// As open and read; `InvalidData` when the file is larger.
pub fn read_file(fs: &dyn Fs, path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let file = fs.open(path, OpenMode::Read)?;
    let len = file.len()?;
    if len > max_bytes {
        let message = format!("{} has {len} bytes, more than the {max_bytes} it may have", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Writes a file from its beginning, not durably; a longer one that is there, left behind by a crash, loses its end.
///
/// # Errors
/// The first step that fails.
pub fn write_whole(fs: &dyn Fs, path: &Path, bytes: &[u8]) -> io::Result<Arc<dyn FsFile>> {
    let file = fs.open(path, OpenMode::CreateOrOpen)?;
    file.set_len(0)?;
    file.write_at(bytes, 0)?;
    Ok(file)
}

/// Replaces the contents of `path`, creating it if needed, atomically and durably: written to `<path>.tmp`, synced, renamed
/// over `path`, and the directory synced.
///
/// # Errors
/// The first step that fails. Before the rename the old contents are untouched; after a failed last step it is unknown
/// which of the two a crash would leave.
pub fn replace_file(fs: &dyn Fs, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_path(path);
    let file = write_whole(fs, &temporary, bytes)?;
    file.sync_data()?;
    drop(file);
    fs.rename(&temporary, path)?;
    match path.parent() {
        Some(parent) => fs.sync_dir(parent),
        None => Ok(()),
    }
}

/// Removes a file; that there is none is success.
///
/// # Errors
/// As [`Fs::remove_file`], except `NotFound`.
pub fn remove_file_if_exists(fs: &dyn Fs, path: &Path) -> io::Result<()> {
    match fs.remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Where [`replace_file`] writes first: the path with `.tmp` appended.
pub fn temporary_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".tmp");
    PathBuf::from(name)
}
