//! The operating system's file system.
//!
//! The only module of the storage crate that touches `std::fs`. A [`RealFs`] has no state of its own; what the process as a
//! whole must remember, because the kernel does, is which files it has locked (see [`RealFs::try_lock`]), and which are open.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{Advice, FlockOperation, fadvise, fcntl_lock, fdatasync};
use rustix::io::Errno;
use rustix::process::{Flock, FlockType, Pid, Resource, Rlimit, fcntl_getlk, getrlimit, setrlimit};

use super::{FileInfo, FileLock, Fs, FsFile, OpenMode, Sharing, Volume};

/// Files locked by this process, by device and inode. A POSIX record lock belongs to the process, not to the descriptor:
/// a second lock by the same process would succeed, and closing *any* descriptor of the file would drop the first one.
static LOCKED: Mutex<BTreeSet<FileId>> = Mutex::new(BTreeSet::new());

/// Device and inode.
type FileId = (u64, u64);

/// How often each file is open as a [`RealFile`], in parts so that threads rarely meet.
static HANDLES: [Mutex<BTreeMap<FileId, u32>>; 16] = [const { Mutex::new(BTreeMap::new()) }; 16];

/// Open files of this process that are a [`RealFile`].
static OPEN: AtomicU64 = AtomicU64::new(0);

/// Above this many open files none is held open for later: half of what the process may have is for connections, and for
/// files that are open only for a moment.
static MOST_HELD: LazyLock<u64> =
    LazyLock::new(|| getrlimit(Resource::Nofile).current.map_or(u64::MAX, |most| most / 2));

/// How often [`RealFs::try_lock`] starts again because the file was replaced between opening and locking it.
const MAX_LOCK_ATTEMPTS: usize = 16;

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

impl RealFs {
    /// Lets this process have as many open files as it may give itself. Returns how many that are; `None`: no limit.
    ///
    /// # Errors
    /// As the operating system's setrlimit.
    pub fn raise_open_file_limit(&self) -> io::Result<Option<u64>> {
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
        Ok(limit.maximum)
    }

    /// The process that holds a lock on a file ([`Fs::try_lock`]); `None` when nobody else does, or there is no file. Takes no lock
    /// and changes nothing.
    ///
    /// # Errors
    /// As the operating system's open and fcntl.
    pub fn lock_holder(&self, path: &Path) -> io::Result<Option<i32>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let found = fcntl_getlk(&file, &Flock::from(FlockType::WriteLock))?;
        Ok(found.map(|lock| lock.pid.map_or(0, Pid::as_raw_pid)))
    }
}

impl Fs for RealFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn FsFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => &mut options,
            OpenMode::Write => options.write(true),
            OpenMode::CreateOrOpen => options.write(true).create(true).truncate(false),
            OpenMode::CreateNew => options.write(true).create_new(true),
        };
        Ok(Arc::new(RealFile::new(options.open(path)?)?))
    }

    #[cfg(target_os = "linux")]
    fn open_direct(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        use std::os::unix::fs::OpenOptionsExt;
        let flags = rustix::fs::OFlags::DIRECT | rustix::fs::OFlags::DSYNC;
        let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
        let mut file = RealFile::new(file)?;
        file.writes_are_durable = true;
        Ok(Arc::new(file))
    }

    fn info(&self, path: &Path) -> io::Result<FileInfo> {
        describe(&fs::metadata(path)?)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, FileInfo)>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            // Relative to the directory, which is cheaper than by path; only what is behind a link needs the path.
            let described = entry.metadata();
            let is_link = described.as_ref().is_ok_and(fs::Metadata::is_symlink);
            match if is_link { fs::metadata(entry.path()) } else { described } {
                Ok(metadata) => {
                    entries.push((entry.file_name().to_string_lossy().into_owned(), describe(&metadata)?));
                }
                // Removed since it was listed, or a dangling link.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(entries)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    #[cfg(target_os = "linux")]
    fn volume(&self, dir: &Path) -> io::Result<Option<Arc<dyn Volume>>> {
        Ok(Some(Arc::new(RealVolume(File::open(dir)?))))
    }

    fn may_hold_open(&self) -> bool {
        OPEN.load(Ordering::Relaxed) < *MOST_HELD
    }

    fn set_modified(&self, path: &Path, modified_ms: i64) -> io::Result<()> {
        let distance = Duration::from_millis(modified_ms.unsigned_abs());
        let time = if modified_ms >= 0 {
            UNIX_EPOCH.checked_add(distance)
        } else {
            UNIX_EPOCH.checked_sub(distance)
        };
        let time = time.ok_or(io::ErrorKind::InvalidInput)?;
        File::open(path)?.set_modified(time)
    }

    fn set_read_only(&self, path: &Path, read_only: bool) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let mut permissions = fs::metadata(path)?.permissions();
        let mode = permissions.mode();
        permissions.set_mode(if read_only { mode & !0o222 } else { mode | 0o200 });
        fs::set_permissions(path, permissions)
    }

    fn space(&self, path: &Path) -> io::Result<(u64, u64)> {
        let volume = rustix::fs::statvfs(path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(volume.f_frsize);
        Ok((bytes(volume.f_blocks), bytes(volume.f_bavail)))
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<FileLock>> {
        let mut locked = LOCKED.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..MAX_LOCK_ATTEMPTS {
            // Before opening: a descriptor opened and closed again would already release the lock that we hold.
            match fs::metadata(path) {
                Ok(metadata) if locked.contains(&identity(&metadata)) => return Ok(None),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
            match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::AGAIN | Errno::ACCESS) => return Ok(None),
                Err(e) => return Err(e.into()),
            }
            // Its last owner may have removed the file between our open and our lock: such a lock protects nothing.
            let id = identity(&file.metadata()?);
            match fs::metadata(path) {
                Ok(metadata) if identity(&metadata) == id => {
                    locked.insert(id);
                    return Ok(Some(Box::new(ProcessLock { file: Some(file), id })));
                }
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }
}

fn handles(id: FileId) -> MutexGuard<'static, BTreeMap<FileId, u32>> {
    let part = usize::try_from(id.1 % HANDLES.len() as u64).unwrap_or(0);
    HANDLES[part].lock().unwrap_or_else(PoisonError::into_inner)
}

fn identity(metadata: &fs::Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

fn describe(metadata: &fs::Metadata) -> io::Result<FileInfo> {
    Ok(FileInfo { len: metadata.len(), modified_ms: millis(metadata.modified()?), is_dir: metadata.is_dir() })
}

fn millis(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    }
}

/// An open file of the operating system.
#[derive(Debug)]
struct RealFile {
    file: File,
    id: FileId,
    /// It was opened so that a write returns when the disk has it.
    writes_are_durable: bool,
}

impl RealFile {
    fn new(file: File) -> io::Result<Self> {
        let id = identity(&file.metadata()?);
        OPEN.fetch_add(1, Ordering::Relaxed);
        *handles(id).entry(id).or_default() += 1;
        Ok(Self { file, id, writes_are_durable: false })
    }
}

impl Drop for RealFile {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
        let mut handles = handles(self.id);
        if let Some(count) = handles.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                handles.remove(&self.id);
            }
        }
    }
}

/// A directory of a volume, held open: the kernel tells each holder of failed writes since it was opened.
#[cfg(target_os = "linux")]
#[derive(Debug)]
struct RealVolume(File);

#[cfg(target_os = "linux")]
impl Volume for RealVolume {
    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.0)?)
    }
}

impl FsFile for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.file.read_at(&mut buf[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sharing(&self) -> io::Result<Sharing> {
        if self.file.metadata()?.nlink() != 1 {
            return Ok(Sharing::Linked);
        }
        let is_alone = handles(self.id).get(&self.id) == Some(&1);
        Ok(if is_alone { Sharing::Alone } else { Sharing::Open })
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(fdatasync(&self.file)?)
    }

    fn write_durably(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_at(bytes, offset)?;
        if self.writes_are_durable { Ok(()) } else { self.sync_data() }
    }

    fn prefetch(&self) {
        // File systems that cannot do it have nothing to gain.
        _ = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::WillNeed);
    }

    fn forget_cached(&self) -> io::Result<()> {
        Ok(fadvise(&self.file, 0, None, Advice::DontNeed)?)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}

/// A held lock: the descriptor stays open for as long, and is closed before the process forgets that it holds it.
#[derive(Debug)]
struct ProcessLock {
    file: Option<File>,
    id: FileId,
}

impl Drop for ProcessLock {
    fn drop(&mut self) {
        let mut locked = LOCKED.lock().unwrap_or_else(PoisonError::into_inner);
        self.file = None;
        locked.remove(&self.id);
    }
}
