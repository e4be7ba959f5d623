//! A request on its way through the broker: its frame, its header, and how to answer it.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use ottla_net::{ConnectionInfo, FileSource, Frame, Outcome, Part, Response};
use ottla_protocol::RequestHeader;
use ottla_protocol::header::encode_response;
use ottla_protocol::messages::ApiKey;
use ottla_protocol::wire::{DecodeError, Encoded, Message, Part as EncodedPart, Reader};

/// What the broker keeps for a connection.
#[derive(Debug)]
pub(crate) struct Session {
    /// Who is at the other end.
    pub(crate) connection: ConnectionInfo,
}

/// A taken request. Cheap to move into a future; the message borrows from its frame.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) session: Arc<Session>,
    pub(crate) api_key: ApiKey,
    pub(crate) api_version: i16,
    correlation_id: i32,
    client_id: Option<Box<str>>,
    frame: Frame,
    body_at: usize,
}

/// A file range that belongs into a response where its message has external record data.
pub(crate) struct FileRange {
    pub(crate) file: Arc<dyn FileSource>,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

impl Request {
    /// Reads the header of a frame.
    pub(crate) fn parse(session: &Arc<Session>, frame: Frame) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(&frame);
        let header = RequestHeader::read(&mut reader)?;
        let body_at = reader.position();
        Ok(Self {
            session: Arc::clone(session),
            api_key: header.api_key,
            api_version: header.api_version,
            correlation_id: header.correlation_id,
            client_id: header.client_id.map(|id| Cow::into_owned(id).into_boxed_str()),
            frame,
            body_at,
        })
    }

    /// The client's name for itself; empty when it gave none.
    pub(crate) fn client_id(&self) -> &str {
        self.client_id.as_deref().unwrap_or_default()
    }

    /// The message after the header.
    pub(crate) fn body(&self) -> &[u8] {
        &self.frame[self.body_at..]
    }

    /// Where a piece of the decoded message lies in the body; for [`Request::body_mut`].
    pub(crate) fn place_of(&self, piece: &[u8]) -> Range<usize> {
        if piece.is_empty() {
            return 0..0;
        }
        let start = piece.as_ptr().addr().wrapping_sub(self.body().as_ptr().addr());
        let place = start..start.wrapping_add(piece.len());
        assert!(self.body().get(place.clone()).is_some(), "a piece of the body");
        place
    }

    /// A part of the body, to be changed in place.
    pub(crate) fn body_mut(&mut self, place: Range<usize>) -> &mut [u8] {
        &mut self.frame[self.body_at..][place]
    }

    /// Gives the frame's memory back before the answer; nothing can be decoded after it.
    pub(crate) fn drop_body(&mut self) {
        self.frame = Frame::default();
        self.body_at = 0;
    }

    /// Decodes the message; the broker answers a request that it cannot read by closing the connection, as Kafka does.
    /// Bytes behind the message are passed over, as Kafka does too.
    pub(crate) fn decode<'a, M: Message<'a>>(&'a self) -> Result<M, DecodeError> {
        M::read(&mut Reader::new(self.body()), self.api_version)
    }

    /// Answers with a message.
    pub(crate) fn reply<'a, M: Message<'a>>(&self, message: &M) -> Outcome {
        self.reply_with_files(message, Vec::new())
    }

    /// Answers with a message whose external record data are these file ranges, in order.
    pub(crate) fn reply_with_files<'a, M: Message<'a>>(&self, message: &M, files: Vec<FileRange>) -> Outcome {
        match encode_response(message, self.api_key, self.api_version, self.correlation_id) {
            Ok(encoded) => Outcome::Ready(join(encoded, files)),
            Err(error) => Outcome::close(format!("cannot express the response: {error}")),
        }
    }

    /// Answers in another version than the request's: ApiVersions to a client that is newer than this broker.
    pub(crate) fn reply_in_version<'a, M: Message<'a>>(&self, message: &M, version: i16) -> Outcome {
        match encode_response(message, self.api_key, version, self.correlation_id) {
            Ok(encoded) => Outcome::Ready(join(encoded, Vec::new())),
            Err(error) => Outcome::close(format!("cannot express the response: {error}")),
        }
    }
}

fn join(encoded: Encoded, files: Vec<FileRange>) -> Response {
    let mut files = files.into_iter();
    Response::from_parts(encoded.into_parts().into_iter().map(|part| match part {
        EncodedPart::Bytes(bytes) => Part::Bytes(bytes),
        EncodedPart::External(len) => {
            let range = files.next().expect("one file range for each external piece");
            debug_assert_eq!(range.len, len as u64, "the promised length");
            Part::File { file: range.file, offset: range.offset, len: range.len }
        }
    }))
}
