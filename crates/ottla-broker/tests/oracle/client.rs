//! A client that speaks every version of every request, and writes down what is answered.

use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_protocol::header::{encode_request, read_response_header};
use ottla_protocol::messages::ApiKey;
use ottla_protocol::wire::{Message, Reader, Request, decode_shared};

use crate::rules::Names;
use crate::tree::Tree;

/// The longest that any answer may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// The versions that Kafka 4.4.0 serves of a request.
pub(crate) fn versions<'a, R: Request<'a>>() -> impl Iterator<Item = i16> {
    R::KEY.stable_versions().expect("a request that is served").iter()
}

/// A connection that sends frames and gets frames.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    correlation_id: i32,
    client_id: String,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, correlation_id: 0, client_id: "oracle".to_owned() })
    }

    /// Whether something to read comes within a time.
    pub(crate) fn is_readable(&self, within: Duration) -> io::Result<bool> {
        self.stream.set_read_timeout(Some(within.max(Duration::from_millis(1))))?;
        let seen = self.stream.peek(&mut [0]);
        self.stream.set_read_timeout(Some(PATIENCE))?;
        match seen {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub(crate) fn write_frame(&mut self, frame: &[u8]) -> io::Result<()> {
        let len = i32::try_from(frame.len()).expect("a frame's length").to_be_bytes();
        self.write(&[&len, frame].concat())
    }

    /// Sends a request, without waiting for its answer.
    pub(crate) fn send<'a, R: Request<'a>>(&mut self, version: i16, request: &R) -> io::Result<()> {
        self.correlation_id += 1;
        let frame = encode_request(request, version, self.correlation_id, Some(&self.client_id))
            .unwrap_or_else(|error| panic!("the test's {} v{version}: {error}", R::NAME));
        self.write_frame(&frame.into_bytes().expect("requests are in memory"))
    }

    pub(crate) fn read_frame(&mut self) -> io::Result<Bytes> {
        let mut len = [0; 4];
        self.stream.read_exact(&mut len)?;
        let len = usize::try_from(i32::from_be_bytes(len)).map_err(io::Error::other)?;
        let mut frame = vec![0; len];
        self.stream.read_exact(&mut frame)?;
        Ok(frame.into())
    }

    /// Waits for the answer to the request sent last.
    pub(crate) fn receive<M: Message<'static>>(&mut self, key: ApiKey, version: i16) -> io::Result<M> {
        let frame = self.read_frame()?;
        let mut reader = Reader::new(&frame);
        let correlation_id = read_response_header(&mut reader, key, version).map_err(io::Error::other)?;
        assert_eq!(correlation_id, self.correlation_id, "{key} v{version}: another request's answer");
        let body = frame.slice(reader.position()..);
        decode_shared(&body, version).map_err(|error| io::Error::other(format!("not decodable: {error}")))
    }
}

/// What was answered to one request.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Request and case: `Produce: two batches`.
    pub(crate) case: String,
    pub(crate) version: i16,
    /// The response's fields, comparable between servers.
    pub(crate) fields: Vec<String>,
}

/// A server under test, with everything it answered.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// Connections; the first is the one that [`call`](Self::call) uses.
    connections: Vec<Option<Connection>>,
    /// Whether connections behind the first have client ids of their own, so that members of a group can be told apart.
    pub(crate) client_ids: bool,
    names: Names,
    pub(crate) entries: Vec<Entry>,
}

impl Peer {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            connections: Vec::new(),
            client_ids: false,
            names: Names::default(),
            entries: Vec::new(),
        }
    }

    fn connection(&mut self, index: usize) -> io::Result<&mut Connection> {
        if self.connections.len() <= index {
            self.connections.resize_with(index + 1, || None);
        }
        let slot = &mut self.connections[index];
        if slot.is_none() {
            let mut connection = Connection::open(self.address)?;
            if self.client_ids && index > 0 {
                connection.client_id = format!("oracle-{index}");
            }
            *slot = Some(connection);
        }
        Ok(slot.as_mut().expect("opened above"))
    }

    /// Whether an answer, or the end of the connection, comes within a time.
    pub(crate) fn is_answered(&mut self, on: usize, within: Duration) -> bool {
        self.connection(on).and_then(|connection| connection.is_readable(within)).unwrap_or(true)
    }

    /// Forgets a connection.
    pub(crate) fn hang_up(&mut self, index: usize) {
        if let Some(slot) = self.connections.get_mut(index) {
            *slot = None;
        }
    }

    /// Asks without writing down.
    pub(crate) fn ask<'a, R: Request<'a>>(
        &mut self,
        version: i16,
        request: &R,
    ) -> io::Result<R::Response<'static>> {
        self.send(0, version, request)?;
        self.receive_quietly::<R>(0, version)
    }

    pub(crate) fn send<'a, R: Request<'a>>(
        &mut self,
        on: usize,
        version: i16,
        request: &R,
    ) -> io::Result<()> {
        let sent = self.connection(on)?.send(version, request);
        if sent.is_err() {
            self.hang_up(on);
        }
        sent
    }

    fn receive_quietly<'a, R: Request<'a>>(
        &mut self,
        on: usize,
        version: i16,
    ) -> io::Result<R::Response<'static>> {
        let received = self.connection(on)?.receive(R::KEY, version);
        if received.is_err() {
            self.hang_up(on);
        }
        received
    }

    /// Asks, and writes the answer down.
    pub(crate) fn call<'a, R: Request<'a>>(
        &mut self,
        version: i16,
        case: &str,
        request: &R,
    ) -> R::Response<'static>
    where
        R::Response<'static>: Debug + Clone,
    {
        self.call_edited(version, case, request, |_| {})
    }

    /// Asks, and writes down what `edit` leaves of the answer.
    pub(crate) fn call_edited<'a, R: Request<'a>>(
        &mut self,
        version: i16,
        case: &str,
        request: &R,
        edit: impl FnOnce(&mut R::Response<'static>),
    ) -> R::Response<'static>
    where
        R::Response<'static>: Debug + Clone,
    {
        let answer = self.ask(version, request);
        self.record::<R>(version, case, answer, edit)
    }

    /// Takes the answer to a request sent before, and writes it down.
    pub(crate) fn receive<'a, R: Request<'a>>(
        &mut self,
        on: usize,
        version: i16,
        case: &str,
    ) -> R::Response<'static>
    where
        R::Response<'static>: Debug + Clone,
    {
        self.receive_edited::<R>(on, version, case, |_| {})
    }

    /// Takes the answer to a request sent before, and writes down what `edit` leaves of it.
    pub(crate) fn receive_edited<'a, R: Request<'a>>(
        &mut self,
        on: usize,
        version: i16,
        case: &str,
        edit: impl FnOnce(&mut R::Response<'static>),
    ) -> R::Response<'static>
    where
        R::Response<'static>: Debug + Clone,
    {
        let answer = self.receive_quietly::<R>(on, version);
        self.record::<R>(version, case, answer, edit)
    }

    fn record<'a, R: Request<'a>>(
        &mut self,
        version: i16,
        case: &str,
        answer: io::Result<R::Response<'static>>,
        edit: impl FnOnce(&mut R::Response<'static>),
    ) -> R::Response<'static>
    where
        R::Response<'static>: Debug + Clone,
    {
        let (answer, fields) = match answer {
            Ok(mut answer) => {
                let given = answer.clone();
                edit(&mut answer);
                let mut tree = Tree::of(&answer);
                self.names.normalise(<R::Response<'static> as Message<'static>>::NAME, &mut tree);
                (given, tree.leaves())
            }
            Err(error) => (Default::default(), vec![format!("no answer = {}", described(&error))]),
        };
        let case = format!("{}: {case}", R::KEY);
        self.entries.push(Entry { case, version, fields });
        answer
    }

    /// Writes down an answer that did not come from a server.
    pub(crate) fn record_answer<'a, R: Request<'a>>(
        &mut self,
        version: i16,
        case: &str,
        answer: R::Response<'static>,
    ) where
        R::Response<'static>: Debug + Clone,
    {
        self.record::<R>(version, case, Ok(answer), |_| {});
    }

    /// Whether an answer comes to a request sent before.
    pub(crate) fn answers<'a, R: Request<'a>>(&mut self, on: usize, version: i16) -> bool {
        self.receive_quietly::<R>(on, version).is_ok()
    }

    /// Writes down something seen in another way.
    pub(crate) fn note(&mut self, version: i16, case: &str, seen: &impl Debug) {
        let mut tree = Tree::of(seen);
        self.names.normalise(case.split(':').next().unwrap_or(case), &mut tree);
        let fields = tree.leaves();
        self.entries.push(Entry { case: case.to_owned(), version, fields });
    }

    /// Repeats a question until its answer is as wanted: metadata spreads in its own time.
    pub(crate) fn wait_for<'a, R: Request<'a>>(
        &mut self,
        version: i16,
        request: &R,
        is_it: impl Fn(&R::Response<'static>) -> bool,
    ) -> R::Response<'static>
    where
        R::Response<'static>: Debug + Clone,
    {
        let begin = Instant::now();
        loop {
            let answer = self.ask(version, request).unwrap_or_else(|error| panic!("{}: {error}", R::NAME));
            if is_it(&answer) {
                return answer;
            }
            assert!(begin.elapsed() < PATIENCE, "waited in vain: {answer:#?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn described(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => "connection closed".to_owned(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "nothing came".to_owned(),
        _ => error.to_string(),
    }
}
