//! Taking turns with a running Apache Kafka in the same log directories.
//!
//! Runs when `OTTLA_KAFKA_CLASSPATH` names a directory with the jars of Apache Kafka (4.4.0) and there is a JDK; says SKIPPED
//! otherwise.

use std::fmt::Write as _;
use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use ottla_record::BatchBuilder;
use ottla_storage::dir::{
    Admission, Checkpoint, LogDirs, LogDirsConfig, NewLog, PartitionOffsets, PlacedLog, StartError,
};
use ottla_storage::fs::{Fs, RealFs};
use ottla_storage::log::{AppendOrigin, LeaderAppend, LogConfig, VerificationGuard};
use ottla_types::{LeaderEpoch, NodeId, Offset, TopicPartition};
use rustix::process::{Pid, Signal, kill_process};

use super::support::{CLUSTER, NOW, ids, names, new_log};

const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/storage/dir/ClusterPeer.java");

const EXPECTED: &str = "a.b-c_d-0=0..100:100 empty-0=0..0:0 events-0=10..50:40 events-1=0..50:50 events-2=0..50:50 \
                        events-3=0..50:50 events-4=0..50:50 events-5=0..50:50";

/// A formatted single-node cluster with two log directories.
struct Cluster {
    jars: PathBuf,
    home: tempfile::TempDir,
    bootstrap: String,
}

/// A running broker; killed when dropped.
struct Broker(Child);

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Broker {
    fn stop(&mut self) {
        let pid = Pid::from_child(&self.0);
        kill_process(pid, Signal::TERM).unwrap();
        self.0.wait().unwrap();
    }
}

impl Cluster {
    fn format(test: &str) -> Option<Self> {
        let Some(jars) = std::env::var_os("OTTLA_KAFKA_CLASSPATH") else {
            eprintln!("SKIPPED: {test}: OTTLA_KAFKA_CLASSPATH (directory of Kafka's jars) is not set");
            return None;
        };
        if let Err(error) = Command::new("java").arg("-version").stderr(Stdio::null()).status() {
            eprintln!("SKIPPED: {test}: java cannot be run: {error}");
            return None;
        }
        let ports: Vec<TcpListener> = (0..2).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let [bootstrap, controller] = [0, 1].map(|i: usize| ports[i].local_addr().unwrap().to_string());
        let home = tempfile::tempdir().unwrap();
        let cluster = Self { jars: jars.into(), home, bootstrap };
        let [a, b] = cluster.dirs();
        let mut properties = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://{},CONTROLLER://{controller}\ncontroller.quorum.bootstrap.servers={controller}\n",
            cluster.bootstrap
        );
        writeln!(properties, "log.dirs={},{}", a.display(), b.display()).unwrap();
        properties.push_str("offsets.topic.replication.factor=1\nfile.delete.delay.ms=600000\n");
        properties.push_str("log.segment.delete.delay.ms=600000\n");
        std::fs::write(cluster.properties(), properties).unwrap();
        let mut format = cluster.java("kafka.tools.StorageTool");
        format.args(["format", "--standalone", "-t", CLUSTER, "-c"]).arg(cluster.properties());
        assert!(format.status().unwrap().success(), "{}", cluster.output());
        Some(cluster)
    }

    fn dirs(&self) -> [PathBuf; 2] {
        ["a", "b"].map(|name| self.home.path().join(name))
    }

    /// What is in both directories.
    fn names(&self) -> Vec<String> {
        self.dirs().iter().flat_map(|dir| names(&RealFs, dir.to_str().unwrap())).collect()
    }

    fn properties(&self) -> PathBuf {
        self.home.path().join("server.properties")
    }

    fn output(&self) -> String {
        std::fs::read_to_string(self.home.path().join("output")).unwrap_or_default()
    }

    fn java(&self, class: &str) -> Command {
        let mut command = Command::new("java");
        let log = File::options().create(true).append(true).open(self.home.path().join("output")).unwrap();
        command.current_dir(self.home.path()).arg("-Xmx400m").arg("-cp").arg(self.jars.join("*")).arg(class);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        command
    }

    fn start(&self) -> Broker {
        Broker(self.java("kafka.Kafka").arg(self.properties()).spawn().unwrap())
    }

    fn client(&self, command: &str) -> String {
        let output =
            self.java(PEER).args([&self.bootstrap, command]).stdout(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "{}", self.output());
        String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn open(&self) -> Result<LogDirs, StartError> {
        let [a, b] = self.dirs();
        let config =
            LogDirsConfig { dirs: vec![a.clone(), b], metadata_dir: a, node_id: NodeId(1), cluster_id: None };
        LogDirs::open(Arc::new(RealFs), &config, &mut ids())
    }
}

/// All logs of the directories, opened by us.
fn load(dirs: &LogDirs, expect_clean: bool) -> Vec<PlacedLog> {
    let mut logs = Vec::new();
    for load in dirs.begin_loading(NOW).unwrap() {
        assert_eq!(load.was_clean, expect_clean, "{}", load.dir.path().display());
        for job in load.jobs {
            let outcome = job.run(LogConfig::default(), 1, NOW);
            match dirs.admit(outcome, &|_, topic_id| topic_id.is_none(), 1).unwrap() {
                Admission::Admitted(placed, _) => logs.push(*placed),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(dirs.first_offline(), None);
    logs.sort_by(|a, b| a.key.cmp(&b.key));
    logs
}

/// The logs of our topics as `ClusterPeer.java` prints them, as far as offsets tell.
fn describe(logs: &[PlacedLog]) -> String {
    let mut found = Vec::new();
    for PlacedLog { key, log, .. } in logs {
        if !key.partition.topic.starts_with("__") {
            let (start, end) = (log.log_start_offset(), log.log_end_offset());
            assert_eq!(log.high_watermark(), end, "{} at its high watermark", key.partition);
            found.push(format!("{}={start}..{end}:{}", key.partition, end.0 - start.0));
        }
    }
    found.join(" ")
}

fn stop(dirs: &LogDirs, logs: Vec<PlacedLog>, broker_epoch: Option<i64>) {
    for shutdown in dirs.begin_shutdown(logs) {
        shutdown.write_high_watermarks().unwrap();
        shutdown.close_logs(NOW).unwrap();
        assert_eq!(shutdown.finish(broker_epoch), Ok(true));
    }
}

fn without_internal(entries: PartitionOffsets) -> Vec<(TopicPartition, Offset)> {
    entries.into_iter().filter(|(partition, _)| !partition.topic.starts_with("__")).collect()
}

#[test]
fn takes_turns_with_apache_kafka() {
    let Some(cluster) = Cluster::format("takes_turns_with_apache_kafka") else { return };
    assert_eq!(cluster.open().unwrap().last_broker_epoch(), None);

    // Kafka, then we.
    let mut broker = cluster.start();
    cluster.client("fill");
    assert_eq!(cluster.client("count"), EXPECTED);
    assert!(matches!(cluster.open(), Err(StartError::InUse(_))), "Kafka's lock keeps us out");
    broker.stop();
    let dirs = cluster.open().unwrap();
    assert_eq!((dirs.cluster_id(), dirs.online().count()), (CLUSTER, 2));
    let epoch = dirs.last_broker_epoch();
    assert!(epoch.is_some(), "{}", cluster.output());
    check_checkpoints(&dirs);
    let gone: Vec<String> = cluster.names().into_iter().filter(|name| name.starts_with("gone-0.")).collect();
    assert!(matches!(&gone[..], [name] if name.ends_with("-delete")), "{gone:?}");
    let logs = load(&dirs, true);
    assert_eq!(describe(&logs), EXPECTED);

    // Our lock keeps Kafka out.
    let refused = cluster.java("kafka.Kafka").arg(cluster.properties()).status().unwrap();
    assert!(!refused.success());

    // We, cleanly, then Kafka, which trusts our marker; killed, then we again.
    let removed = dirs.dirs().iter().map(|dir| dirs.remove_deleted(dir, i64::MAX, 0, &mut || true).0);
    assert_eq!(removed.sum::<usize>(), 1);
    stop(&dirs, logs, epoch);
    let broker = cluster.start();
    assert_eq!(cluster.client("count"), EXPECTED);
    drop(broker);
    let dirs = cluster.open().unwrap();
    assert_eq!(dirs.last_broker_epoch(), None);
    let logs = load(&dirs, false);
    assert_eq!(describe_ends(&logs), describe_ends_of(EXPECTED));

    // We, without an orderly end and in the middle of removing a log, then Kafka, which recovers.
    let half = half_removed(&dirs);
    drop((logs, dirs));
    let mut broker = cluster.start();
    assert_eq!(cluster.client("count"), EXPECTED);
    broker.stop();
    let left = names(&RealFs, half.to_str().unwrap());
    assert!(!left.iter().any(|name| name.ends_with(".deleted")), "{left:?}");
    let found: Vec<String> = cluster.names();
    assert!(!found.iter().any(|name| name.ends_with("-stray")), "{found:?}");
}

/// Deletes a log and stops in the middle of the removal of its segment; its directory.
fn half_removed(dirs: &LogDirs) -> PathBuf {
    let dir = &dirs.dirs()[0];
    let new = NewLog { dir_id: dir.id(), config: LogConfig::default(), ..new_log("half", 0) };
    let mut placed = dirs.create(&new).unwrap();
    for _ in 0..10 {
        let mut builder = BatchBuilder::new();
        builder.append(NOW, None, Some(&vec![9; 900_000]), &[]).unwrap();
        let append = LeaderAppend {
            origin: AppendOrigin::Client,
            leader_epoch: LeaderEpoch(0),
            guard: VerificationGuard::default(),
            transaction_version: 0,
            now_ms: NOW,
        };
        placed.log.append_as_leader(&mut builder.build().unwrap(), append).unwrap();
    }
    placed.log.flush(NOW).unwrap();
    assert_eq!(dirs.delete_all(vec![placed], || 0x1234, NOW), []);
    assert_eq!(dirs.remove_deleted(dir, i64::MAX, 0, &mut || false).0, 0);
    let path = dir.path().join("half-0.00000000000000000000000000001234-delete");
    let segment = RealFs.info(&path.join("00000000000000000000.log.deleted")).unwrap();
    assert!((1..9_000_000).contains(&segment.len), "{segment:?}");
    path
}

/// After a kill the checkpoints may lag: only starts and ends are certain.
fn describe_ends(logs: &[PlacedLog]) -> String {
    let found = logs.iter().filter(|placed| !placed.key.partition.topic.starts_with("__"));
    let found: Vec<String> = found
        .map(|PlacedLog { key, log, .. }| {
            format!("{}={}..{}", key.partition, log.log_start_offset(), log.log_end_offset())
        })
        .collect();
    found.join(" ")
}

fn describe_ends_of(counts: &str) -> String {
    let ends: Vec<&str> =
        counts.split(' ').filter_map(|count| count.split_once(':')).map(|(ends, _)| ends).collect();
    ends.join(" ")
}

fn check_checkpoints(dirs: &LogDirs) {
    let all = |which| -> Vec<(TopicPartition, Offset)> {
        let mut entries: Vec<_> = dirs
            .dirs()
            .iter()
            .flat_map(|dir| without_internal(dir.read_checkpoint(which).unwrap()))
            .collect();
        entries.sort();
        entries
    };
    let ends: Vec<(TopicPartition, Offset)> = EXPECTED
        .split(' ')
        .map(|entry| {
            let (partition, state) = entry.split_once('=').unwrap();
            let (topic, index) = partition.rsplit_once('-').unwrap();
            let end = state.split_once("..").unwrap().1.split_once(':').unwrap().0;
            (TopicPartition::new(topic, index.parse().unwrap()), Offset(end.parse().unwrap()))
        })
        .collect();
    assert_eq!(all(Checkpoint::RecoveryPoints), ends);
    assert_eq!(all(Checkpoint::HighWatermarks), ends);
    assert_eq!(all(Checkpoint::LogStarts), [(TopicPartition::new("events", 0), Offset(10))]);
    assert!(dirs.dirs().iter().all(|dir| dir.read_checkpoint(Checkpoint::CleanerOffsets).is_ok()));
}
