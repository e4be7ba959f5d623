//! Snappy: xerial's framing of raw blocks (what Kafka's clients write), and bare raw blocks (what some others write).

use std::cell::RefCell;

use super::{Compression, failed};
use crate::RecordError;
use crate::cursor::{Cursor, i32_at};

/// Magic, version 1, compatible with version 1.
const HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
const BLOCK: usize = 32 * 1024;
const MAGIC: usize = 8;
/// No compressed byte stands for more than this many: the densest element copies 64 bytes by 3.
const MAX_RATIO: usize = 22;

thread_local! {
    static ENCODER: RefCell<snap::raw::Encoder> = RefCell::new(snap::raw::Encoder::new());
}

pub(super) fn compress(plain: &[u8], out: &mut Vec<u8>) -> Result<(), RecordError> {
    out.extend_from_slice(&HEADER);
    ENCODER.with(|encoder| {
        let mut encoder = encoder.borrow_mut();
        for block in plain.chunks(BLOCK) {
            let start = out.len();
            let body = start + 4;
            out.resize(body + snap::raw::max_compress_len(block.len()), 0);
            let len = encoder
                .compress(block, &mut out[body..])
                .map_err(|_| RecordError::Unbuildable("snappy encoder failed"))?;
            out.truncate(body + len);
            let len = u32::try_from(len).expect("a block of 32 KiB stays small");
            out[start..body].copy_from_slice(&len.to_be_bytes());
        }
        Ok(())
    })
}

/// Reads xerial's framing, or one bare block where its magic is missing, as snappy-java's `SnappyInputStream`.
pub(crate) struct Decoder<'a> {
    input: Cursor<'a>,
    framed: bool,
    decoder: snap::raw::Decoder,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(input: &'a [u8]) -> Result<Self, RecordError> {
        if input.is_empty() {
            return Err(corrupt("empty input"));
        }
        let mut cursor = Cursor::new(input);
        let framed = input.len() >= HEADER.len() && input.starts_with(&HEADER[..MAGIC]);
        if framed {
            // Kafka does not look at the versions.
            cursor.take(HEADER.len());
        }
        Ok(Self { input: cursor, framed, decoder: snap::raw::Decoder::new() })
    }

    pub(super) fn fill(&mut self, out: &mut Vec<u8>) -> Result<bool, RecordError> {
        while let Some(block) = self.next_block()? {
            let len = snap::raw::decompress_len(block).map_err(corrupt)?;
            if len > block.len().saturating_mul(MAX_RATIO) {
                return Err(corrupt("the block claims more bytes than it can hold"));
            }
            let start = out.len();
            out.resize(start + len, 0);
            self.decoder.decompress(block, &mut out[start..]).map_err(corrupt)?;
            if len > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn next_block(&mut self) -> Result<Option<&'a [u8]>, RecordError> {
        if !self.framed {
            let rest = self.input.rest();
            self.input = Cursor::new(&[]);
            return Ok((!rest.is_empty()).then_some(rest));
        }
        loop {
            let Some(prefix) = self.input.take(4) else { return Ok(None) };
            if prefix == &HEADER[..4] {
                // Streams may be concatenated, each with its header.
                let rest = self.input.take(HEADER.len() - 4).ok_or_else(|| corrupt("the header is cut"))?;
                if rest[..MAGIC - 4] != HEADER[4..MAGIC] {
                    return Err(corrupt("unknown header between blocks"));
                }
                continue;
            }
            let len = usize::try_from(i32_at(prefix, 0)).map_err(|_| corrupt("negative block length"))?;
            return self.input.take(len).map(Some).ok_or_else(|| corrupt("the block is cut"));
        }
    }
}

fn corrupt(message: impl std::fmt::Display) -> RecordError {
    failed(Compression::Snappy, message)
}
