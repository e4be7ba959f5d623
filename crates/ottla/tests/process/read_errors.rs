//! A disk that does not let read, under a running server: one of two log directories is on a loop device whose end is cut off.
//!
//! That takes root, loop devices and the tools of ext4; where they are missing the test says so loudly and does nothing.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ottla_client::{Connection, ConnectionConfig};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::{DescribeLogDirsRequest, FetchRequest, MetadataRequest, ProduceRequest};
use ottla_record::BatchBuilder;

use crate::server::Server;

const DEADLINE: Duration = Duration::from_secs(60);
/// The size of the disk, and of the blocks of its file system.
const DISK_BYTES: u64 = 64 << 20;
const BLOCK_BYTES: u64 = 4096;

/// Runs a program; what it printed, or why there is nothing.
fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program} does not run: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{program} {arguments:?} fails: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// A file system on a loop device.
struct Disk {
    image: PathBuf,
    mount: PathBuf,
    device: String,
}

impl Disk {
    fn make(home: &Path) -> Result<Self, String> {
        let (image, mount) = (home.join("image"), home.join("disk"));
        fs::create_dir(&mount).expect("a new directory");
        File::create(&image).and_then(|file| file.set_len(DISK_BYTES)).expect("a sparse file");
        let path = |path: &Path| path.display().to_string();
        let block = BLOCK_BYTES.to_string();
        // Without a journal nothing but what the server writes reaches the disk.
        run("mkfs.ext4", &["-q", "-F", "-b", &block, "-O", "^has_journal", &path(&image)])?;
        let device = run("losetup", &["--find", "--show", &path(&image)])?.trim().to_owned();
        let disk = Self { image, mount, device };
        run("mount", &[&disk.device, &path(&disk.mount)])?;
        run("filefrag", &["-V"])?;
        Ok(disk)
    }

    /// Cuts the disk off where a file begins, and has the kernel forget what the file holds.
    fn cut_at(&self, file: &Path) {
        let path = file.display().to_string();
        run("sync", &["--file-system", &path]).expect("written");
        let extents = run("filefrag", &["-v", &format!("-b{BLOCK_BYTES}"), &path]).expect("extents");
        let first = extents.lines().find_map(|line| line.trim().strip_prefix("0:")).expect("an extent");
        let block = first.split(':').nth(1).and_then(|range| range.trim().split("..").next());
        let block: u64 = block.and_then(|block| block.trim().parse().ok()).expect("the number of a block");
        run("dd", &[&format!("if={path}"), "iflag=nocache", "count=0"]).expect("forgotten");
        let image = File::options().write(true).open(&self.image).expect("the image");
        image.set_len(block * BLOCK_BYTES).expect("cut");
        run("losetup", &["--set-capacity", &self.device]).expect("the device is as long as its file");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What cannot be undone is in the way of nobody but the next look at `losetup`.
        _ = run("umount", &["--lazy", &self.mount.display().to_string()]);
        _ = run("losetup", &["--detach", &self.device]);
    }
}

/// A server with a directory on each of two disks, to which nothing is written while nobody produces, so that it is a read
/// that fails.
fn start(home: &Path, dirs: [&Path; 2]) -> Server {
    let options = [
        format!("log.dirs={},{}", dirs[0].display(), dirs[1].display()),
        "replica.high.watermark.checkpoint.interval.ms=600000".to_owned(),
        "log.flush.offset.checkpoint.interval.ms=600000".to_owned(),
        "log.flush.start.offset.checkpoint.interval.ms=600000".to_owned(),
        "log.retention.ms=-1".to_owned(),
    ];
    Server::start_in(home, &options.iter().flat_map(|pair| ["-o", pair]).collect::<Vec<_>>())
}

async fn connect(server: &Server) -> Connection {
    Connection::open(&server.address.to_string(), &ConnectionConfig::default()).await.expect("it listens")
}

async fn produce(connection: &Connection, partition: i32) -> i16 {
    let mut batch = BatchBuilder::new();
    batch.append(1_700_000_000_000, None, Some(b"value"), &[]).expect("a record");
    let records = bytes::Bytes::from(batch.build().expect("a batch"));
    let partition_data = vec![PartitionProduceData { index: partition, records: Some(records.into()) }];
    let topic_data =
        vec![TopicProduceData { name: "t".into(), partition_data, ..TopicProduceData::default() }];
    let request = ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data, ..ProduceRequest::default() };
    let answer = connection.call_at(&request, 9).await.expect("an answer");
    answer.responses[0].partition_responses[0].error_code
}

/// The error code, and how many bytes of records there are.
async fn try_fetch(
    connection: &Connection,
    partition: i32,
) -> Result<(i16, usize), ottla_client::ClientError> {
    let partitions =
        vec![FetchPartition { partition, partition_max_bytes: 1 << 20, ..FetchPartition::default() }];
    let topics = vec![FetchTopic { topic: "t".into(), partitions, ..FetchTopic::default() }];
    let request = FetchRequest {
        replica_id: -1,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics,
        ..FetchRequest::default()
    };
    let answer = connection.call_at(&request, 11).await?;
    let found = &answer.responses[0].partitions[0];
    Ok((found.error_code, found.records.as_ref().map_or(0, |records| records.len())))
}

async fn fetch(connection: &Connection, partition: i32) -> (i16, usize) {
    try_fetch(connection, partition).await.expect("an answer")
}

/// The error code of a log directory.
async fn dir_error(connection: &Connection, dir: &Path) -> Option<i16> {
    let request = DescribeLogDirsRequest { topics: None };
    let answer = connection.call_at(&request, 4).await.expect("an answer");
    answer.results.iter().find(|result| Path::new(&*result.log_dir) == dir).map(|result| result.error_code)
}

#[tokio::test]
async fn a_disk_that_does_not_let_read_takes_its_directory_offline_and_no_other() {
    let home = tempfile::tempdir().expect("a directory");
    let disk = match Disk::make(home.path()) {
        Ok(disk) => disk,
        Err(why) => {
            // Past the capture of passing tests' output: this has to be seen.
            let text = format!("SKIPPED: {why}; no disk was made to fail\n");
            std::io::stderr().write_all(text.as_bytes()).expect("a standard error");
            return;
        }
    };
    let (sound, broken) = (home.path().join("sound"), disk.mount.join("data"));
    let server = start(home.path(), [&sound, &broken]);
    assert!(server.runs(&["topic", "create", "t", "--partitions", "4"]), "{}", server.log());
    let connection = connect(&server).await;
    let is_in = |dir: &Path, partition: i32| dir.join(format!("t-{partition}")).is_dir();
    let (lost, kept): (Vec<i32>, Vec<i32>) = (0..4).partition(|partition| is_in(&broken, *partition));
    assert!(!lost.is_empty() && kept.iter().all(|partition| is_in(&sound, *partition)) && !kept.is_empty());
    for partition in 0..4 {
        assert_eq!(produce(&connection, partition).await, 0);
        assert!(fetch(&connection, partition).await.1 > 0);
    }

    disk.cut_at(&broken.join(format!("t-{}", lost[0])).join("00000000000000000000.log"));
    let storage_error = ErrorCode::KafkaStorageError.code();
    // Where the first batch is known without a look at the disk, its length is promised before the disk is asked for it.
    match try_fetch(&connection, lost[0]).await {
        Ok(answer) => assert_eq!(answer, (storage_error, 0)),
        Err(error) => assert!(error.is_connection(), "{error}"),
    }
    let connection = connect(&server).await;
    assert_eq!(fetch(&connection, lost[0]).await, (storage_error, 0));
    assert_eq!(dir_error(&connection, &broken).await, Some(storage_error));
    assert_eq!(dir_error(&connection, &sound).await, Some(0));
    let log = server.log();
    let is_said = |words: &[&str]| log.lines().any(|line| words.iter().all(|word| line.contains(word)));
    let partition = format!("t-{}", lost[0]);
    assert!(is_said(&["reading failed", &partition, "Input/output error"]), "{log}");
    let dir = broken.display().to_string();
    server.wait_for("the operator is told", || {
        server.log().lines().any(|line| line.contains("the log directory is offline") && line.contains(&dir))
    });

    // What is there answers so, whatever is asked; the controller knows; the others go on.
    for partition in &lost {
        assert_eq!(fetch(&connection, *partition).await, (storage_error, 0));
        assert_eq!(produce(&connection, *partition).await, storage_error);
    }
    let begin = Instant::now();
    loop {
        let request = MetadataRequest { topics: None, ..MetadataRequest::default() };
        let answer = connection.call_at(&request, 12).await.expect("an answer");
        let topic = answer.topics.iter().find(|topic| topic.name.as_deref() == Some("t")).expect("there");
        let is_known =
            |partition: &ottla_protocol::messages::metadata_response::MetadataResponsePartition| {
                (partition.leader_id == -1) == lost.contains(&partition.partition_index)
            };
        if topic.partitions.iter().all(is_known) {
            break;
        }
        assert!(begin.elapsed() < DEADLINE, "{answer:?} {}", server.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for partition in &kept {
        assert_eq!(produce(&connection, *partition).await, 0);
        assert!(fetch(&connection, *partition).await.1 > 0);
    }
    assert!(server.runs(&["topic", "create", "afterwards", "--partitions", "2"]), "{}", server.log());
}
