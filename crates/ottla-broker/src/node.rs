//! A node from start to stop: directories, metadata log, controller, broker, listeners (`KafkaRaftServer`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use ottla_config::{BrokerConfig, Endpoint};
use ottla_metadata::controller::{Controller, Settings};
use ottla_metadata::features::{MetadataVersion, default_levels};
use ottla_net::{ConnectionLimits, Listener, ListenerConfig, ListenerHandle, MemoryBudget};
use ottla_quorum::{Endpoint as VoterEndpoint, FormatMetadata, QuorumConfig, Voter, VoterSet};
use ottla_storage::dir::{Format, LogDirs, LogDirsConfig, META_PROPERTIES};
use ottla_storage::fs::{Fs, RealFs, exists};
use ottla_types::NodeId;
use prometheus_client::collector::Collector;
use tokio::task::JoinHandle;
use tracing::info;

use crate::broker::Broker;
use crate::clock;
use crate::connections;
use crate::controller::{ControllerHandle, ControllerInbox, Runtime};
use crate::dir_failures;
use crate::dispatch::BrokerService;
use crate::duties;
use crate::exposition::NodeMetrics;
use crate::lifecycle;
use crate::log_levels::LogLevels;
use crate::memory;
use crate::metadata_log::MetadataLog;
use crate::publisher;
use crate::random;
use crate::replicas::Replicas;

/// How long a stop waits for requests under way.
const DRAIN: Duration = Duration::from_secs(3);

/// What a started node tells its operator.
#[derive(Clone, Debug)]
pub struct Started {
    /// The cluster's id.
    pub cluster_id: String,
    /// This node's id.
    pub node_id: i32,
    /// Each listener: name, address bound, address advertised.
    pub listeners: Vec<(String, String, String)>,
    /// The log directories, and whether each works.
    pub log_dirs: Vec<(PathBuf, bool)>,
    /// Topics and partitions found.
    pub topics: usize,
    /// Partitions of this broker.
    pub partitions: usize,
    /// Whether the directories were formatted by this start.
    pub formatted: bool,
    /// Time from the call to readiness.
    pub took: Duration,
}

/// Told once that the node cannot go on, by whoever finds out first.
struct OnFailure(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl OnFailure {
    fn tell(&self) {
        let call = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(call) = call {
            call();
        }
    }
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    broker: Arc<Broker>,
    listeners: Vec<ListenerHandle>,
    tasks: Vec<JoinHandle<()>>,
    controller: std::thread::JoinHandle<()>,
    started: Started,
    metrics: Arc<NodeMetrics>,
}

fn paths(config: &BrokerConfig) -> (Vec<PathBuf>, PathBuf) {
    let node = config.node();
    let dirs = node.log_dirs.iter().map(PathBuf::from).collect();
    (dirs, PathBuf::from(&node.metadata_log_dir))
}

/// The controller's endpoints as voters and brokers reach them.
fn controller_endpoints(config: &BrokerConfig) -> Vec<VoterEndpoint> {
    let endpoint = |endpoint: &Endpoint| VoterEndpoint {
        listener: endpoint.listener.clone(),
        host: endpoint.host.clone().unwrap_or_else(|| "localhost".to_owned()),
        port: endpoint.port,
    };
    config.node().advertised_controller_listeners.iter().map(endpoint).collect()
}

/// Formats the directories of a node that is its cluster's only controller, as `kafka-storage format --standalone` does.
/// Returns the cluster's id.
///
/// # Errors
/// A directory is formatted already (unless `ignore_formatted`), is another node's, or cannot be written.
pub fn format(
    config: &BrokerConfig,
    cluster_id: Option<&str>,
    ignore_formatted: bool,
) -> anyhow::Result<(String, Vec<PathBuf>)> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let (mut dirs, metadata_dir) = paths(config);
    if !dirs.contains(&metadata_dir) {
        dirs.push(metadata_dir.clone());
    }
    let cluster_id = cluster_id.map_or_else(|| random::uuid().to_string(), str::to_owned);
    let directory_id = random::uuid();
    let format = Format {
        dirs: &dirs,
        cluster_id: &cluster_id,
        node_id: config.node().node_id,
        directory_ids: &[(metadata_dir.clone(), directory_id)],
        ignore_formatted,
    };
    let plan = format.plan(fs.as_ref(), &mut random::uuid)?;
    if let Some((dir, reason)) = plan.unreadable.first() {
        bail!("cannot read {}: {reason}", dir.display());
    }
    plan.create_dirs(fs.as_ref())?;
    if plan.to_format.iter().any(|(dir, _)| *dir == metadata_dir) {
        let voters = if config.node().voters.is_empty() {
            VoterSet::new([Voter {
                id: config.node().node_id,
                directory: Some(directory_id),
                endpoints: controller_endpoints(config),
                min_kraft_version: 0,
                max_kraft_version: 1,
            }])
        } else {
            VoterSet::default()
        };
        let levels = default_levels(MetadataVersion::LATEST);
        let levels: BTreeMap<&str, i16> = levels.iter().map(|(name, level)| (*name, *level)).collect();
        FormatMetadata { voters: &voters, features: &levels, extra: &[] }
            .write(Arc::clone(&fs), &metadata_dir, clock::now_ms(), random::u64())
            .with_context(|| format!("formatting {}", metadata_dir.display()))?;
    }
    plan.finish(fs.as_ref())?;
    Ok((cluster_id, plan.to_format.into_iter().map(|(dir, _)| dir).collect()))
}

/// Whether nothing was ever put into any of the directories, so that a first start may format them.
fn is_untouched(fs: &dyn Fs, config: &BrokerConfig) -> anyhow::Result<bool> {
    let (dirs, metadata_dir) = paths(config);
    for dir in dirs.iter().chain([&metadata_dir]) {
        let reading = || format!("cannot read the log directory {}", dir.display());
        if exists(fs, &dir.join(META_PROPERTIES)).with_context(reading)? {
            return Ok(false);
        }
        match fs.list(dir) {
            Ok(entries) if !entries.is_empty() => return Ok(false),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(reading),
        }
    }
    Ok(true)
}

impl Node {
    /// Starts a node: opens its directories (formatting empty ones), becomes the controller, registers the broker, opens all
    /// logs, and serves. Call it within a tokio runtime. `log_levels` are those that clients see and change. `on_failure` is
    /// called when the node can no longer go on.
    ///
    /// # Errors
    /// Whatever keeps the node from serving, with what to do about it where that is known.
    pub async fn start(
        config: BrokerConfig,
        log_levels: LogLevels,
        on_failure: impl FnOnce() + Send + 'static,
    ) -> anyhow::Result<Self> {
        let begin = Instant::now();
        check_supported(&config)?;
        let config = Arc::new(config);
        // Addresses first: another server on them is the most common reason not to start.
        let limits = Arc::new(ConnectionLimits::with(connections::settings(&config).await));
        let budget = memory_budget(&config);
        let bound = bind(&config, &limits, &budget).await?;
        let preparing = Arc::clone(&config);
        let (broker, runtime, inbox, formatted) =
            tokio::task::spawn_blocking(move || prepare(&preparing, limits, log_levels))
                .await
                .context("starting the node")??;
        let thread = std::thread::Builder::new().name("controller".to_owned());
        let runtime_handle = tokio::runtime::Handle::current();
        let on_failure = Arc::new(OnFailure(Mutex::new(Some(Box::new(on_failure)))));
        let failure_of_dirs = Arc::clone(&on_failure);
        let controller = thread.spawn(move || {
            let _guard = runtime_handle.enter();
            runtime.run(&inbox, || on_failure.tell());
        })?;
        lifecycle::unfence(&broker).await?;
        let service = Arc::new(BrokerService { broker: Arc::clone(&broker) });
        let mut listeners = Vec::new();
        let mut described = Vec::new();
        for (listener, advertised) in bound {
            described.push((advertised.listener.clone(), listener.address().to_string(), shown(&advertised)));
            listeners.push(listener.serve(Arc::clone(&service)));
        }
        let mut tasks = duties::start(&broker);
        tasks.push(dir_failures::watch(&broker, move || failure_of_dirs.tell()));
        broker.cleaner.start(&broker);
        broker.moves.start(&broker);
        broker.deleters.start(&broker);
        let stats = listeners
            .iter()
            .zip(&described)
            .map(|(listener, (name, ..))| (name.clone(), Arc::clone(listener.stats())));
        let metrics = Arc::new(NodeMetrics::new(Arc::clone(&broker), stats.collect(), budget));
        let image = broker.image();
        let dirs = broker.replicas.dirs();
        let started = Started {
            cluster_id: broker.cluster_id.clone(),
            node_id: broker.node_id.value(),
            listeners: described,
            log_dirs: dirs.dirs().iter().map(|dir| (dir.path().to_owned(), dir.is_online())).collect(),
            topics: image.topics().len(),
            partitions: broker.partitions().len(),
            formatted,
            took: begin.elapsed(),
        };
        Ok(Self { broker, listeners, tasks, controller, started, metrics })
    }

    /// What is where.
    pub fn started(&self) -> &Started {
        &self.started
    }

    /// Everything that the node counts, collected whenever it is encoded; works also when the node has stopped.
    pub fn metrics(&self) -> Box<dyn Collector> {
        Box::new(Arc::clone(&self.metrics))
    }

    /// Whether the node serves clients, for whoever asks from outside.
    pub fn readiness(&self) -> impl Fn() -> Result<(), String> + Send + Sync + 'static {
        let broker = Arc::clone(&self.broker);
        move || broker.ready()
    }

    /// Stops in order: no new requests, those under way are answered, logs are closed, the next start finds a clean
    /// directory.
    ///
    /// # Errors
    /// When a part of the node panicked; what could be closed is.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.broker.stopping();
        for listener in &self.listeners {
            listener.drain();
        }
        self.broker.transactions.shut_down();
        self.broker.groups.shut_down();
        for listener in self.listeners {
            listener.shutdown(DRAIN).await;
        }
        for task in self.tasks {
            task.abort();
        }
        let broker_epoch = match self.broker.config().values().boolean("controlled.shutdown.enable") {
            true => lifecycle::leave(&self.broker).await,
            false => self.broker.epoch(),
        };
        let (produced, fetched) = self.broker.metrics.totals();
        info!("took {produced} bytes of records and sent {fetched} since the start");
        let cleaner = self.broker.cleaner.view();
        if cleaner.runs > 0 {
            info!(
                "compacted {} times: {} of {} bytes were left",
                cleaner.runs, cleaner.kept_bytes, cleaner.read_bytes
            );
        }
        self.broker.controller.stop();
        let broker = Arc::clone(&self.broker);
        let controller = self.controller;
        tokio::task::spawn_blocking(move || {
            let ended = controller.join();
            broker.cleaner.shut_down();
            broker.replicas.shut_down(&broker, broker_epoch);
            ended.map_err(|_| anyhow::anyhow!("the controller's thread panicked"))
        })
        .await?
    }
}

/// What this release cannot run yet.
fn check_supported(config: &BrokerConfig) -> anyhow::Result<()> {
    let node = config.node();
    if !(node.roles.broker && node.roles.controller) {
        bail!("process.roles must be 'broker,controller': nodes of a single role are not supported yet");
    }
    if node.voters.len() > 1 || node.voters.keys().any(|id| *id != node.node_id.value()) {
        bail!(
            "controller.quorum.voters may name this node only: quorums of several nodes are not supported yet"
        );
    }
    if let Some(secured) =
        node.broker_listeners().find(|e| e.protocol != ottla_config::SecurityProtocol::Plaintext)
    {
        bail!("listener {} is not PLAINTEXT: TLS and SASL are not supported yet", secured.listener);
    }
    if let Some(class) = config.authorizer() {
        bail!(
            "authorizer.class.name is {class}: authorizers are not supported yet, and without one everybody may do \
             everything; leave the key out if that is meant"
        );
    }
    Ok(())
}

fn shown(endpoint: &Endpoint) -> String {
    format!("{}:{}", endpoint.host.as_deref().unwrap_or("localhost"), endpoint.port)
}

fn memory_budget(config: &BrokerConfig) -> MemoryBudget {
    match usize::try_from(config.values().long("queued.max.request.bytes")) {
        Ok(bytes) if bytes > 0 => MemoryBudget::new(bytes),
        _ => MemoryBudget::new(memory::default_budget()),
    }
}

async fn bind(
    config: &BrokerConfig,
    limits: &Arc<ConnectionLimits>,
    budget: &MemoryBudget,
) -> anyhow::Result<Vec<(Listener, Endpoint)>> {
    let values = config.values();
    let count = |key: &str| usize::try_from(values.int(key)).unwrap_or(usize::MAX);
    let mut bound = Vec::new();
    for endpoint in config.node().broker_listeners() {
        let host = endpoint.host.as_deref().unwrap_or_default();
        let buffer = |key: &str| usize::try_from(values.int(key)).ok();
        let listener = ListenerConfig {
            backlog: values.int("socket.listen.backlog.size"),
            send_buffer_bytes: buffer("socket.send.buffer.bytes"),
            receive_buffer_bytes: buffer("socket.receive.buffer.bytes"),
            request_max_bytes: count("socket.request.max.bytes"),
            max_idle: u64::try_from(values.long("connections.max.idle.ms")).ok().map(Duration::from_millis),
            protected: connections::is_protected(config, &endpoint.listener),
            ..ListenerConfig::new(&endpoint.listener, host, endpoint.port)
        };
        let listener = Listener::bind(listener, Arc::clone(limits), budget.clone()).await?;
        let advertised =
            config.node().advertised_broker_listeners.iter().find(|e| e.listener == endpoint.listener);
        let advertised = advertised.unwrap_or(endpoint).clone();
        bound.push((listener, advertised));
    }
    Ok(bound)
}

/// Everything up to the point where the controller's thread takes over; touches the disk.
fn prepare(
    config: &Arc<BrokerConfig>,
    limits: Arc<ConnectionLimits>,
    log_levels: LogLevels,
) -> anyhow::Result<(Arc<Broker>, Runtime, ControllerInbox, bool)> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let formatted = is_untouched(fs.as_ref(), config)?;
    if formatted {
        let (cluster_id, dirs) = format(config, None, false)?;
        for dir in dirs {
            info!("formatted {} for the new cluster {cluster_id}", dir.display());
        }
    }
    let node = config.node();
    let (dirs, metadata_dir) = paths(config);
    let log_dirs = LogDirs::open(
        Arc::clone(&fs),
        &LogDirsConfig { dirs, metadata_dir, node_id: node.node_id, cluster_id: None },
        &mut random::uuid,
    )?;
    let cluster_id = log_dirs.cluster_id().to_owned();
    let quorum = QuorumConfig {
        node_id: node.node_id,
        directory_id: log_dirs.metadata_dir().id().context("the metadata directory has an id")?,
        endpoints: controller_endpoints(config),
        static_voters: static_voters(config),
    };
    let metadata_path = log_dirs.metadata_dir().path().to_owned();
    let mut runtime = lead(config, &cluster_id, fs, &metadata_path, quorum)?;
    lifecycle::register(&mut runtime, config, &cluster_id, &log_dirs)?;
    lifecycle::register_controller(&mut runtime, config)?;
    let (handle, inbox) = ControllerHandle::new();
    let journal_bytes = u64::try_from(config.values().long("ottla.journal.bytes")).unwrap_or(0);
    let replicas = Replicas::new(log_dirs, journal_bytes);
    let broker = Broker::new(&cluster_id, Arc::clone(config), handle, replicas, limits, log_levels);
    let image = runtime.log().image().clone();
    broker.reload_config(&image);
    let threads = config.values().int("num.recovery.threads.per.data.dir");
    broker.replicas.load(&broker, &image, usize::try_from(threads).unwrap_or(1).max(1))?;
    publisher::publish_first(&broker, &image);
    runtime.attach(Arc::clone(&broker));
    Ok((broker, runtime, inbox, formatted))
}

fn static_voters(config: &BrokerConfig) -> VoterSet {
    let voter = |(id, _): (&i32, _)| Voter {
        id: NodeId(*id),
        directory: None,
        endpoints: controller_endpoints(config),
        min_kraft_version: 0,
        max_kraft_version: 1,
    };
    VoterSet::new(config.node().voters.iter().map(voter))
}

/// Opens the metadata log, leads its quorum, and activates the controller.
fn lead(
    config: &Arc<BrokerConfig>,
    cluster_id: &str,
    fs: Arc<dyn Fs>,
    dir: &Path,
    quorum: QuorumConfig,
) -> anyhow::Result<Runtime> {
    let now_ms = clock::now_ms();
    let log = MetadataLog::open(fs, dir, quorum, config.values(), now_ms).with_context(|| {
        format!("the metadata log in {}", crate::metadata_log::metadata_path(dir).display())
    })?;
    let node_id = config.node().node_id;
    let settings = Settings::new(node_id, cluster_id, vec![node_id], Arc::clone(config));
    let mut controller = Controller::new(settings);
    controller.load(log.image().clone());
    controller.activate(now_ms);
    // This node's broker of before ended with its process.
    controller.end_session(node_id);
    let mut bootstrap = log.bootstrap()?;
    if bootstrap.is_empty() {
        bootstrap = ottla_metadata::controller::bootstrap_records(&default_levels(MetadataVersion::LATEST));
    }
    let activation = controller.activation(&bootstrap)?;
    info!("leading the metadata quorum in epoch {}", log.epoch());
    let mut runtime = Runtime::new(controller, log, config.values());
    runtime.settle(&activation)?;
    Ok(runtime)
}
