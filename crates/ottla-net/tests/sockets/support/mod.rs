//! A service whose requests say what is to become of them, and a blunt client.

#![allow(unreachable_pub, dead_code, reason = "not every test file uses all of it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ottla_net::{
    ConnectionInfo, ConnectionLimits, FileSource, Frame, Listener, ListenerConfig, ListenerHandle,
    MemoryBudget, Outcome, Part, Response, Service,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// Requests are `verb argument`:
/// `echo text`; `sleep ms text`; `gate text` (waits until [`Script::gate`] has a permit); `hold text` (the same, and no other
/// request is taken meanwhile); `silent`; `close`; `last text`; `mute ms text`, `pause ms` (not read for that long after it);
/// `panic`; `file offset len`; `slowfile offset len` (no descriptor); anything else holds its frame until the gate opens and
/// answers with its length.
pub struct Script {
    pub gate: Arc<Semaphore>,
    pub calls: AtomicUsize,
    pub file: Option<Arc<std::fs::File>>,
}

struct NoDescriptor(Arc<std::fs::File>);

impl FileSource for NoDescriptor {
    fn as_fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<usize> {
        FileSource::read_at(&*self.0, buf, offset)
    }
}

impl Script {
    pub fn new(file: Option<std::fs::File>) -> Arc<Self> {
        Arc::new(Self {
            gate: Arc::new(Semaphore::new(0)),
            calls: AtomicUsize::new(0),
            file: file.map(Arc::new),
        })
    }

    fn file_part(&self, kind: &str, offset: &str, len: &str) -> Part {
        let (offset, len) = (offset.parse().unwrap(), len.parse().unwrap());
        let file = Arc::clone(self.file.as_ref().unwrap());
        let file: Arc<dyn FileSource> = if kind == "file" { file } else { Arc::new(NoDescriptor(file)) };
        Part::File { file, offset, len }
    }
}

impl Service for Script {
    type Session = ConnectionInfo;

    fn connected(&self, connection: ConnectionInfo) -> ConnectionInfo {
        connection
    }

    fn call(&self, _session: &Arc<ConnectionInfo>, frame: Frame) -> Outcome {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let text = String::from_utf8_lossy(&frame[..frame.len().min(64)]).into_owned();
        let words: Vec<&str> = text.split(' ').collect();
        let gate = Arc::clone(&self.gate);
        match words.as_slice() {
            ["echo", ..] => Response::from(frame.to_vec()).into(),
            ["sleep", ms, ..] => {
                let pause = Duration::from_millis(ms.parse().unwrap());
                Outcome::later(async move {
                    tokio::time::sleep(pause).await;
                    Response::from(frame.to_vec()).into()
                })
            }
            ["gate", ..] => Outcome::later(async move {
                gate.acquire().await.unwrap().forget();
                Response::from(frame.to_vec()).into()
            }),
            ["hold", ..] => Outcome::hold(async move {
                gate.acquire().await.unwrap().forget();
                Outcome::later(async move { Response::from(frame.to_vec()).into() })
            }),
            ["silent", ..] => Outcome::None,
            ["close", ..] => Outcome::close("as asked"),
            ["last", ..] => Outcome::Ready(Response::from(frame.to_vec()).closing()),
            ["mute", ms, ..] => {
                let time = Duration::from_millis(ms.parse().unwrap());
                Outcome::Ready(Response::from(frame.to_vec()).muting(time))
            }
            ["pause", ms] => Outcome::Pause(Duration::from_millis(ms.parse().unwrap())),
            ["panic", ..] => panic!("as asked"),
            [kind @ ("file" | "slowfile"), offset, len] => Response::from_parts([
                Part::Bytes(Bytes::from_static(b"<")),
                self.file_part(kind, offset, len),
                Part::Bytes(Bytes::from_static(b">")),
            ])
            .into(),
            _ => Outcome::later(async move {
                gate.acquire().await.unwrap().forget();
                Response::from(frame.len().to_string().into_bytes()).into()
            }),
        }
    }
}

pub fn config() -> ListenerConfig {
    ListenerConfig::new("TEST", "127.0.0.1", 0)
}

pub async fn serve(config: ListenerConfig, service: &Arc<Script>) -> ListenerHandle {
    serve_within(config, service, ConnectionLimits::default(), MemoryBudget::unlimited()).await
}

pub async fn serve_within(
    config: ListenerConfig,
    service: &Arc<Script>,
    limits: ConnectionLimits,
    budget: MemoryBudget,
) -> ListenerHandle {
    Listener::bind(config, Arc::new(limits), budget).await.unwrap().serve(Arc::clone(service))
}

pub struct Client(pub TcpStream);

impl Client {
    pub async fn connect(listener: &ListenerHandle) -> Self {
        let stream = TcpStream::connect(listener.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    pub async fn send(&mut self, request: impl AsRef<[u8]>) {
        let mut frame = u32::try_from(request.as_ref().len()).unwrap().to_be_bytes().to_vec();
        frame.extend_from_slice(request.as_ref());
        self.0.write_all(&frame).await.unwrap();
    }

    /// The next response, or `None` when the connection is closed.
    pub async fn receive(&mut self) -> Option<Vec<u8>> {
        tokio::time::timeout(Duration::from_secs(20), async {
            let len = self.0.read_u32().await.ok()?;
            let mut body = vec![0; len as usize];
            self.0.read_exact(&mut body).await.ok()?;
            Some(body)
        })
        .await
        .expect("an answer or an end within 20 s")
    }

    pub async fn ask(&mut self, request: &str) -> Option<String> {
        self.send(request).await;
        self.receive().await.map(|body| String::from_utf8(body).unwrap())
    }
}

/// Waits until `condition` holds.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 10 s: {what}");
}
