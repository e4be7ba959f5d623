//! Request and response headers: what comes between the frame length and the message.

use std::borrow::Cow;

use crate::messages::{self, ApiKey, ResponseHeader};
use crate::wire::{DecodeError, DecodeFault, EncodeError, Encoded, Message, Reader, Request, Writer};

/// The header of a request whose API key is known. Its own version follows from key and version.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestHeader<'a> {
    /// What is asked for.
    pub api_key: ApiKey,
    /// Version of the request; not yet checked against the versions of the key.
    pub api_version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// The client's name for itself.
    pub client_id: Option<Cow<'a, str>>,
}

impl<'a> RequestHeader<'a> {
    /// Reads a header and leaves the reader at the request itself. Versions that the key does not have are the caller's to
    /// refuse: for ApiVersions the answer to such a request is a version 0 response (KIP-511).
    ///
    /// # Errors
    /// When the bytes are no header, or the API key is unknown.
    pub fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let (key, version) = r.peek_two_i16();
        let Some(api_key) = ApiKey::from_code(key) else {
            let fault =
                if r.remaining() < 4 { DecodeFault::Truncated } else { DecodeFault::UnknownApiKey(key) };
            return Err(DecodeError { message: "RequestHeader", version: 0, position: r.position(), fault });
        };
        let header = messages::RequestHeader::read(r, api_key.request_header_version(version))?;
        Ok(Self {
            api_key,
            api_version: header.request_api_version,
            correlation_id: header.correlation_id,
            client_id: header.client_id,
        })
    }

    /// Writes the header.
    ///
    /// # Errors
    /// When the client id is too long.
    pub fn write(&self, w: &mut Writer) -> Result<(), EncodeError> {
        let header = messages::RequestHeader {
            request_api_key: self.api_key.code(),
            request_api_version: self.api_version,
            correlation_id: self.correlation_id,
            client_id: self.client_id.as_deref().map(Cow::Borrowed),
        };
        header.write(w, self.api_key.request_header_version(self.api_version))
    }
}

/// Reads the header of the response to a request of that key and version: the correlation id. Leaves the reader at the
/// response itself.
///
/// # Errors
/// When the bytes are no header.
pub fn read_response_header(r: &mut Reader<'_>, key: ApiKey, version: i16) -> Result<i32, DecodeError> {
    Ok(ResponseHeader::read(r, key.response_header_version(version))?.correlation_id)
}

/// Encodes a request with its header, without the frame length before it.
///
/// # Errors
/// When request or header cannot be expressed in that version.
pub fn encode_request<'a, R: Request<'a>>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> Result<Encoded, EncodeError> {
    let header = RequestHeader {
        api_key: R::KEY,
        api_version: version,
        correlation_id,
        client_id: client_id.map(Cow::Borrowed),
    };
    encode_both(|w| {
        header.write(w)?;
        request.write(w, version)
    })
}

/// Encodes a response with its header, without the frame length before it.
///
/// # Errors
/// When the response cannot be expressed in that version.
pub fn encode_response<'a, M: Message<'a>>(
    response: &M,
    key: ApiKey,
    version: i16,
    correlation_id: i32,
) -> Result<Encoded, EncodeError> {
    encode_throttled_response(response, key, version, correlation_id, 0).map(|(encoded, _)| encoded)
}

/// What a response says, whatever its message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseNotes {
    /// How long its client is throttled: what was asked for, or what the message had if that is more. A version without
    /// the field does not tell the client.
    pub throttle_time_ms: i32,
    /// Every error code in it but 0, in the order of the message.
    pub error_codes: Vec<i16>,
}

/// As [`encode_response`], telling the client that it is throttled for at least `throttle_time_ms`.
///
/// # Errors
/// When the response cannot be expressed in that version.
pub fn encode_throttled_response<'a, M: Message<'a>>(
    response: &M,
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    throttle_time_ms: i32,
) -> Result<(Encoded, ResponseNotes), EncodeError> {
    let header = ResponseHeader { correlation_id };
    let mut w = write_both(throttle_time_ms, |w| {
        header.write(w, key.response_header_version(version))?;
        response.write(w, version)
    })?;
    let notes = ResponseNotes { throttle_time_ms: w.throttled_ms(), error_codes: w.take_error_codes() };
    Ok((w.finish(), notes))
}

fn encode_both(write: impl Fn(&mut Writer) -> Result<(), EncodeError>) -> Result<Encoded, EncodeError> {
    write_both(0, write).map(Writer::finish)
}

fn write_both(
    throttle_time_ms: i32,
    write: impl Fn(&mut Writer) -> Result<(), EncodeError>,
) -> Result<Writer, EncodeError> {
    let mut counter = Writer::counting().throttling(throttle_time_ms);
    write(&mut counter)?;
    let mut w = Writer::with_capacity(counter.len_in_memory()).throttling(throttle_time_ms);
    write(&mut w)?;
    Ok(w)
}
