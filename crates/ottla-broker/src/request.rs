//! A request on its way through the broker: its frame, its header, and how to answer it.

use std::borrow::Cow;
use std::future::poll_fn;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ottla_net::{ConnectionInfo, FileSource, Frame, Outcome, Part, Response};
use ottla_protocol::RequestHeader;
use ottla_protocol::header::encode_throttled_response;
use ottla_protocol::messages::ApiKey;
use ottla_protocol::wire::{DecodeError, Encoded, Message, Part as EncodedPart, Reader};
use ottla_security::quota::{QuotaKind, Tags};

use crate::broker::Broker;
use crate::metrics::Metrics;
use crate::quotas::{MutationQuota, Quotas};
use crate::telemetry::{ClientAttributes, Telemetry};
use crate::waiter::Pipeline;

/// The user of a connection without authentication.
const ANONYMOUS: &str = "ANONYMOUS";

/// APIs between the nodes of a cluster, which no quota holds up.
const EXEMPT: &[ApiKey] = &[
    ApiKey::AllocateProducerIds,
    ApiKey::AlterPartition,
    ApiKey::AssignReplicasToDirs,
    ApiKey::BrokerHeartbeat,
    ApiKey::BrokerRegistration,
    ApiKey::WriteTxnMarkers,
];

/// What the broker keeps for a connection.
#[derive(Debug)]
pub(crate) struct Session {
    /// Who is at the other end.
    pub(crate) connection: ConnectionInfo,
    pub(crate) quotas: Arc<Quotas>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) telemetry: Arc<Telemetry>,
    /// Its appends that wait for acknowledgements.
    pub(crate) pipeline: Arc<Pipeline>,
    /// Name and version of the client's software, when it has told them (KIP-511).
    software: OnceLock<(String, String)>,
    /// Whether the client has an instance of client telemetry, which goes with the connection.
    has_telemetry: AtomicBool,
}

impl Session {
    pub(crate) fn new(connection: ConnectionInfo, broker: &Broker) -> Self {
        Self {
            connection,
            quotas: Arc::clone(&broker.quotas),
            metrics: Arc::clone(&broker.metrics),
            telemetry: Arc::clone(&broker.telemetry),
            pipeline: Arc::default(),
            software: OnceLock::new(),
            has_telemetry: AtomicBool::new(false),
        }
    }

    /// The client has told what software it is; the first word counts.
    pub(crate) fn set_software(&self, name: &str, version: &str) {
        self.software.get_or_init(|| (name.to_owned(), version.to_owned()));
    }

    /// The client speaks of telemetry: what it is matched by.
    pub(crate) fn telemetry_client(&self, client_id: &str) -> ClientAttributes {
        const UNKNOWN: &str = "unknown";
        self.has_telemetry.store(true, Ordering::Relaxed);
        let software = self.software.get();
        ClientAttributes {
            client_id: client_id.to_owned(),
            software_name: software.map_or(UNKNOWN, |(name, _)| name).to_owned(),
            software_version: software.map_or(UNKNOWN, |(_, version)| version).to_owned(),
            source_address: self.connection.peer.ip().to_canonical().to_string(),
            source_port: self.connection.peer.port(),
        }
    }

    /// The name of who is at the other end, as quotas know it.
    pub(crate) fn user(&self) -> &str {
        ANONYMOUS
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if *self.has_telemetry.get_mut() {
            self.telemetry.disconnected(self.connection.id);
        }
    }
}

/// The time that a request keeps threads busy, for the request quota.
#[derive(Debug)]
pub(crate) struct BusyTime {
    origin: Instant,
    busy_ns: AtomicU64,
    since_ns: AtomicU64,
}

impl BusyTime {
    fn start(origin: Instant) -> Self {
        Self { origin, busy_ns: AtomicU64::new(0), since_ns: AtomicU64::new(0) }
    }

    fn elapsed_ns(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// A thread takes the request up again.
    fn resume(&self) {
        self.since_ns.store(self.elapsed_ns(), Ordering::Relaxed);
    }

    /// The thread turns to something else.
    fn pause(&self) {
        self.busy_ns.store(self.total_ns(), Ordering::Relaxed);
    }

    fn total_ns(&self) -> u64 {
        let now = self.elapsed_ns().saturating_sub(self.since_ns.load(Ordering::Relaxed));
        self.busy_ns.load(Ordering::Relaxed) + now
    }

    /// Percent of one thread's second.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53 ns")]
    fn percent(&self) -> f64 {
        self.total_ns() as f64 / 1e9 * 100.0
    }
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
    received: Instant,
    size_bytes: usize,
    /// There while anybody has a request quota.
    busy: Option<Arc<BusyTime>>,
    /// How long the client has to pause, once that is decided.
    pause_ms: OnceLock<i32>,
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
        let received = Instant::now();
        let is_metered = session.quotas.is_enabled(QuotaKind::Request);
        session.metrics.api(header.api_key).received(frame.len());
        Ok(Self {
            received,
            size_bytes: frame.len(),
            busy: is_metered.then(|| Arc::new(BusyTime::start(received))),
            pause_ms: OnceLock::new(),
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

    /// Whoever asked, for quotas.
    fn client(&self) -> Tags<'_> {
        Tags { user: self.session.user(), client_id: self.client_id() }
    }

    /// Has the time counted that a response takes which comes later.
    pub(crate) fn metered(busy: Option<Arc<BusyTime>>, outcome: Outcome) -> Outcome {
        let Some(busy) = busy else { return outcome };
        busy.pause();
        let (mut future, is_held) = match outcome {
            Outcome::Later(future) => (future, false),
            Outcome::Hold(future) => (future, true),
            other => return other,
        };
        let metered = poll_fn(move |cx| {
            busy.resume();
            let polled = future.as_mut().poll(cx);
            busy.pause();
            polled
        });
        if is_held { Outcome::hold(metered) } else { Outcome::later(metered) }
    }

    /// Has the time counted that a thread spends on the request beside the task of its connection.
    pub(crate) fn metered_aside<R>(busy: Option<Arc<BusyTime>>, work: impl FnOnce() -> R) -> R {
        if let Some(busy) = &busy {
            busy.resume();
        }
        let result = work();
        if let Some(busy) = &busy {
            busy.pause();
        }
        result
    }

    /// The clock of this request, if it has one.
    pub(crate) fn busy(&self) -> Option<Arc<BusyTime>> {
        self.busy.clone()
    }

    /// The quota that a request has to ask which makes or deletes partitions: strict since that version (KIP-599).
    pub(crate) fn mutation_quota(&self, strict_since: i16) -> MutationQuota {
        MutationQuota::new(Arc::clone(&self.session.quotas), self.client(), self.api_version >= strict_since)
    }

    /// The most bytes that a fetch may bring without being throttled for sure.
    pub(crate) fn max_fetch_bytes(&self) -> u32 {
        self.session.quotas.max_fetch_bytes(self.client())
    }

    /// Counts a fetch's response before it is made. When the client is throttled the response must be empty: nothing is
    /// counted then.
    pub(crate) fn is_fetch_throttled(&self, response_bytes: u64) -> bool {
        let quotas = &self.session.quotas;
        #[expect(clippy::cast_precision_loss, reason = "a response is below 2 GiB")]
        let bytes = response_bytes as f64;
        let fetch_ms = quotas.record(QuotaKind::Fetch, self.client(), bytes);
        let pause_ms = fetch_ms.max(self.charge_request());
        if pause_ms > 0 {
            quotas.unrecord(QuotaKind::Fetch, self.client(), bytes);
        }
        *self.pause_ms.get_or_init(|| pause_ms) > 0
    }

    /// Lets no quota hold up this request: the fetch of a replica.
    pub(crate) fn exempt(&self) {
        self.pause_ms.get_or_init(|| 0);
    }

    fn charge_request(&self) -> i32 {
        let Some(busy) = &self.busy else { return 0 };
        self.session.quotas.record(QuotaKind::Request, self.client(), busy.percent())
    }

    fn charge_produce(&self) -> i32 {
        if !self.session.quotas.is_enabled(QuotaKind::Produce) {
            return 0;
        }
        let bytes = f64::from(u32::try_from(self.size_bytes).unwrap_or(u32::MAX));
        self.session.quotas.record(QuotaKind::Produce, self.client(), bytes)
    }

    /// How long the client has to pause. Everything is counted once, when this is asked first.
    fn pause_ms(&self) -> i32 {
        *self.pause_ms.get_or_init(|| {
            if EXEMPT.contains(&self.api_key) {
                return 0;
            }
            let produce_ms = if self.api_key == ApiKey::Produce { self.charge_produce() } else { 0 };
            produce_ms.max(self.charge_request())
        })
    }

    /// Ends a request that has no response (Produce with `acks=0`): its bytes count, its time does not.
    pub(crate) fn finish_silently(&self) -> Outcome {
        let pause_ms = *self.pause_ms.get_or_init(|| self.charge_produce());
        self.session.metrics.api(self.api_key).answered(self.received.elapsed(), &[], pause_ms);
        match u64::try_from(pause_ms) {
            Ok(pause_ms) if pause_ms > 0 => Outcome::Pause(Duration::from_millis(pause_ms)),
            _ => Outcome::None,
        }
    }

    /// Answers with a message.
    pub(crate) fn reply<'a, M: Message<'a>>(&self, message: &M) -> Outcome {
        self.reply_with_files(message, Vec::new())
    }

    /// Answers with a message whose external record data are these file ranges, in order.
    pub(crate) fn reply_with_files<'a, M: Message<'a>>(&self, message: &M, files: Vec<FileRange>) -> Outcome {
        self.encode(message, self.api_version, files)
    }

    /// Answers in another version than the request's: ApiVersions to a client that is newer than this broker.
    pub(crate) fn reply_in_version<'a, M: Message<'a>>(&self, message: &M, version: i16) -> Outcome {
        self.encode(message, version, Vec::new())
    }

    /// The one place where responses are made: what quotas demand is told here, and what the response says is counted.
    fn encode<'a, M: Message<'a>>(&self, message: &M, version: i16, files: Vec<FileRange>) -> Outcome {
        let encoded =
            encode_throttled_response(message, self.api_key, version, self.correlation_id, self.pause_ms());
        match encoded {
            Ok((encoded, notes)) => {
                let (took, pause_ms) = (self.received.elapsed(), notes.throttle_time_ms);
                self.session.metrics.api(self.api_key).answered(took, &notes.error_codes, pause_ms);
                let mute = Duration::from_millis(u64::try_from(pause_ms).unwrap_or(0));
                Outcome::Ready(join(encoded, files).muting(mute))
            }
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
