//! The encodings that all messages share, and the traits of messages.
//!
//! [`Reader`] and [`Writer`] carry the message's version and remember their first error, so that the generated code per
//! field is a single call. A reader that failed yields zeros and empty values until the message ends; the caller gets
//! the error only.

mod error;
mod message;
mod reader;
mod records;
mod writer;

pub use error::{DecodeError, DecodeFault, EncodeError, EncodeFault};
pub use message::{Message, Request, VersionRange, decode_shared};
pub use reader::{Element, Reader};
pub use records::RecordData;
pub use writer::{Encoded, Part, Writer};

#[cfg(test)]
mod tests;
