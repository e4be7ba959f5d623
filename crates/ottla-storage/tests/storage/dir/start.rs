//! Formatting, and whose directories a node may take.

use std::path::Path;
use std::sync::Arc;

use ottla_storage::dir::{Format, LogDirs, LogDirsConfig, MetaProperties, StartError};
use ottla_storage::fs::{Effect, Fault, Fs, MemFs, Operation};
use ottla_types::{NodeId, Uuid};

use super::support::{CLUSTER, NODE, config, format, formatted, ids, open, paths, put};

fn error(fs: &MemFs, dirs: &[&str]) -> String {
    open(fs, dirs).expect_err("must not start").to_string()
}

fn meta(cluster: &str, node: i32, id: Uuid) -> MetaProperties {
    MetaProperties::new(cluster, NodeId(node), id)
}

#[test]
fn formats_empty_directories_once() {
    let fs = MemFs::new();
    let dirs = paths(&["/a", "/b/c"]);
    let voter = Uuid::from_parts(5, 5);
    let decided = [(dirs[0].clone(), voter)];
    let mut request = Format {
        dirs: &dirs,
        cluster_id: CLUSTER,
        node_id: NODE,
        directory_ids: &decided,
        ignore_formatted: false,
    };
    let plan = request.plan(&fs, &mut ids()).unwrap();
    assert!(fs.list(Path::new("/")).unwrap().is_empty(), "a plan changes nothing");
    plan.create_dirs(&fs).unwrap();
    assert_eq!(MetaProperties::read(&fs, &dirs[0]).unwrap(), None);
    plan.finish(&fs).unwrap();
    assert_eq!(MetaProperties::read(&fs, &dirs[0]).unwrap(), Some(meta(CLUSTER, 1, voter)));
    assert_eq!(
        MetaProperties::read(&fs, &dirs[1]).unwrap(),
        Some(meta(CLUSTER, 1, Uuid::from_parts(1000, 7)))
    );

    let refusal = request.plan(&fs, &mut ids()).unwrap_err();
    assert_eq!(refusal.to_string(), "log directory /a is already formatted");
    request.ignore_formatted = true;
    let again = request.plan(&fs, &mut ids()).unwrap();
    assert_eq!((again.to_format.len(), again.formatted.len()), (0, 2));
    request.cluster_id = "other";
    let refusal = request.plan(&fs, &mut ids()).unwrap_err().to_string();
    assert_eq!(refusal, format!("log directory /a belongs to cluster {CLUSTER}, expected other"));
    request.cluster_id = CLUSTER;
    request.node_id = NodeId(2);
    let refusal = request.plan(&fs, &mut ids()).unwrap_err().to_string();
    assert!(refusal.starts_with("log directory /a belongs to node 1, but this is node 2"), "{refusal}");
}

#[test]
fn formats_what_it_can_read() {
    let fs = MemFs::new();
    put(&fs, "/bad/meta.properties", b"version=9");
    let dirs = paths(&["/bad", "/good"]);
    let mut request = Format {
        dirs: &dirs,
        cluster_id: CLUSTER,
        node_id: NODE,
        directory_ids: &[],
        ignore_formatted: false,
    };
    let plan = request.plan(&fs, &mut ids()).unwrap();
    assert_eq!((plan.to_format.len(), plan.unreadable.len()), (1, 1));
    request.dirs = &dirs[..1];
    assert!(matches!(request.plan(&fs, &mut ids()), Err(StartError::NothingReadable(_))));
    request.dirs = &[];
    assert!(matches!(request.plan(&fs, &mut ids()), Err(StartError::NoDirs)));
}

#[test]
fn an_interrupted_format_can_be_repeated() {
    for at in 0.. {
        let fs = MemFs::new();
        fs.cut_power_at(at);
        let done = format(&fs, &["/a", "/b"]).is_ok();
        for seed in 0..20 {
            let after = fs.fork();
            after.crash(seed);
            if done {
                open(&after, &["/a", "/b"]).expect("formatted for good");
            }
            format(&after, &["/a", "/b"]).unwrap();
            open(&after, &["/a", "/b"]).unwrap();
        }
        if done {
            break;
        }
    }
}

#[test]
fn takes_formatted_directories_in_configured_order() {
    let fs = formatted(&["/b", "/a"]);
    let dirs = open(&fs, &["/b", "/a"]).unwrap();
    assert_eq!((dirs.cluster_id(), dirs.node_id()), (CLUSTER, NODE));
    let found: Vec<_> =
        dirs.dirs().iter().map(|dir| (dir.path().to_str().unwrap(), dir.is_online())).collect();
    assert_eq!(found, [("/b", true), ("/a", true)]);
    assert_eq!(dirs.metadata_dir().path(), Path::new("/b"));
    assert_eq!(dirs.last_broker_epoch(), None);
    let id = dirs.dirs()[1].id().unwrap();
    assert_eq!(dirs.online_by_id(id).unwrap().path(), Path::new("/a"));
}

#[test]
fn a_metadata_directory_of_its_own_is_checked_and_locked() {
    let fs = formatted(&["/data", "/meta"]);
    let config = LogDirsConfig { metadata_dir: "/meta".into(), ..config(&["/data"]) };
    let dirs = LogDirs::open(Arc::new(fs.clone()), &config, &mut ids()).unwrap();
    assert_eq!(dirs.dirs().len(), 1);
    assert!(fs.try_lock(Path::new("/meta/.lock")).unwrap().is_none());
}

#[test]
fn refuses_directories_that_are_not_its_own() {
    let (one, two) = (Uuid::from_parts(1, 1), Uuid::from_parts(2, 2));
    let with = |first: MetaProperties, second: MetaProperties| {
        let fs = MemFs::new();
        put(&fs, "/a/meta.properties", first.format().as_bytes());
        put(&fs, "/b/meta.properties", second.format().as_bytes());
        error(&fs, &["/a", "/b"])
    };
    assert_eq!(
        with(meta("x", 1, one), meta("y", 1, two)),
        "log directory /b belongs to cluster y, expected x"
    );
    assert!(
        with(meta("x", 1, one), meta("x", 2, two))
            .starts_with("log directory /b belongs to node 2, but this is node 1")
    );
    assert_eq!(
        with(meta("x", 1, one), meta("x", 1, one)),
        format!("directory id {one} belongs to both /a and /b")
    );
    assert_eq!(
        with(meta("x", 1, one), meta("x", 1, Uuid::DIR_LOST)),
        format!("log directory /b has the reserved directory id {}", Uuid::DIR_LOST)
    );
    let old = MetaProperties::parse(b"version=0\nbroker.id=1\n").unwrap();
    assert_eq!(with(old, meta("x", 1, one)), "cluster.id is missing in /a/meta.properties");
    let old = MetaProperties::parse(b"version=0\ncluster.id=x\n").unwrap();
    assert_eq!(with(old, meta("x", 1, one)), "node.id is missing in /a/meta.properties");
}

#[test]
fn refuses_unformatted_doubled_and_missing_directories() {
    let fs = formatted(&["/a"]);
    fs.create_dir_all(Path::new("/b")).unwrap();
    let unformatted =
        |dir| format!("no `meta.properties` found in {dir} (has the directory been formatted?)");
    assert_eq!(error(&fs, &["/a", "/b"]), unformatted("/b"));
    assert_eq!(error(&fs, &["/a", "/missing"]), unformatted("/missing"));
    assert_eq!(error(&fs, &["/a", "/a"]), "log directory /a is configured twice");
    let none = LogDirsConfig { dirs: Vec::new(), ..config(&["/a"]) };
    assert!(matches!(LogDirs::open(Arc::new(fs), &none, &mut ids()), Err(StartError::NoDirs)));
}

#[test]
fn refuses_a_metadata_log_in_the_wrong_directory() {
    let fs = formatted(&["/a", "/b"]);
    fs.create_dir_all(Path::new("/b/__cluster_metadata-0")).unwrap();
    let expected = "unexpected metadata log /b/__cluster_metadata-0 (metadata.log.dir is /a)";
    assert_eq!(error(&fs, &["/a", "/b"]), expected);
    open(&fs, &["/b", "/a"]).unwrap();
}

#[test]
fn an_unreadable_directory_is_offline_and_the_metadata_directory_must_not_be() {
    let fs = formatted(&["/a", "/b"]);
    put(&fs, "/b/meta.properties", b"version=1\n");
    let dirs = open(&fs, &["/a", "/b"]).unwrap();
    assert_eq!(dirs.online().count(), 1);
    let offline = dirs.first_offline().unwrap().to_string();
    assert_eq!(offline, "log directory /b is offline: /b/meta.properties is malformed: node.id is missing");
    drop(dirs);
    let refusal = error(&fs, &["/b", "/a"]);
    assert!(
        refusal.starts_with("cannot continue without the metadata log directory: log directory /b"),
        "{refusal}"
    );
    assert!(error(&fs, &["/b"]).starts_with("no readable `meta.properties` found"));
    fs.inject(Fault::new(Effect::Io).on(Operation::Open).at("/b/meta"));
    assert_eq!(open(&fs, &["/a", "/b"]).unwrap().online().count(), 1);
}

#[test]
fn gives_a_missing_directory_id_and_keeps_it() {
    let fs = MemFs::new();
    put(&fs, "/a/meta.properties", b"version=1\nnode.id=1\ncluster.id=x\n");
    let id = open(&fs, &["/a"]).unwrap().dirs()[0].id();
    assert_eq!(id, Some(Uuid::from_parts(1000, 7)));
    fs.crash(1);
    let dirs =
        LogDirs::open(Arc::new(fs.clone()), &config(&["/a"]), &mut || unreachable!("it has one")).unwrap();
    assert_eq!(dirs.dirs()[0].id(), id);
}

#[test]
fn a_locked_directory_is_refused_and_the_others_are_let_go() {
    let fs = formatted(&["/a", "/b"]);
    let lock = fs.try_lock(Path::new("/b/.lock")).unwrap().unwrap();
    assert!(error(&fs, &["/a", "/b"]).starts_with("cannot lock /b: another process"));
    assert!(fs.try_lock(Path::new("/a/.lock")).unwrap().is_some());
    drop(lock);
    let running = open(&fs, &["/a", "/b"]).unwrap();
    assert!(error(&fs, &["/a"]).starts_with("cannot lock /a"));
    drop(running);
    open(&fs, &["/a"]).unwrap();
}

#[test]
fn a_disk_error_at_the_lock_takes_only_that_directory_offline() {
    let fs = formatted(&["/a", "/b"]);
    fs.inject(Fault::new(Effect::Denied).on(Operation::Create).at("/b/.lock"));
    let dirs = open(&fs, &["/a", "/b"]).unwrap();
    assert_eq!(dirs.online().count(), 1);
    assert!(dirs.first_offline().unwrap().reason.starts_with("cannot take the lock"));
}

#[test]
fn the_last_broker_epoch_counts_only_when_all_directories_agree() {
    let fs = formatted(&["/a", "/b"]);
    let epoch = |a: &[u8], b: Option<&[u8]>| {
        let fs = fs.fork();
        put(&fs, "/a/.kafka_cleanshutdown", a);
        if let Some(b) = b {
            put(&fs, "/b/.kafka_cleanshutdown", b);
        }
        open(&fs, &["/a", "/b"]).unwrap().last_broker_epoch()
    };
    let five = br#"{"version":0,"brokerEpoch":5}"#;
    assert_eq!(epoch(five, Some(five)), Some(5));
    assert_eq!(epoch(five, None), None);
    assert_eq!(epoch(five, Some(br#"{"version":0,"brokerEpoch":6}"#)), None);
    assert_eq!(epoch(five, Some(b"")), None);
    let unknown = br#"{"version":0,"brokerEpoch":-1}"#;
    assert_eq!(epoch(unknown, Some(unknown)), None);
}
