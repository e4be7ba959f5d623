//! Zstandard, with contexts that are kept per thread: making one costs more than compressing a small batch.

use std::cell::RefCell;

use ::zstd::zstd_safe::{self, CCtx, CParameter, DCtx, InBuffer, OutBuffer, ResetDirective};

use super::{CHUNK, Compression, failed};
use crate::RecordError;

/// A context that grew beyond this (high levels, large windows) is freed, not kept.
const KEEP_BYTES: usize = 8 << 20;

thread_local! {
    static ENCODER: RefCell<Option<CCtx<'static>>> = const { RefCell::new(None) };
    static DECODER: RefCell<Option<DCtx<'static>>> = const { RefCell::new(None) };
}

pub(super) fn compress(plain: &[u8], level: i32, out: &mut Vec<u8>) -> Result<(), RecordError> {
    let refused = |_| RecordError::Unbuildable("zstd encoder failed");
    let mut encoder = ENCODER.with(|slot| slot.borrow_mut().take()).unwrap_or_default();
    encoder.set_parameter(CParameter::CompressionLevel(level)).map_err(refused)?;
    let start = out.len();
    out.resize(start + zstd_safe::compress_bound(plain.len()), 0);
    let len = encoder.compress2(&mut out[start..], plain).map_err(refused)?;
    out.truncate(start + len);
    if encoder.sizeof() <= KEEP_BYTES {
        ENCODER.with(|slot| *slot.borrow_mut() = Some(encoder));
    }
    Ok(())
}

/// Reads frames one after the other. Windows are bounded by zstd's default limit, 128 MiB, which level 22 needs.
pub(crate) struct Decoder<'a> {
    input: &'a [u8],
    position: usize,
    /// Taken from the thread's slot, and given back.
    context: Option<DCtx<'static>>,
    /// Between frames, where the input may end.
    frame_ended: bool,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        let context = DECODER.with(|slot| slot.borrow_mut().take()).unwrap_or_default();
        Self { input, position: 0, context: Some(context), frame_ended: true }
    }

    pub(super) fn fill(&mut self, out: &mut Vec<u8>) -> Result<bool, RecordError> {
        loop {
            if self.frame_ended && self.position == self.input.len() {
                return Ok(false);
            }
            out.reserve(CHUNK);
            let (start, position) = (out.len(), self.position);
            let mut input = InBuffer::around(self.input);
            input.set_pos(position);
            let context = self.context.as_mut().expect("held until drop");
            let hint = context
                .decompress_stream(&mut OutBuffer::around_pos(out, start), &mut input)
                .map_err(|code| corrupt(zstd_safe::get_error_name(code)))?;
            self.position = input.pos();
            self.frame_ended = hint == 0;
            if out.len() > start {
                return Ok(true);
            }
            if self.position == position {
                return Err(corrupt("truncated source"));
            }
        }
    }
}

impl Drop for Decoder<'_> {
    fn drop(&mut self) {
        if let Some(mut context) = self.context.take()
            && context.sizeof() <= KEEP_BYTES
            && context.reset(ResetDirective::SessionOnly).is_ok()
        {
            DECODER.with(|slot| *slot.borrow_mut() = Some(context));
        }
    }
}

fn corrupt(message: impl std::fmt::Display) -> RecordError {
    failed(Compression::Zstd, message)
}
