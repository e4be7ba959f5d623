//! A client that says exactly what goes over the wire.

use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_protocol::header::{encode_request, read_response_header};
use ottla_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use ottla_protocol::wire::{Reader, Request, decode_shared};

/// The longest that any answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to the server whose turn it is.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: TcpStream,
    correlation_id: i32,
    versions: ApiVersionsResponse<'static>,
}

impl Peer {
    /// Connects, as soon as somebody takes connections and answers.
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut peer = Self { stream, correlation_id: 0, versions: ApiVersionsResponse::default() };
        let request = ApiVersionsRequest {
            client_software_name: "interchange".into(),
            client_software_version: "1".into(),
            ..ApiVersionsRequest::default()
        };
        peer.versions = peer.try_ask(4, &request)?;
        Ok(peer)
    }

    /// Whether the server takes a request.
    pub(crate) fn serves(&self, key: ApiKey) -> bool {
        self.versions.api_keys.iter().any(|served| served.api_key == key.code())
    }

    /// The cluster's finalized features.
    pub(crate) fn features(&self) -> Vec<(String, i16)> {
        let found = self.versions.finalized_features.iter();
        let mut found: Vec<_> = found.map(|f| (f.name.clone().into_owned(), f.max_version_level)).collect();
        found.sort();
        found
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn try_ask<'a, R: Request<'a>>(
        &mut self,
        version: i16,
        request: &R,
    ) -> io::Result<R::Response<'static>> {
        self.correlation_id += 1;
        let frame = encode_request(request, version, self.correlation_id, Some("interchange"))
            .unwrap_or_else(|error| panic!("the test's {} v{version}: {error}", R::NAME));
        let frame = frame.into_bytes().expect("requests are in memory");
        let len = i32::try_from(frame.len()).expect("a frame's length").to_be_bytes();
        self.stream.write_all(&[&len, &frame[..]].concat())?;
        let mut len = [0; 4];
        self.stream.read_exact(&mut len)?;
        let mut answer = vec![0; usize::try_from(i32::from_be_bytes(len)).map_err(io::Error::other)?];
        self.stream.read_exact(&mut answer)?;
        let answer = Bytes::from(answer);
        let mut reader = Reader::new(&answer);
        read_response_header(&mut reader, R::KEY, version).map_err(io::Error::other)?;
        let body = answer.slice(reader.position()..);
        decode_shared(&body, version).map_err(|error| io::Error::other(format!("not decodable: {error}")))
    }

    /// As [`try_ask`](Self::try_ask); an answer must come.
    pub(crate) fn ask<'a, R: Request<'a>>(&mut self, version: i16, request: &R) -> R::Response<'static> {
        self.try_ask(version, request).unwrap_or_else(|error| panic!("{} v{version}: {error}", R::NAME))
    }

    /// Repeats a question until its answer is as wanted: metadata and coordinators need their time.
    pub(crate) fn wait_for<'a, R: Request<'a>>(
        &mut self,
        version: i16,
        request: &R,
        is_it: impl Fn(&R::Response<'static>) -> bool,
    ) -> R::Response<'static>
    where
        R::Response<'static>: Debug,
    {
        let begin = Instant::now();
        loop {
            let answer = self.ask(version, request);
            if is_it(&answer) {
                return answer;
            }
            assert!(begin.elapsed() < PATIENCE, "waited in vain: {answer:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
