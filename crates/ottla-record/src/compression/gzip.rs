//! Gzip (RFC 1952).

use std::cell::RefCell;

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

use super::{CHUNK, Compression, failed};
use crate::RecordError;
use crate::cursor::Cursor;

const WINDOW_BITS: u8 = 15;
const DEFAULT_LEVEL: u32 = 6;

thread_local! {
    /// The last encoder and its level: its tables are large, and levels seldom change.
    static ENCODER: RefCell<Option<(u32, Compress)>> = const { RefCell::new(None) };
    static INFLATE: RefCell<Option<Decompress>> = const { RefCell::new(None) };
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

/// Reads members one after the other, as Java's `GZIPInputStream`: what follows the last one and is no member is
/// ignored.
pub(crate) struct Decoder<'a> {
    input: &'a [u8],
    /// Taken from the thread's slot, and given back.
    inflate: Option<Decompress>,
    checksum: crc32fast::Hasher,
    ended: bool,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(input: &'a [u8]) -> Result<Self, RecordError> {
        let input = skip_header(input).ok_or_else(|| corrupt("not in gzip format"))?;
        let inflate = match INFLATE.with(|slot| slot.borrow_mut().take()) {
            Some(mut inflate) => {
                inflate.reset(false);
                inflate
            }
            None => Decompress::new(false),
        };
        Ok(Self { input, inflate: Some(inflate), checksum: crc32fast::Hasher::new(), ended: false })
    }

    pub(super) fn fill(&mut self, out: &mut Vec<u8>) -> Result<bool, RecordError> {
        while !self.ended {
            out.reserve(CHUNK);
            let start = out.len();
            let status = self.inflate(out)?;
            let new = out.get(start..).unwrap_or_default();
            self.checksum.update(new);
            let (produced, member_ended) = (!new.is_empty(), status == Status::StreamEnd);
            if member_ended {
                self.end_member()?;
            }
            if produced {
                return Ok(true);
            }
            if !member_ended && self.input.is_empty() {
                return Err(corrupt("unexpected end of the stream"));
            }
        }
        Ok(false)
    }

    fn inflate(&mut self, out: &mut Vec<u8>) -> Result<Status, RecordError> {
        let inflate = self.inflate.as_mut().expect("held until drop");
        let before = inflate.total_in();
        let status = inflate.decompress_vec(self.input, out, FlushDecompress::None).map_err(corrupt)?;
        let used = usize::try_from(inflate.total_in() - before).unwrap_or(usize::MAX);
        self.input = self.input.get(used..).unwrap_or_default();
        Ok(status)
    }

    fn end_member(&mut self) -> Result<(), RecordError> {
        let inflate = self.inflate.as_mut().expect("held until drop");
        let size = inflate.total_out() as u32;
        let mut cursor = Cursor::new(self.input);
        let trailer = cursor.take(8).ok_or_else(|| corrupt("the trailer is cut"))?;
        let checksum = std::mem::take(&mut self.checksum).finalize();
        if trailer[..4] != checksum.to_le_bytes() || trailer[4..] != size.to_le_bytes() {
            return Err(corrupt("the trailer does not match the data"));
        }
        match skip_header(cursor.rest()) {
            Some(next) => {
                self.input = next;
                inflate.reset(false);
            }
            None => self.ended = true,
        }
        Ok(())
    }
}

impl Drop for Decoder<'_> {
    fn drop(&mut self) {
        INFLATE.with(|slot| *slot.borrow_mut() = self.inflate.take());
    }
}

/// The bytes after the header of a member; `None` if there is none.
fn skip_header(input: &[u8]) -> Option<&[u8]> {
    const HEADER_CRC: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    let mut cursor = Cursor::new(input);
    let fixed = cursor.take(10)?;
    if fixed[..3] != [0x1f, 0x8b, 8] {
        return None;
    }
    let flags = fixed[3];
    if flags & EXTRA != 0 {
        let len = u16::from_le_bytes([cursor.u8()?, cursor.u8()?]);
        cursor.take(usize::from(len))?;
    }
    for flag in [NAME, COMMENT] {
        if flags & flag != 0 {
            while cursor.u8()? != 0 {}
        }
    }
    if flags & HEADER_CRC != 0 {
        let header = &input[..input.len() - cursor.rest().len()];
        let stored = u16::from_le_bytes([cursor.u8()?, cursor.u8()?]);
        if stored != crc32fast::hash(header) as u16 {
            return None;
        }
    }
    Some(cursor.rest())
}

fn corrupt(message: impl std::fmt::Display) -> RecordError {
    failed(Compression::Gzip, message)
}
