//! Finding batches without the lock that guards the log: a search has handles of its own and no place in the log, so that whoever reads
//! what is not in the page cache holds up nobody. What it found is used only if the segment is still the same.

use std::path::PathBuf;
use std::sync::Arc;

use ottla_types::Offset;

use super::cache::Loaded;
use super::lookup::scan_for;
use super::{BatchPosition, Segment};
use crate::fs::{Fs, FsFile, OpenMode};
use crate::log::files;
use crate::log::offset_index::OffsetIndex;

/// What it takes to find batches of a segment.
#[derive(Debug)]
pub(crate) struct SegmentSearch {
    identity: Arc<()>,
    base: Offset,
    size: u32,
    log: File,
    index_file: File,
    /// The part of the index that is in its file; `None` when nothing of it is loaded.
    index: Option<OffsetIndex>,
    wanted: Vec<Wanted>,
}

/// A file that is open, or has to be opened.
#[derive(Debug)]
enum File {
    Open(Arc<dyn FsFile>),
    At(PathBuf),
}

#[derive(Debug)]
struct Wanted {
    offset: Offset,
    /// Where to begin to look, if memory tells.
    start: Option<u32>,
}

/// Where a search found batches, and what it opened for that.
#[derive(Debug)]
pub(crate) struct SegmentPlaces {
    identity: Arc<()>,
    size: u32,
    places: Vec<(Offset, BatchPosition)>,
    log: Option<Arc<dyn FsFile>>,
    index_file: Option<Arc<dyn FsFile>>,
    index: Option<OffsetIndex>,
}

impl File {
    fn of(open: Option<&Arc<dyn FsFile>>, segment: &Segment, extension: &str) -> Self {
        open.map_or_else(|| Self::At(segment.path(extension)), |file| Self::Open(Arc::clone(file)))
    }

    fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    fn open(self, fs: &dyn Fs) -> Option<Arc<dyn FsFile>> {
        match self {
            Self::Open(file) => Some(file),
            Self::At(path) => fs.open(&path, OpenMode::Write).ok(),
        }
    }
}

impl Segment {
    /// A search for the batches in which `offset` and, if it is wanted too, `bound` lie. `None`: memory tells where `offset` is.
    pub(crate) fn search(&self, offset: Offset, bound: Option<Offset>) -> Option<SegmentSearch> {
        let cache = self.cache();
        if cache.recent.front().is_some_and(|first| first.base_offset <= offset) {
            return None;
        }
        let recent = cache.recent.front().map(|first| first.base_offset);
        let bound = bound.filter(|bound| recent.is_none_or(|recent| *bound < recent));
        let loaded = cache.offset_index.as_ref();
        let start = |offset| Some(loaded?.index.lookup_in_memory(offset)?.position);
        Some(SegmentSearch {
            identity: Arc::clone(&self.identity),
            base: self.base,
            size: self.size,
            log: File::of(cache.log.as_ref(), self, files::LOG),
            index_file: File::of(loaded.and_then(|loaded| loaded.file.as_ref()), self, files::INDEX),
            index: loaded.map(|loaded| loaded.index.written_part()),
            wanted: [Some(offset), bound]
                .into_iter()
                .flatten()
                .map(|offset| Wanted { offset, start: start(offset) })
                .collect(),
        })
    }

    /// Takes over what a search opened, and has its places, if they are still those of this segment.
    pub(crate) fn adopt(&self, fs: &dyn Fs, found: SegmentPlaces) -> Vec<(Offset, BatchPosition)> {
        if !Arc::ptr_eq(&self.identity, &found.identity) {
            return Vec::new();
        }
        let mut cache = self.cache();
        if fs.may_hold_open() {
            if cache.log.is_none() {
                cache.log = found.log;
            }
            if let Some(loaded) = &mut cache.offset_index {
                loaded.file = loaded.file.take().or(found.index_file);
            } else if let (Some(index), true) = (found.index, found.size == self.size) {
                cache.offset_index = Some(Loaded { file: found.index_file, index });
            }
        }
        found.places
    }
}

impl SegmentSearch {
    /// Looks. `None` when it fails: whoever needs the answer finds out why.
    pub(crate) fn run(self, fs: &dyn Fs) -> Option<SegmentPlaces> {
        let is_new = !self.log.is_open();
        let log = self.log.open(fs)?;
        let mut found = SegmentPlaces {
            identity: self.identity,
            size: self.size,
            places: Vec::with_capacity(self.wanted.len()),
            log: is_new.then(|| Arc::clone(&log)),
            index_file: None,
            index: None,
        };
        let mut index_file = Some(self.index_file);
        let mut searched = None;
        for Wanted { offset, start } in self.wanted {
            if start.is_none()
                && let Some(file) = index_file.take()
            {
                let is_new = !file.is_open();
                let file = file.open(fs)?;
                if is_new {
                    // Else a reader of old segments waits for the disk again and again.
                    file.prefetch();
                    found.index_file = Some(Arc::clone(&file));
                }
                let index = match &self.index {
                    Some(index) => index.written_part(),
                    None => found.index.insert(OffsetIndex::open(self.base, file.as_ref()).ok()?).clone(),
                };
                searched = Some((file, index));
            }
            let start = match (start, &searched) {
                (Some(start), _) => start,
                (None, Some((file, index))) => index.lookup(file.as_ref(), offset).ok()?.position,
                (None, None) => return None,
            };
            if let Some(place) = scan_for(log.as_ref(), start, self.size, offset).ok()? {
                found.places.push((offset, place));
            }
        }
        Some(found)
    }
}
