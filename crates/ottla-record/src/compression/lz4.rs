//! LZ4 frames, with the restrictions of Kafka's `Lz4BlockInputStream`: independent blocks, one frame.

use crate::RecordError;

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
