//! A request on its way through the broker: its frame, its header, and how to answer it.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use ottla_net::{ConnectionInfo, FileSource, Outcome, Part, Response};
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
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) session: Arc<Session>,
    pub(crate) api_key: ApiKey,
    pub(crate) api_version: i16,
    correlation_id: i32,
    client_id: Option<Box<str>>,
    frame: Bytes,
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
    pub(crate) fn parse(session: &Arc<Session>, frame: Bytes) -> Result<Self, DecodeError> {
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

    /// The client's address as Kafka shows it in group descriptions: `/127.0.0.1`.
    pub(crate) fn client_host(&self) -> String {
        format!("/{}", self.session.connection.peer.ip())
    }

    /// The message after the header.
    pub(crate) fn body(&self) -> &[u8] {
        &self.frame[self.body_at..]
    }

    /// Decodes the message; the broker answers a request that it cannot read by closing the connection, as Kafka does.
    pub(crate) fn decode<'a, M: Message<'a>>(&'a self) -> Result<M, DecodeError> {
        M::decode(self.body(), self.api_version)
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
