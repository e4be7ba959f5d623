//! Snappy: xerial's framing of raw blocks (what Kafka's clients write), and bare raw blocks (what some others write).

use std::cell::RefCell;

use crate::RecordError;

/// Magic, version 1, compatible with version 1.
const HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
const BLOCK: usize = 32 * 1024;

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
