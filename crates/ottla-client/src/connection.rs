//! One connection to one node: many calls under way at once, answered in order.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_protocol::wire::decode_shared;
use ottla_protocol::{
    ApiKey, EncodeError, ErrorCode, Message, Reader, Request, VersionRange, header, wire::EncodeFault,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::error::check;
use crate::{ClientError, ConnectionConfig, Result};

/// The name under which the broker's metrics count this client (KIP-511).
const SOFTWARE_NAME: &str = "ottla";
/// Requests joined into one write.
const MAX_JOINED_BYTES: usize = 64 * 1024;
const READ_BUFFER_BYTES: usize = 16 * 1024;
/// No more than this is allocated for a response before its bytes arrive.
const MAX_TRUSTED_BYTES: usize = 1024 * 1024;

/// A connection; clones share it. It closes when the last clone and the last [`Pending`] are gone.
#[derive(Clone, Debug)]
pub struct Connection {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    address: String,
    config: ConnectionConfig,
    requests: mpsc::UnboundedSender<Vec<u8>>,
    waiting: Arc<Waiting>,
    next_correlation_id: AtomicI32,
    /// Versions that the node speaks.
    versions: BTreeMap<i16, VersionRange>,
    reading: AbortHandle,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The writing task ends by itself, as `requests` is closed now.
        self.reading.abort();
    }
}

/// A request that was sent, with a limit on waiting for its answer. It is sent whether or not this is awaited.
#[must_use = "errors are in the answer"]
pub struct Call<T>(Pin<Box<dyn Future<Output = Result<T>> + Send>>);

/// The calls without an answer, in the order of their requests; `None` when the connection is lost.
#[derive(Debug)]
struct Waiting {
    address: String,
    calls: Mutex<Result<VecDeque<Unanswered>, String>>,
    /// Set when nobody can use the connection any more.
    lost: AtomicBool,
}

#[derive(Debug)]
struct Unanswered {
    correlation_id: i32,
    answer: oneshot::Sender<Bytes>,
}

/// An answer that is on its way. Dropping it abandons the answer; the request is carried out nevertheless.
#[derive(Debug)]
pub struct Pending<T> {
    answer: oneshot::Receiver<Bytes>,
    key: ApiKey,
    version: i16,
    shared: Arc<Shared>,
    _response: PhantomData<fn() -> T>,
}

impl Connection {
    /// Connects to `host:port` and asks which versions the node speaks.
    ///
    /// # Errors
    /// The node cannot be reached, or does not speak Kafka's protocol.
    pub async fn open(address: &str, config: &ConnectionConfig) -> Result<Self> {
        let connecting = tokio::time::timeout(config.connect_timeout, TcpStream::connect(address));
        let stream = match connecting.await {
            Ok(connected) => connected,
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no answer within {} ms", config.connect_timeout.as_millis()),
            )),
        };
        let connect_error = |source: io::Error| ClientError::Connect {
            address: address.to_owned(),
            source: Arc::new(source),
        };
        let stream = stream.map_err(connect_error)?;
        stream.set_nodelay(true).map_err(connect_error)?;

        let mut connection = Self::start(stream, address, config);
        let versions = connection.ask_versions().await?;
        Arc::get_mut(&mut connection.shared).expect("nobody else has it yet").versions = versions;
        Ok(connection)
    }

    fn start(stream: TcpStream, address: &str, config: &ConnectionConfig) -> Self {
        let (read, write) = stream.into_split();
        let (requests, outgoing) = mpsc::unbounded_channel();
        let waiting = Arc::new(Waiting {
            address: address.to_owned(),
            calls: Mutex::new(Ok(VecDeque::new())),
            lost: AtomicBool::new(false),
        });
        tokio::spawn(write_requests(write, outgoing, Arc::clone(&waiting)));
        let reading = tokio::spawn(read_responses(read, Arc::clone(&waiting), config.max_response_bytes));
        Self {
            shared: Arc::new(Shared {
                address: address.to_owned(),
                config: config.clone(),
                requests,
                waiting,
                next_correlation_id: AtomicI32::new(0),
                versions: BTreeMap::new(),
                reading: reading.abort_handle(),
            }),
        }
    }

    /// The address it was opened with.
    pub fn address(&self) -> &str {
        &self.shared.address
    }

    /// Whether calls can no longer succeed.
    pub fn is_closed(&self) -> bool {
        self.shared.waiting.lost.load(Ordering::Acquire)
    }

    /// The versions that the node speaks of an API.
    pub fn versions(&self, key: ApiKey) -> Option<VersionRange> {
        self.shared.versions.get(&key.code()).copied()
    }

    /// The highest version of a request that both sides speak and that is in `usable`.
    ///
    /// # Errors
    /// There is none.
    pub fn version_in(&self, key: ApiKey, usable: VersionRange) -> Result<i16> {
        let ours = key.stable_versions().map_or(usable, |stable| {
            VersionRange::new(usable.low.max(stable.low), usable.high.min(stable.high))
        });
        let theirs = self.versions(key);
        theirs
            .map(|theirs| (ours.low.max(theirs.low), ours.high.min(theirs.high)))
            .and_then(|(low, high)| (low <= high).then_some(high))
            .ok_or_else(|| ClientError::Unsupported {
                address: self.address().to_owned(),
                api: key,
                ours,
                theirs: theirs.map_or_else(|| "none".to_owned(), |range| range.to_string()),
            })
    }

    /// Sends a request in the highest common version and waits for the answer.
    ///
    /// # Errors
    /// No common version, no connection, no answer in time. An error code in the answer is not an error here.
    pub fn call<'a, R>(&self, request: &R) -> Call<R::Response<'static>>
    where
        R: Request<'a, Response<'static>: Send + 'static>,
    {
        match self.version_in(R::KEY, R::VERSIONS) {
            Ok(version) => self.call_at(request, version),
            Err(error) => Call::failed(error),
        }
    }

    /// Sends the request that `make` gives for the highest common version in `usable`.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub fn call_with<'a, R>(
        &self,
        usable: VersionRange,
        make: impl FnOnce(i16) -> R,
    ) -> Call<R::Response<'static>>
    where
        R: Request<'a, Response<'static>: Send + 'static>,
    {
        match self.version_in(R::KEY, usable) {
            Ok(version) => self.call_at(&make(version), version),
            Err(error) => Call::failed(error),
        }
    }

    /// Sends a request in a version that the caller has chosen.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub fn call_at<'a, R>(&self, request: &R, version: i16) -> Call<R::Response<'static>>
    where
        R: Request<'a, Response<'static>: Send + 'static>,
    {
        self.call_within(request, version, self.shared.config.request_timeout)
    }

    /// As [`Connection::call_at`] with a limit of its own, for calls that the broker keeps waiting on purpose. After a
    /// timeout the connection is given up: the answers behind the missing one cannot come either.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub fn call_within<'a, R>(&self, request: &R, version: i16, limit: Duration) -> Call<R::Response<'static>>
    where
        R: Request<'a, Response<'static>: Send + 'static>,
    {
        match self.submit::<R>(request, version) {
            Ok(pending) => Call(Box::pin(pending.within(limit))),
            Err(error) => Call::failed(error),
        }
    }

    /// Queues a request and returns without waiting: requests are sent in the order of these calls.
    ///
    /// # Errors
    /// The request cannot be expressed in that version, or the connection is lost.
    pub fn submit<'a, R: Request<'a>>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<Pending<R::Response<'static>>> {
        let (answer, receiver) = oneshot::channel();
        self.enqueue(request, version, Some(answer))?;
        let shared = Arc::clone(&self.shared);
        Ok(Pending { answer: receiver, key: R::KEY, version, shared, _response: PhantomData })
    }

    /// Queues a request that has no answer (Produce with `acks=0`).
    ///
    /// # Errors
    /// As [`Connection::submit`].
    pub fn submit_silent<'a, R: Request<'a>>(&self, request: &R, version: i16) -> Result<()> {
        self.enqueue(request, version, None)
    }

    fn enqueue<'a, R: Request<'a>>(
        &self,
        request: &R,
        version: i16,
        answer: Option<oneshot::Sender<Bytes>>,
    ) -> Result<()> {
        let shared = &self.shared;
        let correlation_id = shared.next_correlation_id.fetch_add(1, Ordering::Relaxed) & i32::MAX;
        let frame = frame(request, version, correlation_id, &shared.config.client_id)?;
        // Under the lock, so that the calls wait in the order in which their requests are sent.
        let mut calls = shared.waiting.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = calls.as_mut().map_err(|reason| shared.waiting.error(reason))?;
        if let Some(answer) = answer {
            calls.push_back(Unanswered { correlation_id, answer });
        }
        if shared.requests.send(frame).is_err() {
            return Err(shared.waiting.error("closed"));
        }
        Ok(())
    }

    async fn ask_versions(&self) -> Result<BTreeMap<i16, VersionRange>> {
        let highest = ApiKey::ApiVersions.stable_versions().map_or(0, |range| range.high);
        let mut response = self.ask_versions_in(highest).await?;
        if response.error_code == ErrorCode::UnsupportedVersion as i16 {
            // Such an answer is of version 0 and says which versions there are (KIP-511).
            let theirs = response.api_keys.iter().find(|api| api.api_key == ApiKey::ApiVersions.code());
            response = self.ask_versions_in(theirs.map_or(0, |api| api.max_version.min(highest))).await?;
        }
        check(response.error_code, None, || format!("asking {} for its versions", self.address()))?;
        let versions = response.api_keys.iter();
        Ok(versions.map(|api| (api.api_key, VersionRange::new(api.min_version, api.max_version))).collect())
    }

    async fn ask_versions_in(&self, version: i16) -> Result<ApiVersionsResponse<'static>> {
        let mut request = ApiVersionsRequest::default();
        if version >= 3 {
            request.client_software_name = SOFTWARE_NAME.into();
            request.client_software_version = env!("CARGO_PKG_VERSION").into();
        }
        let (answer, receiver) = oneshot::channel();
        self.enqueue(&request, version, Some(answer))?;
        let limit = self.shared.config.connect_timeout;
        let answer = tokio::time::timeout(limit, receiver).await.map_err(|_| ClientError::TimedOut {
            what: "ApiVersions".to_owned(),
            address: self.address().to_owned(),
            after: limit,
        })?;
        let bytes = answer.map_err(|_| self.shared.waiting.lost_error())?;
        let mut reader = Reader::new(&bytes);
        header::read_response_header(&mut reader, ApiKey::ApiVersions, version)?;
        let body = bytes.slice(reader.position()..);
        let unsupported = (ErrorCode::UnsupportedVersion as i16).to_be_bytes();
        let version = if body.starts_with(&unsupported) { 0 } else { version };
        Ok(decode_shared(&body, version)?)
    }
}

impl<T> Call<T> {
    fn failed(error: ClientError) -> Self
    where
        T: Send + 'static,
    {
        Self(Box::pin(std::future::ready(Err(error))))
    }
}

impl<T> Future for Call<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<T> std::fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Call")
    }
}

impl<T: Message<'static>> Pending<T> {
    async fn within(self, limit: Duration) -> Result<T> {
        let (shared, key) = (Arc::clone(&self.shared), self.key);
        tokio::time::timeout(limit, self).await.unwrap_or_else(|_| {
            shared.waiting.fail("a response did not come in time");
            let (what, address) = (key.name().to_owned(), shared.address.clone());
            Err(ClientError::TimedOut { what, address, after: limit })
        })
    }
}

impl<T: Message<'static>> Future for Pending<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Ok(bytes) = ready!(Pin::new(&mut self.answer).poll(cx)) else {
            return Poll::Ready(Err(self.shared.waiting.lost_error()));
        };
        let mut reader = Reader::new(&bytes);
        header::read_response_header(&mut reader, self.key, self.version)?;
        let body = bytes.slice(reader.position()..);
        Poll::Ready(Ok(decode_shared(&body, self.version)?))
    }
}

impl Waiting {
    /// Gives up the connection: every call fails, now and later.
    fn fail(&self, reason: &str) {
        self.lost.store(true, Ordering::Release);
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.is_ok() {
            *calls = Err(reason.to_owned());
        }
    }

    fn error(&self, reason: &str) -> ClientError {
        ClientError::Disconnected { address: self.address.clone(), reason: reason.to_owned() }
    }

    fn lost_error(&self) -> ClientError {
        match &*self.calls.lock().unwrap_or_else(PoisonError::into_inner) {
            Ok(_) => self.error("closed"),
            Err(reason) => self.error(reason),
        }
    }

    /// Hands an answer to the oldest call.
    fn answer(&self, frame: Bytes) -> Result<(), String> {
        let correlation_id = frame.first_chunk().map(|bytes| i32::from_be_bytes(*bytes));
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let call = calls.as_mut().map_err(|reason| reason.clone())?.pop_front();
        match call {
            Some(call) if Some(call.correlation_id) == correlation_id => {
                // The caller may have lost interest.
                _ = call.answer.send(frame);
                Ok(())
            }
            _ => Err("a response that nobody waits for; is this a Kafka broker?".to_owned()),
        }
    }
}

fn frame<'a, R: Request<'a>>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: &str,
) -> Result<Vec<u8>> {
    let encoded = header::encode_request(request, version, correlation_id, Some(client_id))?;
    let fault = |fault| ClientError::Encode(EncodeError { message: R::NAME, version, fault });
    let len = i32::try_from(encoded.len()).map_err(|_| fault(EncodeFault::TooLong))?;
    let body = encoded.into_bytes().ok_or_else(|| fault(EncodeFault::ExternalRecords))?;
    let mut frame = Vec::with_capacity(body.len() + 4);
    frame.extend_from_slice(&len.to_be_bytes());
    frame.extend_from_slice(&body);
    Ok(frame)
}

async fn write_requests(
    mut stream: OwnedWriteHalf,
    mut requests: mpsc::UnboundedReceiver<Vec<u8>>,
    waiting: Arc<Waiting>,
) {
    while let Some(mut bytes) = requests.recv().await {
        while bytes.len() < MAX_JOINED_BYTES
            && let Ok(next) = requests.try_recv()
        {
            bytes.extend_from_slice(&next);
        }
        if let Err(error) = stream.write_all(&bytes).await {
            waiting.fail(&error.to_string());
            return;
        }
    }
}

async fn read_responses(stream: OwnedReadHalf, waiting: Arc<Waiting>, max_bytes: usize) {
    let mut stream = BufReader::with_capacity(READ_BUFFER_BYTES, stream);
    let reason = loop {
        match read_frame(&mut stream, max_bytes).await {
            Ok(frame) => {
                if let Err(reason) = waiting.answer(frame) {
                    break reason;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                break "the broker closed it".to_owned();
            }
            Err(error) => break error.to_string(),
        }
    };
    waiting.fail(&reason);
}

async fn read_frame(stream: &mut BufReader<OwnedReadHalf>, max_bytes: usize) -> io::Result<Bytes> {
    let len = stream.read_i32().await?;
    let len = usize::try_from(len).ok().filter(|len| *len <= max_bytes).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a response of {len} bytes, which is not credible; is this a Kafka broker?"),
        )
    })?;
    let mut frame = Vec::with_capacity(len.min(MAX_TRUSTED_BYTES));
    let read = stream.take(len as u64).read_to_end(&mut frame).await?;
    if read < len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(frame.into())
}
