//! The file system as the log sees it: positioned reads and writes, explicit durability, POSIX locks.
//!
//! Three implementations: [`RealFs`]; [`MemFs`] in memory, which can fail, tear writes and forget what was not synced; and
//! [`OverlayFs`], which keeps changes to another one in memory.

mod atomic;
mod mem;
mod overlay;
mod real;

use std::fmt::Debug;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

pub use atomic::{exists, read_file, remove_file_if_exists, replace_file, temporary_path, write_whole};
pub use mem::{Effect, Fault, MemFs, Operation};
pub use overlay::OverlayFs;
pub use real::RealFs;

/// A held lock on a file; dropping it releases the lock. See [`Fs::try_lock`].
pub type FileLock = Box<dyn Debug + Send + Sync>;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Existing, read only.
    Read,
    /// Existing, read and write.
    Write,
    /// Read and write, created when missing, contents kept.
    CreateOrOpen,
    /// Read and write, must not exist.
    CreateNew,
}

/// Who could miss what is cut off a file. See [`FsFile::sharing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Nobody.
    Alone,
    /// Others in this process that have it open.
    Open,
    /// Whoever uses another name of it (a hard link), or nobody knows.
    Linked,
}

/// What a directory entry or path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// Size in bytes.
    pub len: u64,
    /// Time of last modification, ms since the epoch.
    pub modified_ms: i64,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// A file system.
pub trait Fs: Send + Sync + Debug {
    /// Opens a file.
    ///
    /// # Errors
    /// As the operating system's open.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn FsFile>>;
    /// Opens an existing file for [`FsFile::write_durably`] past the page cache, with buffers, positions and lengths that are multiples of 4096
    /// bytes. Other handles see what is written.
    ///
    /// # Errors
    /// As the operating system's open; `InvalidInput` or `Unsupported` where the file system cannot do that.
    fn open_direct(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        let _ = path;
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Describes a path; `NotFound` when there is nothing.
    ///
    /// # Errors
    /// As the operating system's stat.
    fn info(&self, path: &Path) -> io::Result<FileInfo>;
    /// Names and descriptions of a directory's entries, sorted by name.
    ///
    /// # Errors
    /// As the operating system's readdir.
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, FileInfo)>>;
    /// Creates a directory and its missing parents.
    ///
    /// # Errors
    /// As the operating system's mkdir.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Atomically renames a file or directory, replacing a file of the new name. Durable after [`Fs::sync_dir`] of the
    /// parent.
    ///
    /// # Errors
    /// As the operating system's rename.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// As the operating system's unlink.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and all in it.
    ///
    /// # Errors
    /// As the operating system's rmdir and unlink.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in `dir` durable.
    ///
    /// # Errors
    /// As the operating system's fsync.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// The volume that holds `dir`, where all of it can be made durable at once; `None` where that cannot be done.
    ///
    /// # Errors
    /// As the operating system's open.
    fn volume(&self, dir: &Path) -> io::Result<Option<Arc<dyn Volume>>> {
        let _ = dir;
        Ok(None)
    }
    /// Whether a file may be held open for later. `false` when so many are open that the rest is needed for what is under way:
    /// callers open files for each use then.
    fn may_hold_open(&self) -> bool {
        true
    }
    /// Sets the time of last modification, ms since the epoch.
    ///
    /// # Errors
    /// As the operating system's utimensat.
    fn set_modified(&self, path: &Path, modified_ms: i64) -> io::Result<()>;
    /// Sets or clears the read-only permission.
    ///
    /// # Errors
    /// As the operating system's chmod.
    fn set_read_only(&self, path: &Path, read_only: bool) -> io::Result<()>;
    /// The size of the volume that holds `path`, and what an ordinary process may still write to it, in bytes.
    ///
    /// # Errors
    /// As the operating system's statvfs.
    fn space(&self, path: &Path) -> io::Result<(u64, u64)>;
    /// Takes an exclusive POSIX record lock (fcntl, as Java's `FileChannel.tryLock`) on a file, creating it; `None` when
    /// another process, or this one, holds it. The lock is released when the value is dropped; the file stays.
    ///
    /// While it is held nothing else in the process may open the file: the kernel drops a process's POSIX lock when any
    /// descriptor of that file is closed.
    ///
    /// # Errors
    /// As the operating system's open and fcntl.
    fn try_lock(&self, path: &Path) -> io::Result<Option<FileLock>>;
}

/// A volume that is held open, so that no failed write to it since then goes unnoticed.
pub trait Volume: Send + Sync + Debug {
    /// Makes everything durable that was written to it, by whomever. One call costs less than syncing hundreds of files.
    ///
    /// # Errors
    /// As the operating system's syncfs. After an error the state on disk is unknown, as after [`FsFile::sync_data`].
    fn sync(&self) -> io::Result<()>;
}

/// An open file. All methods take `&self`: callers order their own writes.
pub trait FsFile: Send + Sync + Debug {
    /// Reads up to `buf.len()` bytes at `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// As the operating system's pread.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`, growing the file as needed.
    ///
    /// # Errors
    /// As the operating system's pwrite; part of the bytes may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Current size in bytes.
    ///
    /// # Errors
    /// As the operating system's fstat.
    fn len(&self) -> io::Result<u64>;
    /// Whether the size is 0.
    ///
    /// # Errors
    /// As [`FsFile::len`].
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or extends (with zeros) to `len` bytes.
    ///
    /// # Errors
    /// As the operating system's ftruncate.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Who else may read the file, by another handle or another name.
    ///
    /// # Errors
    /// As the operating system's fstat.
    fn sharing(&self) -> io::Result<Sharing> {
        Ok(Sharing::Linked)
    }
    /// Makes the contents and the size durable (fdatasync).
    ///
    /// # Errors
    /// As the operating system's fdatasync. After an error the state on disk is unknown: never retry as if nothing happened.
    fn sync_data(&self) -> io::Result<()>;
    /// Writes all of `bytes` at `offset` and makes them durable.
    ///
    /// # Errors
    /// As [`FsFile::write_at`] and [`FsFile::sync_data`].
    fn write_durably(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_at(bytes, offset)?;
        self.sync_data()
    }
    /// Says that the whole file will be read soon, so that it is brought into memory in the background. A hint: nothing may happen.
    fn prefetch(&self) {}
    /// Has later reads see what the disk has, where the cache claims to agree with it. After a failed sync it does not: the
    /// kernel shows what was never written, and will not write it. Unsynced writes that may still succeed stay.
    ///
    /// # Errors
    /// As the operating system's posix_fadvise.
    fn forget_cached(&self) -> io::Result<()> {
        Ok(())
    }
    /// The descriptor for `sendfile`; `None` where there is no real file.
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;
}
