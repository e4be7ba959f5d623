//! Log directories that take no new partitions (`cordoned.log.dirs`, KIP-1066), on a node and on Apache Kafka with two of them.

use std::path::Path;

use ottla_protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use ottla_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use ottla_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use ottla_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_protocol::messages::{
    AlterReplicaLogDirsRequest, CreatePartitionsRequest, DescribeLogDirsRequest,
    IncrementalAlterConfigsRequest,
};

use crate::client::Peer;
use crate::requests::{append, batch, create, make_topic, new_topic, settle};
use crate::servers::{Kafka, Own};

const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;

/// What a server was asked and answered, a line each; its directories are `first` and `second`.
struct Story<'a> {
    peer: Peer,
    root: &'a Path,
    lines: Vec<String>,
}

/// Where the directories of a server are, as its configuration has them.
fn dirs(root: &Path) -> [String; 2] {
    ["first", "second"].map(|name| root.join(name).display().to_string())
}

impl Story<'_> {
    fn note(&mut self, what: &str, happened: &str) {
        self.lines.push(format!("{what}: {happened}"));
    }

    /// Waits until just these directories are cordoned.
    fn wait_for_cordoned(&mut self, wanted: &[&str]) {
        let everything = DescribeLogDirsRequest { topics: None };
        self.peer.wait_for(5, &everything, |answer| {
            let cordoned = answer.results.iter().filter(|result| result.is_cordoned);
            let mut cordoned: Vec<_> =
                cordoned.filter_map(|result| result.log_dir.rsplit('/').next()).collect();
            cordoned.sort_unstable();
            cordoned == wanted
        });
    }

    /// Where the partitions of a topic are.
    fn places(&mut self, topic: &str) {
        let answer = self.peer.ask(5, &DescribeLogDirsRequest { topics: None }).expect("an answer");
        let mut places = Vec::new();
        for result in &answer.results {
            let dir = result.log_dir.rsplit('/').next().unwrap_or_default();
            for found in result.topics.iter().filter(|found| found.name == topic) {
                places
                    .extend(found.partitions.iter().map(|found| format!("{}-{dir}", found.partition_index)));
            }
        }
        places.sort();
        self.note(topic, &places.join(" "));
    }

    /// Changes the key of a broker, or of all of them (`""`); `first` and `second` stand for the directories.
    fn configure(&mut self, broker: &str, operation: i8, value: Option<&str>) {
        let [first, second] = dirs(self.root);
        let path = |entry: &str| entry.replace("first", &first).replace("second", &second);
        let change = AlterableConfig {
            name: "cordoned.log.dirs".into(),
            config_operation: operation,
            value: value.map(|value| path(value).into()),
        };
        let resource = AlterConfigsResource {
            resource_type: BROKER,
            resource_name: broker.into(),
            configs: vec![change],
        };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        let answer = self.peer.ask(1, &request).expect("an answer");
        let code = answer.responses[0].error_code;
        self.note("configure", &format!("{broker:?} {operation} {value:?}: {code}"));
    }

    fn create(&mut self, topic: CreatableTopic<'static>) {
        let answer = self.peer.ask(7, &create(vec![topic])).expect("an answer");
        let (name, code) = (answer.topics[0].name.to_string(), answer.topics[0].error_code);
        self.note("create", &format!("{name}: {code}"));
    }

    fn grow(&mut self, topic: &'static str, count: i32) {
        let topics = vec![CreatePartitionsTopic { name: topic.into(), count, assignments: None }];
        let request = CreatePartitionsRequest { topics, timeout_ms: 10_000, validate_only: false };
        let code = self.peer.ask(3, &request).expect("an answer").results[0].error_code;
        self.note("grow", &format!("{topic} to {count}: {code}"));
    }

    fn move_to(&mut self, topic: &'static str, partition: i32, dir: &str) {
        let topics = vec![AlterReplicaLogDirTopic { name: topic.into(), partitions: vec![partition] }];
        let path = self.root.join(dir).display().to_string();
        let request =
            AlterReplicaLogDirsRequest { dirs: vec![AlterReplicaLogDir { path: path.into(), topics }] };
        let answer = self.peer.ask(2, &request).expect("an answer");
        let code = answer.results[0].partitions[0].error_code;
        self.note("move", &format!("{topic}-{partition} to {dir}: {code}"));
    }
}

fn story(peer: Peer, root: &Path) -> Vec<String> {
    let mut story = Story { peer, root, lines: Vec::new() };
    settle(&mut story.peer);
    story.wait_for_cordoned(&["second"]);
    make_topic(&mut story.peer, "early", 4, &[]);
    story.places("early");
    for broker in ["1", ""] {
        for value in ["/nowhere", "*,second", "second,second", "first,/nowhere", "first,,second", " first"] {
            story.configure(broker, SET, Some(value));
        }
        story.configure(broker, APPEND, Some("/nowhere"));
    }
    story.configure("1", DELETE, None);
    story.wait_for_cordoned(&["second"]);
    story.configure("1", SET, Some("first"));
    story.wait_for_cordoned(&["first"]);
    make_topic(&mut story.peer, "late", 4, &[]);
    story.places("late");
    // What is in a cordoned directory stays in use, and grows elsewhere.
    append(&mut story.peer, "early", 3, batch(2));
    story.grow("early", 6);
    crate::requests::ready(&mut story.peer, "early", 6);
    story.places("early");
    story.move_to("late", 0, "first");
    story.move_to("early", 0, "first");
    story.configure("1", SET, Some("*"));
    story.wait_for_cordoned(&["first", "second"]);
    // The controller hears of it from the broker.
    while story.peer.ask(7, &validate("probe")).expect("an answer").topics[0].error_code == 0 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    story.create(new_topic("nowhere", 1, &[]));
    let assignment = CreatableReplicaAssignment { partition_index: 0, broker_ids: vec![1] };
    let by_hand = new_topic("by-hand", -1, &[]);
    story.create(CreatableTopic { replication_factor: -1, assignments: vec![assignment], ..by_hand });
    story.grow("early", 7);
    story.configure("1", DELETE, None);
    story.wait_for_cordoned(&["second"]);
    while story.peer.ask(7, &validate("probe")).expect("an answer").topics[0].error_code != 0 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    make_topic(&mut story.peer, "again", 3, &[]);
    story.places("again");
    story.lines
}

fn validate(name: &str) -> ottla_protocol::messages::CreateTopicsRequest<'static> {
    let mut request = create(vec![new_topic(name, 1, &[])]);
    request.validate_only = true;
    request
}

#[test]
fn cordoned_directories_take_no_new_partitions_as_with_kafka() {
    let root = tempfile::tempdir().expect("a directory");
    let [first, second] = dirs(root.path());
    let own = Own::start(&[("log.dirs", &format!("{first},{second}")), ("cordoned.log.dirs", &second)]);
    let ours = story(Peer::new(own.address), root.path());
    let said = |line: &str| assert!(ours.iter().any(|found| found == line), "{line} is not in {ours:#?}");
    said("early: 0-first 1-first 2-first 3-first");
    said("late: 0-second 1-second 2-second 3-second");
    said("early: 0-first 1-first 2-first 3-first 4-second 5-second");
    said("again: 0-first 1-first 2-first");
    let root = tempfile::tempdir().expect("a directory");
    let [first, second] = dirs(root.path());
    let settings = [("log.dirs", &*format!("{first},{second}")), ("cordoned.log.dirs", &*second)];
    let Some(kafka) = Kafka::start(&settings) else { return };
    assert_eq!(ours, story(Peer::new(kafka.address), root.path()));
}
