//! Record batches: borrowed views, header patching, building, validation, checksums and compression.
//!
//! A batch is bytes. [`BatchView`] reads them in place, [`patch`] changes the few header fields that a broker assigns,
//! [`BatchBuilder`] makes new ones. Everything here treats its input as hostile: no input panics, and nothing is
//! allocated by a length that was not checked against the bytes that are there.
//!
//! The formats are Kafka's: magic 2 (read and written), magic 0 and 1 (read only).

mod attributes;
mod batch;
mod builder;
mod checksum;
pub mod compression;
mod control;
mod cursor;
mod error;
pub mod inspect;
mod legacy;
pub mod patch;
mod record;
mod records;
mod stream;
pub mod validate;

pub use attributes::{Attributes, TimestampType};
pub use batch::{BatchHeader, BatchView, Batches, HEADER_LEN, LOG_OVERHEAD};
pub use builder::BatchBuilder;
pub use checksum::{crc32, crc32c};
pub use compression::{Codec, Compression, decompress};
pub use control::{EndTxnMarker, control_batch, control_type};
pub use error::RecordError;
pub use record::{Header, Headers, RecordView};
pub use records::Records;
pub use stream::Limits;
