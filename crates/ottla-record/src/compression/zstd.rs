//! Zstandard, with contexts that are kept per thread: making one costs more than compressing a small batch.

use std::cell::RefCell;

use ::zstd::zstd_safe::{self, CCtx, CParameter};

use crate::RecordError;

/// A context that grew beyond this (high levels, large windows) is freed, not kept.
const KEEP_BYTES: usize = 8 << 20;

thread_local! {
    static ENCODER: RefCell<Option<CCtx<'static>>> = const { RefCell::new(None) };
}

pub(super) fn compress(plain: &[u8], level: i32, out: &mut Vec<u8>) -> Result<(), RecordError> {
    let failed = |_| RecordError::Unbuildable("zstd encoder failed");
    let mut encoder = ENCODER.with(|slot| slot.borrow_mut().take()).unwrap_or_default();
    encoder.set_parameter(CParameter::CompressionLevel(level)).map_err(failed)?;
    let start = out.len();
    out.resize(start + zstd_safe::compress_bound(plain.len()), 0);
    let len = encoder.compress2(&mut out[start..], plain).map_err(failed)?;
    out.truncate(start + len);
    if encoder.sizeof() <= KEEP_BYTES {
        ENCODER.with(|slot| *slot.borrow_mut() = Some(encoder));
    }
    Ok(())
}
