//! The two checksums of the formats.

/// CRC-32C (Castagnoli) of batches of magic 2, by the hardware's instructions where it has them.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// CRC-32 (zlib's) of messages of magic 0 and 1.
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}
