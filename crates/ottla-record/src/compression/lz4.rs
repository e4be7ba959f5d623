//! LZ4 frames, with the restrictions of Kafka's `Lz4BlockInputStream`: independent blocks, one frame.

use super::{Compression, failed};
use crate::RecordError;
use crate::cursor::Cursor;

/// Magic, FLG (version 1, independent blocks), BD (64 KB), and the checksum of FLG and BD.
const HEADER: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
const BLOCK: usize = 64 * 1024;
/// Set in a block's length when its bytes are stored, not compressed.
const STORED: u32 = 1 << 31;

pub(super) fn compress(plain: &[u8], out: &mut Vec<u8>) -> Result<(), RecordError> {
    out.extend_from_slice(&HEADER);
    for block in plain.chunks(BLOCK) {
        let start = out.len();
        let body = start + 4;
        out.resize(body + lz4_flex::block::get_maximum_output_size(block.len()), 0);
        let compressed = lz4_flex::block::compress_into(block, &mut out[body..])
            .map_err(|_| RecordError::Unbuildable("lz4 encoder failed"))?;
        let (len, flag) = if compressed < block.len() {
            (compressed, 0)
        } else {
            out[body..body + block.len()].copy_from_slice(block);
            (block.len(), STORED)
        };
        out.truncate(body + len);
        let len = u32::try_from(len).expect("a block of 64 KB stays small");
        out[start..body].copy_from_slice(&(len | flag).to_le_bytes());
    }
    out.extend_from_slice(&[0; 4]);
    Ok(())
}

/// No compressed byte stands for more than this many.
const MAX_RATIO: usize = 255;
const MAGIC: usize = 4;

/// Reads one frame; what follows it is ignored, as by Kafka.
pub(crate) struct Decoder<'a> {
    input: Cursor<'a>,
    max_block: usize,
    block_checksums: bool,
    content_checksum: bool,
    ended: bool,
}

impl<'a> Decoder<'a> {
    /// `check_header` is off for messages of magic 0, whose writers computed the header's checksum wrongly.
    pub(super) fn new(input: &'a [u8], check_header: bool) -> Result<Self, RecordError> {
        const VERSION_AND_INDEPENDENCE: u8 = 0b1110_0000;
        const BLOCK_CHECKSUMS: u8 = 0b0001_0000;
        const CONTENT_SIZE: u8 = 0b0000_1000;
        const CONTENT_CHECKSUM: u8 = 0b0000_0100;
        const RESERVED: u8 = 0b0000_0011;
        let cut = || corrupt("the header is cut");
        let mut cursor = Cursor::new(input);
        if cursor.take(MAGIC).ok_or_else(cut)? != &HEADER[..MAGIC] {
            return Err(corrupt("unknown magic bytes"));
        }
        let descriptor = cursor.rest();
        let (flags, block) = (cursor.u8().ok_or_else(cut)?, cursor.u8().ok_or_else(cut)?);
        if flags & (VERSION_AND_INDEPENDENCE | RESERVED) != 0b0110_0000 {
            return Err(corrupt("only version 1 with independent blocks is supported"));
        }
        if block & 0b1000_1111 != 0 || block < 4 << 4 {
            return Err(corrupt("unknown block size"));
        }
        let mut descriptor_len = 2;
        if flags & CONTENT_SIZE != 0 {
            cursor.take(8).ok_or_else(cut)?;
            descriptor_len += 8;
        }
        let checksum = cursor.u8().ok_or_else(cut)?;
        if check_header && checksum != (xxhash(&descriptor[..descriptor_len]) >> 8) as u8 {
            return Err(corrupt("the header's checksum does not match"));
        }
        Ok(Self {
            input: cursor,
            max_block: 1 << (2 * (block >> 4) + 8),
            block_checksums: flags & BLOCK_CHECKSUMS != 0,
            content_checksum: flags & CONTENT_CHECKSUM != 0,
            ended: false,
        })
    }

    pub(super) fn fill(&mut self, out: &mut Vec<u8>) -> Result<bool, RecordError> {
        let cut = || corrupt("the stream ended prematurely");
        while !self.ended {
            let prefix = u32::from_le_bytes(self.word().ok_or_else(cut)?);
            let len = (prefix & !STORED) as usize;
            if len == 0 {
                self.ended = true;
                if self.content_checksum {
                    self.word().ok_or_else(cut)?;
                }
                break;
            }
            if len > self.max_block {
                return Err(corrupt("a block is longer than the header allows"));
            }
            let block = self.input.take(len).ok_or_else(cut)?;
            if self.block_checksums && self.word().ok_or_else(cut)? != xxhash(block).to_le_bytes() {
                return Err(corrupt("a block's checksum does not match"));
            }
            if prefix & STORED != 0 {
                out.extend_from_slice(block);
                return Ok(true);
            }
            let start = out.len();
            out.resize(start + self.max_block.min(len * MAX_RATIO), 0);
            let len = lz4_flex::block::decompress_into(block, &mut out[start..]).map_err(corrupt)?;
            out.truncate(start + len);
            if len > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn word(&mut self) -> Option<[u8; 4]> {
        self.input.take(4)?.try_into().ok()
    }
}

fn xxhash(bytes: &[u8]) -> u32 {
    twox_hash::XxHash32::oneshot(0, bytes)
}

fn corrupt(message: impl std::fmt::Display) -> RecordError {
    failed(Compression::Lz4, message)
}
