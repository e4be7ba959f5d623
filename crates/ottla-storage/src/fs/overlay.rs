//! A file system whose changes stay in memory: what a start would do to a directory, without doing it.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{FileInfo, FileLock, Fs, FsFile, OpenMode};

const PAGE: usize = 4096;

/// Reads through to another file system, which it never changes. Locks are not taken: ask who holds one before.
///
/// Memory grows with what is written; what is only read, cut or renamed costs an entry per file.
#[derive(Debug)]
pub struct OverlayFs {
    base: Arc<dyn Fs>,
    changed: Mutex<BTreeMap<PathBuf, Node>>,
}

/// What became of a path.
#[derive(Clone, Debug)]
enum Node {
    /// There is nothing any more, nor below.
    Gone,
    /// A directory that was made here; what is in it was made here as well.
    Made,
    /// A directory that has this path in the base.
    Moved(PathBuf),
    File(Arc<Contents>),
}

/// Where a path leads, when it was not changed itself.
enum Place {
    Base(PathBuf),
    Nowhere,
}

impl OverlayFs {
    /// A view of `base` that can be written to.
    pub fn new(base: Arc<dyn Fs>) -> Self {
        Self { base, changed: Mutex::default() }
    }

    fn changed(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Node>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file at a path, as one that can be changed; `None` when there is none.
    fn file(&self, changed: &mut BTreeMap<PathBuf, Node>, path: &Path) -> io::Result<Option<Arc<Contents>>> {
        match changed.get(path) {
            Some(Node::File(contents)) => return Ok(Some(Arc::clone(contents))),
            Some(Node::Gone) => return Ok(None),
            Some(Node::Made | Node::Moved(_)) => return Err(ErrorKind::IsADirectory.into()),
            None => {}
        }
        let Place::Base(base) = place(changed, path) else { return Ok(None) };
        let info = match self.base.info(&base) {
            Ok(info) if info.is_dir => return Err(ErrorKind::IsADirectory.into()),
            Ok(info) => info,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let contents = Arc::new(Contents::of_base(base, &info));
        changed.insert(path.to_owned(), Node::File(Arc::clone(&contents)));
        Ok(Some(contents))
    }

    fn open_contents(&self, contents: Arc<Contents>, mode: OpenMode) -> io::Result<Arc<dyn FsFile>> {
        let base = match &contents.base {
            Some(path) => Some(self.base.open(path, OpenMode::Read)?),
            None => None,
        };
        Ok(Arc::new(OverlayFile { contents, base, is_writable: mode != OpenMode::Read }))
    }
}

impl OverlayFs {
    fn check_parent(&self, changed: &BTreeMap<PathBuf, Node>, path: &Path) -> io::Result<()> {
        let Some(parent) = path.parent() else { return Ok(()) };
        match self.info_of(changed, parent)?.is_dir {
            true => Ok(()),
            false => Err(ErrorKind::NotADirectory.into()),
        }
    }

    fn info_of(&self, changed: &BTreeMap<PathBuf, Node>, path: &Path) -> io::Result<FileInfo> {
        match changed.get(path) {
            Some(Node::Gone) => Err(ErrorKind::NotFound.into()),
            Some(Node::Made) => Ok(FileInfo { len: 0, modified_ms: 0, is_dir: true }),
            Some(Node::Moved(base)) => self.base.info(base),
            Some(Node::File(contents)) => Ok(contents.info()),
            None => match place(changed, path) {
                Place::Base(base) => self.base.info(&base),
                Place::Nowhere => Err(ErrorKind::NotFound.into()),
            },
        }
    }
}

/// What was changed at a path and below it.
fn below<'a>(
    changed: &'a BTreeMap<PathBuf, Node>,
    dir: &'a Path,
) -> impl Iterator<Item = (&'a PathBuf, &'a Node)> {
    let range = (Bound::Included(dir), Bound::Unbounded);
    changed.range::<Path, _>(range).take_while(move |(path, _)| path.starts_with(dir))
}

/// Where the nearest changed directory above a path leads.
fn place(changed: &BTreeMap<PathBuf, Node>, path: &Path) -> Place {
    for above in path.ancestors().skip(1) {
        match changed.get(above) {
            None => {}
            Some(Node::Moved(base)) => {
                let rest = path.strip_prefix(above).expect("an ancestor is a prefix");
                return Place::Base(base.join(rest));
            }
            Some(Node::Gone | Node::Made | Node::File(_)) => return Place::Nowhere,
        }
    }
    Place::Base(path.to_owned())
}

impl Fs for OverlayFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn FsFile>> {
        let mut changed = self.changed();
        if mode == OpenMode::Read && !changed.contains_key(path) {
            let Place::Base(base) = place(&changed, path) else { return Err(ErrorKind::NotFound.into()) };
            return self.base.open(&base, mode);
        }
        let found = self.file(&mut changed, path)?;
        let contents = match (mode, found) {
            (OpenMode::CreateNew, Some(_)) => return Err(ErrorKind::AlreadyExists.into()),
            (OpenMode::Read | OpenMode::Write, None) => return Err(ErrorKind::NotFound.into()),
            (OpenMode::CreateNew | OpenMode::CreateOrOpen, None) => {
                self.check_parent(&changed, path)?;
                let contents = Arc::new(Contents::default());
                changed.insert(path.to_owned(), Node::File(Arc::clone(&contents)));
                contents
            }
            (_, Some(contents)) => contents,
        };
        self.open_contents(contents, mode)
    }

    fn info(&self, path: &Path) -> io::Result<FileInfo> {
        self.info_of(&self.changed(), path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, FileInfo)>> {
        let changed = self.changed();
        let base = match changed.get(dir) {
            Some(Node::Gone) => return Err(ErrorKind::NotFound.into()),
            Some(Node::File(_)) => return Err(ErrorKind::NotADirectory.into()),
            Some(Node::Made) => None,
            Some(Node::Moved(base)) => Some(base.clone()),
            None => match place(&changed, dir) {
                Place::Base(base) => Some(base),
                Place::Nowhere => return Err(ErrorKind::NotFound.into()),
            },
        };
        let listed = base.map_or(Ok(Vec::new()), |base| self.base.list(&base))?;
        let mut entries: BTreeMap<String, FileInfo> = listed.into_iter().collect();
        for (path, node) in below(&changed, dir) {
            let Ok(rest) = path.strip_prefix(dir) else { continue };
            let mut names = rest.iter();
            let (Some(name), None) = (names.next(), names.next()) else { continue };
            let name = name.to_string_lossy().into_owned();
            match node {
                Node::Gone => _ = entries.remove(&name),
                Node::File(contents) => _ = entries.insert(name, contents.info()),
                Node::Made => _ = entries.insert(name, FileInfo { len: 0, modified_ms: 0, is_dir: true }),
                Node::Moved(base) => _ = entries.insert(name, self.base.info(base)?),
            }
        }
        Ok(entries.into_iter().collect())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        for above in dir.ancestors().collect::<Vec<_>>().into_iter().rev() {
            match self.info(above) {
                Ok(info) if info.is_dir => {}
                Ok(_) => return Err(ErrorKind::AlreadyExists.into()),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    if above != Path::new("") {
                        self.changed().insert(above.to_owned(), Node::Made);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn may_hold_open(&self) -> bool {
        self.base.may_hold_open()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let is_dir = self.info(from)?.is_dir;
        if is_dir && self.list(to).is_ok_and(|inside| !inside.is_empty()) {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        let mut changed = self.changed();
        let node = if is_dir {
            match changed.get(from).cloned() {
                Some(node) => node,
                None => match place(&changed, from) {
                    Place::Base(base) => Node::Moved(base),
                    Place::Nowhere => return Err(ErrorKind::NotFound.into()),
                },
            }
        } else {
            Node::File(self.file(&mut changed, from)?.ok_or(ErrorKind::NotFound)?)
        };
        let inside: Vec<PathBuf> = below(&changed, from).map(|(path, _)| path.clone()).collect();
        for path in inside.into_iter().filter(|path| path != from) {
            let rest = path.strip_prefix(from).expect("it begins so").to_owned();
            if let Some(node) = changed.remove(&path) {
                changed.insert(to.join(rest), node);
            }
        }
        changed.insert(from.to_owned(), Node::Gone);
        changed.insert(to.to_owned(), node);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        if self.info(path)?.is_dir {
            return Err(ErrorKind::IsADirectory.into());
        }
        self.changed().insert(path.to_owned(), Node::Gone);
        Ok(())
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.info(dir)?;
        let mut changed = self.changed();
        changed.retain(|path, _| !path.starts_with(dir));
        changed.insert(dir.to_owned(), Node::Gone);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.info(dir).map(drop)
    }

    fn set_modified(&self, path: &Path, modified_ms: i64) -> io::Result<()> {
        let contents = self.file(&mut self.changed(), path)?.ok_or(ErrorKind::NotFound)?;
        contents.state().modified_ms = modified_ms;
        Ok(())
    }

    fn set_read_only(&self, path: &Path, _read_only: bool) -> io::Result<()> {
        self.info(path).map(drop)
    }

    /// That of the file system below: what is kept in memory takes none of it.
    fn space(&self, path: &Path) -> io::Result<(u64, u64)> {
        let place = place(&self.changed(), path);
        match place {
            Place::Base(base) => self.base.space(&base),
            Place::Nowhere => Err(ErrorKind::NotFound.into()),
        }
    }

    fn try_lock(&self, _path: &Path) -> io::Result<Option<FileLock>> {
        Ok(Some(Box::new(())))
    }
}

/// A file: what the base has of it, and what was written over that.
#[derive(Debug, Default)]
struct Contents {
    base: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    len: u64,
    /// How much of the base still shows.
    base_len: u64,
    modified_ms: i64,
    pages: BTreeMap<u64, Box<[u8; PAGE]>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, {} pages written", self.len, self.pages.len())
    }
}

impl Contents {
    fn of_base(base: PathBuf, info: &FileInfo) -> Self {
        let state = State {
            len: info.len,
            base_len: info.len,
            modified_ms: info.modified_ms,
            pages: BTreeMap::new(),
        };
        Self { base: Some(base), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn info(&self) -> FileInfo {
        let state = self.state();
        FileInfo { len: state.len, modified_ms: state.modified_ms, is_dir: false }
    }
}

#[derive(Debug)]
struct OverlayFile {
    contents: Arc<Contents>,
    base: Option<Arc<dyn FsFile>>,
    is_writable: bool,
}

impl OverlayFile {
    /// Reads what the base shows at `offset`, and zeros behind that.
    fn read_base(&self, state: &State, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let shown =
            usize::try_from(state.base_len.saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
        let (from_base, zeros) = buf.split_at_mut(shown);
        zeros.fill(0);
        let read = match &self.base {
            Some(base) if shown > 0 => base.read_at(from_base, offset)?,
            _ => 0,
        };
        // It may have become shorter under a server that runs.
        from_base[read..].fill(0);
        Ok(())
    }
}

impl FsFile for OverlayFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.contents.state();
        let len = usize::try_from(state.len.saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
        let buf = &mut buf[..len];
        self.read_base(&state, buf, offset)?;
        let (first, end) = (offset / PAGE as u64, offset + len as u64);
        for (number, page) in state.pages.range(first..) {
            let at = number * PAGE as u64;
            if at >= end {
                break;
            }
            let (from, to) = (at.max(offset), (at + PAGE as u64).min(end));
            let within =
                |position: u64, start: u64| usize::try_from(position - start).expect("a buffer's length");
            buf[within(from, offset)..within(to, offset)]
                .copy_from_slice(&page[within(from, at)..within(to, at)]);
        }
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if !self.is_writable {
            return Err(ErrorKind::PermissionDenied.into());
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let mut state = self.contents.state();
        let (mut rest, mut at) = (bytes, offset);
        while !rest.is_empty() {
            let (number, start) =
                (at / PAGE as u64, usize::try_from(at % PAGE as u64).expect("less than a page"));
            if !state.pages.contains_key(&number) {
                let mut page = Box::new([0; PAGE]);
                self.read_base(&state, page.as_mut_slice(), number * PAGE as u64)?;
                state.pages.insert(number, page);
            }
            let page = state.pages.get_mut(&number).expect("it was just made");
            let (now, later) = rest.split_at(rest.len().min(PAGE - start));
            page[start..start + now.len()].copy_from_slice(now);
            (rest, at) = (later, at + now.len() as u64);
        }
        state.len = state.len.max(at);
        // There is no clock here; what matters is that it is not the old time any more.
        state.modified_ms = state.modified_ms.saturating_add(1);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.contents.state().len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.contents.state();
        if len < state.len {
            state.base_len = state.base_len.min(len);
            let kept = len.div_ceil(PAGE as u64);
            state.pages.split_off(&kept);
            let tail = usize::try_from(len % PAGE as u64).expect("less than a page");
            if tail > 0
                && let Some(page) = state.pages.get_mut(&(len / PAGE as u64))
            {
                page[tail..].fill(0);
            }
        }
        state.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
