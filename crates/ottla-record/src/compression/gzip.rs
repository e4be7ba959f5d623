//! Gzip (RFC 1952).

use std::cell::RefCell;

use flate2::{Compress, FlushCompress, Status};

use crate::RecordError;

const WINDOW_BITS: u8 = 15;
const DEFAULT_LEVEL: u32 = 6;

thread_local! {
    /// The last encoder and its level: its tables are large, and levels seldom change.
    static ENCODER: RefCell<Option<(u32, Compress)>> = const { RefCell::new(None) };
}

pub(super) fn compress(plain: &[u8], level: i32, out: &mut Vec<u8>) -> Result<(), RecordError> {
    let level = u32::try_from(level).unwrap_or(DEFAULT_LEVEL);
    let cached = ENCODER.with(|encoder| encoder.borrow_mut().take());
    let mut encoder = match cached {
        Some((cached_level, encoder)) if cached_level == level => encoder,
        _ => Compress::new_gzip(flate2::Compression::new(level), WINDOW_BITS),
    };
    out.reserve(plain.len() / 2 + 64);
    loop {
        let consumed = usize::try_from(encoder.total_in()).unwrap_or(usize::MAX);
        let rest = plain.get(consumed..).unwrap_or_default();
        let status = encoder
            .compress_vec(rest, out, FlushCompress::Finish)
            .map_err(|_| RecordError::Unbuildable("gzip encoder failed"))?;
        if status == Status::StreamEnd {
            break;
        }
        out.reserve(rest.len().max(64));
    }
    encoder.reset();
    ENCODER.with(|slot| *slot.borrow_mut() = Some((level, encoder)));
    Ok(())
}
