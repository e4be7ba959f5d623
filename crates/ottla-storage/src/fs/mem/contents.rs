//! The bytes of a file in memory, sparse and cheap to copy.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The unit of memory, and the unit in which a kernel writes back.
pub(super) const PAGE: usize = 4096;

/// Bytes of which only the pages that were written take memory; clones share their pages until one of them writes.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    len: usize,
    pages: BTreeMap<usize, Arc<[u8; PAGE]>>,
}

impl Contents {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Fills `buf` as far as the contents go; how far.
    pub(super) fn read_at(&self, buf: &mut [u8], offset: u64) -> usize {
        let start = usize::try_from(offset).map_or(self.len, |offset| offset.min(self.len));
        let n = buf.len().min(self.len - start);
        for (at, within, part) in parts(start, n) {
            match self.pages.get(&at) {
                Some(page) => buf[part.clone()].copy_from_slice(&page[within..within + part.len()]),
                None => buf[part].fill(0),
            }
        }
        n
    }

    /// Stores `bytes`; a gap before them reads as zeros. No bytes, no change.
    pub(super) fn write_at(&mut self, bytes: &[u8], offset: usize) {
        if bytes.is_empty() {
            return;
        }
        for (at, within, part) in parts(offset, bytes.len()) {
            let page = Arc::make_mut(self.pages.entry(at).or_insert_with(|| Arc::new([0; PAGE])));
            page[within..within + part.len()].copy_from_slice(&bytes[part]);
        }
        self.len = self.len.max(offset + bytes.len());
    }

    /// Cuts, or extends with zeros.
    pub(super) fn set_len(&mut self, len: usize) {
        if len < self.len {
            self.pages.retain(|&at, _| at * PAGE < len);
            if let Some(page) = self.pages.get_mut(&(len / PAGE)) {
                Arc::make_mut(page)[len % PAGE..].fill(0);
            }
        }
        self.len = len;
    }
}

/// Splits `n` bytes from `start` at page borders: page number, offset in the page, range of the `n`.
fn parts(start: usize, n: usize) -> impl Iterator<Item = (usize, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == n {
            return None;
        }
        let (at, within) = ((start + done) / PAGE, (start + done) % PAGE);
        let end = n.min(done + PAGE - within);
        let part = done..end;
        done = end;
        Some((at, within, part))
    })
}
