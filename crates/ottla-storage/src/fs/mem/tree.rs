//! Inodes and directory entries of a [`MemFs`](super::MemFs), each twice: as visible, and as durable.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};

use super::super::{FileInfo, OpenMode};
use super::contents::Contents;

/// Number of a file or directory; never used again.
pub(super) type InodeId = u64;

const ROOT: InodeId = 0;
/// Removals between two sweeps for inodes that nothing refers to any more.
const SWEEP_EVERY: u64 = 256;

/// All inodes.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) files: BTreeMap<InodeId, FileInode>,
    pub(super) dirs: BTreeMap<InodeId, DirInode>,
    /// Changes of directory entries that no sync has made durable, oldest first.
    pub(super) pending: Vec<EntryChange>,
    handles: BTreeMap<InodeId, u64>,
    next: InodeId,
    removals: u64,
}

/// A file.
#[derive(Clone, Debug, Default)]
pub(super) struct FileInode {
    pub(super) visible: Contents,
    pub(super) durable: Contents,
    pub(super) pending: Vec<ContentChange>,
    modified_ms: i64,
    read_only: bool,
}

/// A directory.
#[derive(Clone, Debug, Default)]
pub(super) struct DirInode {
    pub(super) visible: BTreeMap<String, InodeId>,
    pub(super) durable: BTreeMap<String, InodeId>,
    modified_ms: i64,
}

/// A change of a file's contents.
#[derive(Clone, Debug)]
pub(super) enum ContentChange {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

/// A change of directory entries: `target` leaves `from`, if there is one, and enters `to`, if there is one.
#[derive(Clone, Debug)]
pub(super) struct EntryChange {
    target: InodeId,
    from: Option<(InodeId, String)>,
    to: Option<(InodeId, String)>,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            files: BTreeMap::new(),
            dirs: BTreeMap::from([(ROOT, DirInode::default())]),
            pending: Vec::new(),
            handles: BTreeMap::new(),
            next: ROOT + 1,
            removals: 0,
        }
    }
}

impl Tree {
    /// The inode at `path`.
    pub(super) fn resolve(&self, path: &Path) -> io::Result<InodeId> {
        let mut at = ROOT;
        for name in names(path)? {
            at = *self.dir(at)?.visible.get(&name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    pub(super) fn open(&mut self, path: &Path, mode: OpenMode, now_ms: i64) -> io::Result<InodeId> {
        let (dir, name) = self.parent(path)?;
        let inode = match (self.dir(dir)?.visible.get(&name).copied(), mode) {
            (Some(_), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(inode), _) => {
                let file = self.files.get(&inode).ok_or(io::ErrorKind::IsADirectory)?;
                if file.read_only && mode != OpenMode::Read {
                    return Err(io::ErrorKind::PermissionDenied.into());
                }
                inode
            }
            (None, OpenMode::Read | OpenMode::Write) => return Err(io::ErrorKind::NotFound.into()),
            (None, OpenMode::CreateOrOpen | OpenMode::CreateNew) => {
                let inode = self.allocate();
                self.files.insert(inode, FileInode { modified_ms: now_ms, ..FileInode::default() });
                self.change(EntryChange { target: inode, from: None, to: Some((dir, name)) });
                inode
            }
        };
        *self.handles.entry(inode).or_default() += 1;
        Ok(inode)
    }

    pub(super) fn close(&mut self, inode: InodeId) {
        if let Some(count) = self.handles.get_mut(&inode) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.handles.remove(&inode);
            }
        }
    }

    /// How often a file is open.
    pub(super) fn handles(&self, inode: InodeId) -> u64 {
        self.handles.get(&inode).copied().unwrap_or(0)
    }

    pub(super) fn forget_handles(&mut self) {
        self.handles.clear();
    }

    pub(super) fn file(&self, inode: InodeId) -> io::Result<&FileInode> {
        self.files.get(&inode).ok_or_else(|| io::ErrorKind::IsADirectory.into())
    }

    pub(super) fn file_mut(&mut self, inode: InodeId) -> io::Result<&mut FileInode> {
        self.files.get_mut(&inode).ok_or_else(|| io::ErrorKind::IsADirectory.into())
    }

    pub(super) fn info(&self, path: &Path) -> io::Result<FileInfo> {
        Ok(self.describe(self.resolve(path)?))
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<(String, FileInfo)>> {
        let entries = &self.dir(self.resolve(dir)?)?.visible;
        Ok(entries.iter().map(|(name, &inode)| (name.clone(), self.describe(inode))).collect())
    }

    /// The path and its parents as far as they do not exist, top down.
    pub(super) fn missing_dirs(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let mut missing = Vec::new();
        let mut path = PathBuf::from("/");
        for name in names(dir)? {
            path.push(name);
            match self.resolve(&path) {
                Ok(inode) if self.dirs.contains_key(&inode) => {}
                Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
                Err(e) if e.kind() == io::ErrorKind::NotFound => missing.push(path.clone()),
                Err(e) => return Err(e),
            }
        }
        Ok(missing)
    }

    pub(super) fn create_dir(&mut self, path: &Path, now_ms: i64) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        let inode = self.allocate();
        self.dirs.insert(inode, DirInode { modified_ms: now_ms, ..DirInode::default() });
        self.change(EntryChange { target: inode, from: None, to: Some((dir, name)) });
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let target = self.resolve(from)?;
        let (from, to) = (self.parent(from)?, self.parent(to)?);
        if let Some(replaced) =
            self.dir(to.0)?.visible.get(&to.1).copied().filter(|&replaced| replaced != target)
        {
            match (self.dirs.contains_key(&target), self.dirs.get(&replaced)) {
                (false, Some(_)) => return Err(io::ErrorKind::IsADirectory.into()),
                (true, None) => return Err(io::ErrorKind::NotADirectory.into()),
                (true, Some(dir)) if !dir.visible.is_empty() => {
                    return Err(io::ErrorKind::DirectoryNotEmpty.into());
                }
                _ => {}
            }
        }
        self.change(EntryChange { target, from: Some(from), to: Some(to) });
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let target = self.resolve(path)?;
        self.file(target)?;
        let from = self.parent(path)?;
        self.change(EntryChange { target, from: Some(from), to: None });
        Ok(())
    }

    pub(super) fn remove_empty_dir(&mut self, path: &Path) -> io::Result<()> {
        let target = self.resolve(path)?;
        if !self.dir(target)?.visible.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let from = self.parent(path)?;
        self.change(EntryChange { target, from: Some(from), to: None });
        Ok(())
    }

    /// Everything in `dir` and `dir` itself, contents before their directory; the flag tells directories.
    pub(super) fn walk_bottom_up(&self, dir: &Path) -> io::Result<Vec<(PathBuf, bool)>> {
        let mut found = Vec::new();
        for (name, &inode) in &self.dir(self.resolve(dir)?)?.visible {
            let path = dir.join(name);
            if self.dirs.contains_key(&inode) {
                found.extend(self.walk_bottom_up(&path)?);
            } else {
                found.push((path, false));
            }
        }
        found.push((dir.to_owned(), true));
        Ok(found)
    }

    /// Makes the changes of this directory's entries durable, and with them the earlier ones of the same files, without
    /// which they would make no sense.
    pub(super) fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        let dir = self.resolve(dir)?;
        self.dir(dir)?;
        let mut chosen = BTreeSet::new();
        let mut kept = Vec::new();
        let mut synced = Vec::new();
        for change in std::mem::take(&mut self.pending).into_iter().rev() {
            if change.touches(dir) || chosen.contains(&change.target) {
                chosen.insert(change.target);
                synced.push(change);
            } else {
                kept.push(change);
            }
        }
        kept.reverse();
        self.pending = kept;
        for change in synced.iter().rev() {
            self.make_durable(change);
        }
        Ok(())
    }

    /// Makes everything durable.
    pub(super) fn sync_all(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            self.make_durable(&change);
        }
        self.files.values_mut().for_each(FileInode::sync);
    }

    /// Forgets what is not durable in files, as a failed sync of all does.
    pub(super) fn lose_all_unsynced(&mut self) {
        self.files.values_mut().for_each(FileInode::lose_unsynced);
    }

    pub(super) fn make_durable(&mut self, change: &EntryChange) {
        if let Some((dir, name)) = &change.from
            && let Some(dir) = self.dirs.get_mut(dir)
            && dir.durable.get(name) == Some(&change.target)
        {
            dir.durable.remove(name);
        }
        if let Some((dir, name)) = &change.to {
            // Its way here may have been forgotten; nothing is in two places.
            for other in self.dirs.values_mut() {
                other.durable.retain(|_, inode| *inode != change.target);
            }
            if let Some(dir) = self.dirs.get_mut(dir) {
                dir.durable.insert(name.clone(), change.target);
            }
        }
    }

    pub(super) fn set_modified(&mut self, path: &Path, to_ms: i64) -> io::Result<()> {
        let inode = self.resolve(path)?;
        if let Some(file) = self.files.get_mut(&inode) {
            file.modified_ms = to_ms;
        } else if let Some(dir) = self.dirs.get_mut(&inode) {
            dir.modified_ms = to_ms;
        }
        Ok(())
    }

    pub(super) fn set_read_only(&mut self, path: &Path, read_only: bool) -> io::Result<()> {
        let inode = self.resolve(path)?;
        self.file_mut(inode)?.read_only = read_only;
        Ok(())
    }

    /// Bytes of all visible file contents, also of removed files that are still open.
    pub(super) fn used_bytes(&self) -> u64 {
        self.files.values().map(FileInode::len).sum()
    }

    /// Frees what no entry, visible, durable or on its way, and no handle refers to.
    pub(super) fn sweep(&mut self) {
        let mut used: BTreeSet<InodeId> = self.handles.keys().copied().collect();
        used.insert(ROOT);
        used.extend(self.pending.iter().map(|change| change.target));
        for dir in self.dirs.values() {
            used.extend(dir.visible.values().chain(dir.durable.values()));
        }
        self.files.retain(|inode, _| used.contains(inode));
        self.dirs.retain(|inode, _| used.contains(inode));
    }

    fn change(&mut self, change: EntryChange) {
        if let Some((dir, name)) = &change.from
            && let Some(dir) = self.dirs.get_mut(dir)
        {
            dir.visible.remove(name);
        }
        if let Some((dir, name)) = &change.to
            && let Some(dir) = self.dirs.get_mut(dir)
        {
            dir.visible.insert(name.clone(), change.target);
        }
        let removes = change.to.is_none();
        self.pending.push(change);
        if removes {
            self.removals += 1;
            if self.removals.is_multiple_of(SWEEP_EVERY) {
                self.sweep();
            }
        }
    }

    fn allocate(&mut self) -> InodeId {
        let inode = self.next;
        self.next += 1;
        inode
    }

    fn dir(&self, inode: InodeId) -> io::Result<&DirInode> {
        self.dirs.get(&inode).ok_or_else(|| io::ErrorKind::NotADirectory.into())
    }

    fn parent(&self, path: &Path) -> io::Result<(InodeId, String)> {
        let mut parts = names(path)?;
        let name = parts.pop().ok_or(io::ErrorKind::InvalidInput)?;
        let dir = self.resolve(&parts.iter().collect::<PathBuf>())?;
        self.dir(dir)?;
        Ok((dir, name))
    }

    fn describe(&self, inode: InodeId) -> FileInfo {
        match (self.files.get(&inode), self.dirs.get(&inode)) {
            (Some(file), _) => FileInfo { len: file.len(), modified_ms: file.modified_ms, is_dir: false },
            (None, dir) => {
                FileInfo { len: 0, modified_ms: dir.map_or(0, |dir| dir.modified_ms), is_dir: true }
            }
        }
    }
}

impl EntryChange {
    fn touches(&self, dir: InodeId) -> bool {
        [&self.from, &self.to].into_iter().flatten().any(|(at, _)| *at == dir)
    }
}

impl FileInode {
    pub(super) fn len(&self) -> u64 {
        self.visible.len() as u64
    }

    pub(super) fn read_at(&self, buf: &mut [u8], offset: u64) -> usize {
        self.visible.read_at(buf, offset)
    }

    pub(super) fn write_at(&mut self, bytes: &[u8], offset: u64, now_ms: i64) {
        let offset = usize::try_from(offset).expect("a file in memory is addressable");
        self.change(ContentChange::Write { offset, bytes: bytes.to_vec() }, now_ms);
    }

    pub(super) fn set_len(&mut self, len: u64, now_ms: i64) {
        let len = usize::try_from(len).expect("a file in memory is addressable");
        self.change(ContentChange::SetLen(len), now_ms);
    }

    fn change(&mut self, change: ContentChange, now_ms: i64) {
        change.apply(&mut self.visible);
        self.pending.push(change);
        self.modified_ms = now_ms;
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// What a failed sync does: the kernel has dropped the dirty pages from its list and will not try them again.
    pub(super) fn lose_unsynced(&mut self) {
        self.pending.clear();
    }

    /// What was lost is not seen any more; only the length stays, as it is no page.
    pub(super) fn forget_cached(&mut self) {
        let len = self.visible.len();
        self.visible.clone_from(&self.durable);
        for change in &self.pending {
            change.apply(&mut self.visible);
        }
        self.visible.set_len(len);
    }
}

impl ContentChange {
    pub(super) fn apply(&self, contents: &mut Contents) {
        match self {
            Self::Write { offset, bytes } => contents.write_at(bytes, *offset),
            Self::SetLen(len) => contents.set_len(*len),
        }
    }
}

fn names(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => names.push(name.to_string_lossy().into_owned()),
            Component::ParentDir | Component::Prefix(_) => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
    Ok(names)
}
