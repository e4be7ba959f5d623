//! Binding, accepting, shutting down.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};

use crate::connection::{Closed, Connection, Phase};
use crate::limits::{ConnectionPermit, Refused};
use crate::service::{ConnectionInfo, Service};
use crate::stats::{ListenerStats, add};
use crate::stream::Stream;
use crate::{ConnectionLimits, ListenerConfig, MemoryBudget, NetError};

/// Pause after a failed accept: the usual cause, too many open files, does not go away at once.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The shortest queue of connections that wait to be accepted; the system may bound it further. In Kafka's default of 50 there is
/// no room for a few hundred clients that come at once: who finds it full tries again after a second, then two, then four.
const MIN_BACKLOG: i32 = 1024;

/// Numbers connections over all listeners of the process.
static NEXT_CONNECTION: AtomicU64 = AtomicU64::new(0);

/// A bound socket that does not accept yet, so that a node can bind all its listeners before it serves on any.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    shared: Shared,
}

#[derive(Clone, Debug)]
struct Shared {
    config: Arc<ListenerConfig>,
    limits: Arc<ConnectionLimits>,
    budget: MemoryBudget,
    stats: Arc<ListenerStats>,
}

/// A listener that serves. Dropping it cuts off its connections; [`ListenerHandle::shutdown`] is the gentle way.
#[derive(Debug)]
pub struct ListenerHandle {
    phase: watch::Sender<Phase>,
    accepting: JoinHandle<()>,
    address: SocketAddr,
    stats: Arc<ListenerStats>,
}

impl Listener {
    /// Binds the configured address. Call it within a tokio runtime.
    ///
    /// # Errors
    /// The host cannot be resolved or the address cannot be bound; the text says what to do.
    pub async fn bind(
        config: ListenerConfig,
        limits: Arc<ConnectionLimits>,
        budget: MemoryBudget,
    ) -> Result<Self, NetError> {
        let socket = if config.host.is_empty() {
            let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, config.port));
            open(&config, any).or_else(|error| match error.kind() {
                io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
                // No IPv6 here.
                _ => open(&config, SocketAddr::from((Ipv4Addr::UNSPECIFIED, config.port))),
            })
        } else {
            open(&config, resolve(&config).await?)
        };
        let bound = socket.and_then(|socket| Ok((socket.local_addr()?, socket)));
        let (address, socket) = bound.map_err(|source| NetError::Bind {
            listener: Arc::clone(&config.name),
            address: format!("{}:{}", if config.host.is_empty() { "*" } else { &config.host }, config.port),
            source,
        })?;
        let shared = Shared { config: Arc::new(config), limits, budget, stats: Arc::default() };
        Ok(Self { socket, address, shared })
    }

    /// The bound address, with the port that was chosen if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The counters.
    pub fn stats(&self) -> &Arc<ListenerStats> {
        &self.shared.stats
    }

    /// Starts to accept connections and to answer their requests.
    pub fn serve<S: Service>(self, service: Arc<S>) -> ListenerHandle {
        let (phase, watched) = watch::channel(Phase::Running);
        let stats = Arc::clone(&self.shared.stats);
        let accepting = tokio::spawn(accept(self.socket, self.shared, service, watched));
        ListenerHandle { phase, accepting, address: self.address, stats }
    }
}

impl ListenerHandle {
    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The counters.
    pub fn stats(&self) -> &Arc<ListenerStats> {
        &self.stats
    }

    /// Stops accepting connections and reading requests; requests that were taken are still answered. Returns at once;
    /// follow with [`ListenerHandle::shutdown`].
    pub fn drain(&self) {
        self.phase.send_replace(Phase::Draining);
    }

    /// Drains, and cuts off what is not done after `grace`. Returns whether everything was answered in time.
    pub async fn shutdown(self, grace: Duration) -> bool {
        self.drain();
        _ = self.accepting.await;
        let drained = tokio::time::timeout(grace, self.phase.closed()).await.is_ok();
        if !drained {
            self.phase.send_replace(Phase::Aborting);
            self.phase.closed().await;
        }
        drained
    }
}

async fn resolve(config: &ListenerConfig) -> Result<SocketAddr, NetError> {
    let error =
        |source| NetError::Resolve { listener: Arc::clone(&config.name), host: config.host.clone(), source };
    let host = config.host.trim_start_matches('[').trim_end_matches(']');
    let found: Vec<SocketAddr> = tokio::net::lookup_host((host, config.port)).await.map_err(error)?.collect();
    // IPv4 first, as Java does.
    found
        .iter()
        .find(|address| address.is_ipv4())
        .or(found.first())
        .copied()
        .ok_or_else(|| error(io::ErrorKind::NotFound.into()))
}

fn open(config: &ListenerConfig, address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if let Some(bytes) = config.receive_buffer_bytes {
        // Before listening: the window scale is fixed when a connection is made.
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.bind(&address.into())?;
    socket.listen(config.backlog.max(MIN_BACKLOG))?;
    TcpListener::from_std(socket.into())
}

async fn accept<S: Service>(
    socket: TcpListener,
    shared: Shared,
    service: Arc<S>,
    mut phase: watch::Receiver<Phase>,
) {
    loop {
        let connection = async {
            let accepted = socket.accept().await?;
            shared.room().await;
            io::Result::Ok(accepted)
        };
        let accepted = tokio::select! {
            biased;
            _ = phase.changed() => return,
            accepted = connection => accepted,
        };
        match accepted {
            Ok((stream, peer)) => shared.start(stream, peer, &service, &phase),
            Err(error) => {
                warn!(listener = %shared.config.name, %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Counts a connection as long as it lives.
struct Open {
    stats: Arc<ListenerStats>,
    _permit: ConnectionPermit,
}

impl Drop for Open {
    fn drop(&mut self) {
        add(&self.stats.closed, 1);
    }
}

impl Shared {
    /// Waits until the connection that has come may be taken: the listener takes no other one meanwhile.
    async fn room(&self) {
        let pause = self.limits.arrive(&self.config.name, self.config.protected);
        // Even a sleep of nothing takes until the next tick of the timer.
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let mut told = false;
        loop {
            let mut freed = pin!(self.limits.freed());
            freed.as_mut().enable();
            if self.limits.has_room(&self.config.name, self.config.protected) {
                return;
            }
            if !told {
                told = true;
                warn!(
                    listener = %self.config.name,
                    open = self.limits.open(),
                    "max.connections is reached: new connections wait until others close"
                );
            }
            freed.await;
        }
    }

    fn start<S: Service>(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        service: &Arc<S>,
        phase: &watch::Receiver<Phase>,
    ) {
        let permit = match self.limits.admit(&self.config.name, peer.ip(), self.config.protected) {
            Ok(permit) => permit,
            Err(Refused::TooMany) => {
                add(&self.stats.refused, 1);
                info!(listener = %self.config.name, peer = %peer.ip(), "refused: max.connections.per.ip is reached");
                return;
            }
            Err(Refused::TooFast(pause)) => {
                add(&self.stats.throttled, 1);
                debug!(listener = %self.config.name, peer = %peer.ip(), ?pause, "refused: connection_creation_rate is exceeded");
                let mut phase = phase.clone();
                tokio::spawn(async move {
                    // Closed when the pause is over, so that the client does not come again at once.
                    _ = tokio::time::timeout(pause, phase.changed()).await;
                    drop(stream);
                });
                return;
            }
        };
        let local = match self.tune(&stream).and_then(|()| stream.local_addr()) {
            Ok(local) => local,
            Err(error) => {
                debug!(%peer, %error, "connection lost before it began");
                return;
            }
        };
        add(&self.stats.accepted, 1);
        let activity = Arc::clone(&permit.activity);
        let open = Open { stats: Arc::clone(&self.stats), _permit: permit };
        let id = NEXT_CONNECTION.fetch_add(1, Ordering::Relaxed);
        let info = ConnectionInfo { id, listener: Arc::clone(&self.config.name), peer, local };
        debug!(connection = %info, listener = %info.listener, "accepted");
        let session = service.connected(info.clone());
        let connection = Connection::new(
            Stream::Plain(stream),
            session,
            Arc::clone(service),
            &self.config,
            self.budget.clone(),
            activity,
            Arc::clone(&self.stats),
        );
        let phase = phase.clone();
        tokio::spawn(async move {
            let closed = connection.run(phase).await;
            report(&info, &closed, &open.stats);
            drop(open);
        });
    }

    fn tune(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let socket = SockRef::from(stream);
        socket.set_keepalive(true)?;
        if let Some(bytes) = self.config.send_buffer_bytes {
            socket.set_send_buffer_size(bytes)?;
        }
        Ok(())
    }
}

fn report(connection: &ConnectionInfo, closed: &Closed, stats: &ListenerStats) {
    use crate::frame::FrameError;
    let listener = &connection.listener;
    match closed {
        Closed::Frame(FrameError::Length { .. }) => {
            add(&stats.invalid_frames, 1);
            warn!(%connection, %listener, reason = %closed, "connection closed");
        }
        Closed::Idle => {
            add(&stats.idle_closed, 1);
            debug!(%connection, %listener, reason = %closed, "connection closed");
        }
        Closed::Evicted => {
            add(&stats.evicted, 1);
            info!(%connection, %listener, reason = %closed, "connection closed");
        }
        Closed::Stalled | Closed::Unread | Closed::Service(_) | Closed::Aborted => {
            info!(%connection, %listener, reason = %closed, "connection closed");
        }
        _ => debug!(%connection, %listener, reason = %closed, "connection closed"),
    }
}
