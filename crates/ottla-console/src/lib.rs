//! A node over HTTP, for machines that watch it: `/metrics` for Prometheus, `/healthz` and `/readyz` for whoever starts and
//! stops it. No one logs in here: bind it where only they can reach it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// What `/metrics` answers in.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the console shows.
pub trait View: Send + Sync + 'static {
    /// The metrics; asked for when they are scraped.
    fn registry(&self) -> &Registry;

    /// Whether the node serves clients.
    ///
    /// # Errors
    /// Why it does not.
    fn ready(&self) -> Result<(), String>;
}

/// The console while it serves; dropping it ends it at once.
#[derive(Debug)]
pub struct Console {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Console {
    /// Binds `address` (`host:port`) and serves.
    ///
    /// # Errors
    /// The address cannot be resolved or bound.
    pub async fn serve(address: &str, view: Arc<dyn View>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let routes = routes(view);
        let serving = tokio::spawn(async move {
            let until = async { _ = stopped.await };
            if let Err(error) = axum::serve(listener, routes).with_graceful_shutdown(until).await {
                tracing::error!(%error, "the HTTP listener failed");
            }
        });
        Ok(Self { address, stop: Some(stop), serving })
    }

    /// The bound address, with the port that was chosen if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests. A client that is being answered does not hold this up.
    pub fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            // The task may have ended.
            _ = stop.send(());
        }
        self.serving.abort();
    }
}

fn routes(view: Arc<dyn View>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(view)
}

async fn metrics(State(view): State<Arc<dyn View>>) -> Response {
    // Encoding looks at every partition: not a runtime worker's business.
    let encoded = tokio::task::spawn_blocking(move || -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, view.registry())?;
        Ok(text)
    });
    match encoded.await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be collected\n").into_response(),
    }
}

async fn ready(State(view): State<Arc<dyn View>>) -> Response {
    match view.ready() {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use prometheus_client::metrics::counter::Counter;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    struct Fake {
        registry: Registry,
        is_ready: AtomicBool,
    }

    impl View for Fake {
        fn registry(&self) -> &Registry {
            &self.registry
        }

        fn ready(&self) -> Result<(), String> {
            if self.is_ready.load(Ordering::Relaxed) { Ok(()) } else { Err("fenced".to_owned()) }
        }
    }

    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn metrics_and_health_are_served_until_it_is_stopped() {
        let mut registry = Registry::default();
        let counter: Counter = Counter::default();
        counter.inc_by(3);
        registry.register("things", "Things.", counter);
        let view = Arc::new(Fake { registry, is_ready: AtomicBool::new(false) });
        let console = Console::serve("127.0.0.1:0", Arc::clone(&view) as Arc<dyn View>).await.unwrap();
        let address = console.address();
        let metrics = ask(address, "/metrics").await;
        assert!(metrics.contains("things_total 3") && metrics.contains("# EOF"), "{metrics}");
        assert!(metrics.to_lowercase().contains("content-type: application/openmetrics-text"), "{metrics}");
        assert!(ask(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        let answer = ask(address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("fenced\n"), "{answer}");
        view.is_ready.store(true, Ordering::Relaxed);
        assert!(ask(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        assert!(ask(address, "/nothing").await.starts_with("HTTP/1.1 404"));
        // A client that says nothing does not keep it from stopping.
        let _silent = TcpStream::connect(address).await.unwrap();
        console.stop();
        for _ in 0..500 {
            if TcpStream::connect(address).await.is_err() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("it still listens");
    }
}
