//! Record batches: views, validation, building, checksums, compression.
