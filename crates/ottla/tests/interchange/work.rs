//! What is done on each server, and what must be the same afterwards on the next.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use ottla_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use ottla_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ottla_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use ottla_protocol::messages::delete_topics_request::DeleteTopicState;
use ottla_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::{
    AlterClientQuotasRequest, ApiKey, CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest,
    DeleteTopicsRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest, MetadataRequest,
    ProduceRequest,
};
use ottla_record::{BatchBuilder, Compression, Header};
use ottla_types::{ProducerEpoch, ProducerId, Sequence, Uuid};

use crate::check_dir;
use crate::dump;
use crate::peer::Peer;
use crate::server::{Kind, Release, Server, Site};
use crate::view::{COMPACTED, View};

mod cleaning;
mod consumers;
pub(crate) mod decided;
mod groups;
mod open;
mod transactions;

/// The time of the first record with a time of its own.
const T0: i64 = 1_700_000_000_000;

const PLAIN: &str = "plain";
/// The partition that gets a torn tail.
const TORN: &str = "plain-1";
const STAMPED: &str = "stamped";
const RECODED: &str = "recoded";
const ROLLED: &str = "rolled";
const SEQUENCED: &str = "sequenced";

/// Words in the servers' logs for what must not happen after a clean stop: Kafka's, then ours.
const COMPLAINTS: [&str; 12] = [
    "Recovering unflushed segment",
    "no clean shutdown file was found",
    "orrupt",
    "tray ",
    "UNCLEAN",
    "Found invalid",
    "Truncating",
    "recovering",
    "bytes off the end of segment",
    "and rebuilt its indexes",
    "rebuilt the producers' state",
    "removed the segments",
];

const DUPLICATE_SEQUENCE_NUMBER: i16 = 46;
const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;

/// An idempotent producer that lives longer than the servers.
#[derive(Clone, Copy, Debug)]
struct Producer {
    id: i64,
    epoch: i16,
    next: i32,
    /// Base sequence and offset of the last batch.
    last: (i32, i64),
}

/// One server after the other on a site.
#[derive(Debug)]
pub(crate) struct Turn {
    site: Site,
    count: usize,
    server: Option<Server>,
    /// Whether the last stop was an orderly one.
    clean: bool,
    view: View,
    producer: Option<Producer>,
    groups: groups::Members,
    transactions: transactions::Transactions,
    consumers: consumers::Consumers,
    open: open::Open,
}

impl Turn {
    pub(crate) fn first(site: Site) -> Self {
        Self {
            site,
            count: 0,
            server: None,
            clean: true,
            view: View::default(),
            producer: None,
            groups: groups::Members::default(),
            transactions: transactions::Transactions::default(),
            consumers: consumers::Consumers::default(),
            open: open::Open::default(),
        }
    }

    pub(crate) fn run_kafka(&mut self, release: Release) -> &mut Self {
        self.count += 1;
        self.server = Some(self.site.start_kafka(release, self.count));
        self
    }

    pub(crate) fn run_ottla(&mut self) -> &mut Self {
        self.count += 1;
        self.server = Some(self.site.start_ottla(self.count));
        self
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("a server has its turn")
    }

    /// Finds everything as the last server left it, and adds to it.
    pub(crate) fn works(&mut self) -> &mut Self {
        let when = format!("turn {} ({:?})", self.count, self.server().kind);
        let mut peer = self.site.peer();
        if self.count > 1 {
            let seen = View::of(&mut peer, &self.view);
            seen.assert_is(&self.view, &when);
            self.check_log();
        }
        self.write(&mut peer);
        self.view = View::of(&mut peer, &self.view);
        let expected = self.count * 15;
        assert_eq!(
            self.view.records("plain-0").len(),
            expected,
            "{when}: {:#?}",
            self.view.records("plain-0")
        );
        self
    }

    /// What the server says about the directory that it found.
    fn check_log(&self) {
        let said = self.server().said();
        // The metadata log is read anew at each start, by both.
        let suspicious = |line: &&str| {
            let about_data = !line.contains("__cluster_metadata") && !line.contains("metadata log");
            about_data && COMPLAINTS.iter().any(|words| line.contains(words))
        };
        let complaints: Vec<&str> = said.lines().filter(suspicious).collect();
        if self.clean {
            assert!(complaints.is_empty(), "turn {}: after a clean stop: {complaints:#?}", self.count);
            let skips = said.matches("since clean shutdown file was found").count();
            assert!(self.server().kind == Kind::Ottla || skips > 0, "turn {}: {said}", self.count);
        } else {
            assert!(!complaints.is_empty(), "turn {}: recovered in silence: {said}", self.count);
            assert!(!complaints.iter().any(|line| line.contains("tray ")), "{complaints:#?}");
        }
    }

    pub(crate) fn stops(&mut self) {
        check_dir::in_use(&self.site);
        self.server.take().expect("a server").stop();
        self.clean = true;
        check_dir::opens(&self.site, self.clean, None);
    }

    pub(crate) fn is_killed(&mut self) {
        self.server.take().expect("a server").kill();
        self.clean = false;
        check_dir::opens(&self.site, self.clean, None);
    }

    /// Half a batch at the end of a log, as a crash leaves it.
    pub(crate) fn tear_a_tail(&mut self) {
        let logs = segments(&self.site, TORN);
        let newest = logs.last().expect("a segment");
        let mut batch = BatchBuilder::new();
        batch.append(T0, None, Some(&[7; 100]), &[]).expect("a record");
        let bytes = batch.build().expect("a batch");
        let mut file = fs::File::options().append(true).open(newest).expect("a segment");
        file.write_all(&bytes[..bytes.len() - 9]).expect("a writable segment");
        check_dir::opens(&self.site, self.clean, Some((TORN, bytes.len() - 9)));
    }

    /// Everything that is left is as Kafka's own tool wants it.
    pub(crate) fn finish(&self) {
        dump::check(&self.site);
    }

    fn write(&mut self, peer: &mut Peer) {
        if self.count == 1 {
            make_topics(peer);
            alter_quotas(peer);
        }
        self.change_topics(peer);
        self.change_configs(peer);
        for (index, codec) in [Compression::None, Compression::Gzip, Compression::Snappy].iter().enumerate() {
            let index = i32::try_from(index).expect("few");
            produce(peer, PLAIN, index, self.records(*codec, "a"));
            produce(peer, PLAIN, index, self.records(Compression::Lz4, "b"));
            produce(peer, PLAIN, index, self.records(Compression::Zstd, "c"));
        }
        for topic in [STAMPED, RECODED, COMPACTED] {
            produce(peer, topic, 0, self.records(Compression::None, "d"));
            produce(peer, topic, 0, self.records(Compression::Gzip, "e"));
        }
        for _ in 0..6 {
            let mut batch = BatchBuilder::new();
            batch.append(T0, None, Some(&[b'x'; 300_000]), &[]).expect("a record");
            produce(peer, ROLLED, 0, batch.build().expect("a batch"));
        }
        if self.count == 1 {
            // Not before a kill: the start of a log is in a checkpoint that both write once a minute and at a stop.
            let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset: 7 }];
            let topics = vec![DeleteRecordsTopic { name: STAMPED.into(), partitions }];
            let answer = peer.ask(2, &DeleteRecordsRequest { topics, timeout_ms: 10_000 });
            assert_eq!(answer.topics[0].partitions[0].error_code, 0, "{answer:?}");
        }
        cleaning::work(peer, self.count);
        self.sequence(peer);
        self.groups.work(peer, self.count);
        self.consumers.work(peer, self.count);
        self.transactions.work(peer, self.count);
        self.open.work(peer, self.count);
    }

    /// Five records: keys that come again, headers, nulls, times that differ.
    fn records(&self, codec: Compression, name: &str) -> Vec<u8> {
        let mut batch = BatchBuilder::new().codec(codec);
        let turn = self.count;
        for i in 0..5 {
            let (key, value) = (format!("key {name} {i}"), format!("turn {turn} {name} record {i}"));
            let time = T0 + i64::try_from(turn).expect("few") * 1000 + i;
            let turn = turn.to_string();
            let headers = [Header::new("turn", Some(turn.as_bytes())), Header::new("null", None)];
            let value = (i != 3).then_some(value.as_bytes());
            batch
                .append(time, Some(key.as_bytes()), value, &headers[..usize::from(i != 1) * 2])
                .expect("a record");
        }
        batch.build().expect("a batch")
    }

    /// A topic per turn, one that goes again, and one that grows.
    fn change_topics(&self, peer: &mut Peer) {
        let turn = self.count;
        make_topic(peer, &format!("made-{turn}"), 1, &[]);
        let gone = format!("gone-{turn}");
        make_topic(peer, &gone, 2, &[]);
        produce(peer, &gone, 0, self.records(Compression::None, "gone"));
        let topics = vec![DeleteTopicState { name: Some(gone.into()), topic_id: Uuid::ZERO }];
        let answer = peer.ask(6, &DeleteTopicsRequest { topics, timeout_ms: 10_000, ..Default::default() });
        assert_eq!(answer.responses[0].error_code, 0, "{answer:?}");
        if turn > 1 {
            let count = 1 + i32::try_from(turn).expect("few");
            let topics = vec![CreatePartitionsTopic { name: "growing".into(), count, assignments: None }];
            let answer =
                peer.ask(3, &CreatePartitionsRequest { topics, timeout_ms: 10_000, validate_only: false });
            assert_eq!(answer.results[0].error_code, 0, "{answer:?}");
            wait_for_partitions(peer, "growing", count);
        }
    }

    fn change_configs(&self, peer: &mut Peer) {
        let turn = self.count;
        let set = |kind: i8, name: &str, key: &str, value: Option<String>| AlterConfigsResource {
            resource_type: kind,
            resource_name: name.to_owned().into(),
            configs: vec![AlterableConfig {
                name: key.to_owned().into(),
                config_operation: i8::from(value.is_none()),
                value: value.map(Into::into),
            }],
        };
        let mut resources = vec![
            set(2, PLAIN, "max.message.bytes", Some((1_000_000 + turn).to_string())),
            set(4, "", "log.cleaner.threads", Some((1 + turn % 2).to_string())),
            set(4, "1", "log.segment.delete.delay.ms", Some((60_000 + turn).to_string())),
        ];
        if turn == 3 {
            resources.push(set(2, ROLLED, "index.interval.bytes", None));
        }
        let answer = peer.ask(1, &IncrementalAlterConfigsRequest { resources, validate_only: false });
        assert!(answer.responses.iter().all(|one| one.error_code == 0), "{answer:?}");
    }

    /// The producer goes on where it was: a batch that comes again is not appended again, a gap is refused.
    fn sequence(&mut self, peer: &mut Peer) {
        let producer = self.producer.get_or_insert_with(|| {
            let request = InitProducerIdRequest {
                transactional_id: None,
                transaction_timeout_ms: 60_000,
                producer_id: -1,
                producer_epoch: -1,
                ..InitProducerIdRequest::default()
            };
            let given = peer.wait_for(4, &request, |answer| answer.error_code == 0);
            Producer { id: given.producer_id, epoch: given.producer_epoch, next: 0, last: (-1, -1) }
        });
        let batch = |first: i32| {
            let mut batch = BatchBuilder::new().producer(
                ProducerId(producer.id),
                ProducerEpoch(producer.epoch),
                Sequence(first),
            );
            // A producer whose newest record is a day old is forgotten.
            for i in first..first + 3 {
                batch
                    .append(now_ms(), None, Some(format!("sequence {i}").as_bytes()), &[])
                    .expect("a record");
            }
            batch.build().expect("a batch")
        };
        let (last, base) = producer.last;
        if last >= 0 {
            let (error, offset) = try_produce(peer, SEQUENCED, 0, batch(last));
            let is_known = error == DUPLICATE_SEQUENCE_NUMBER || (error == 0 && offset == base);
            assert!(is_known, "the last batch again: error {error}, offset {offset}, first at {base}");
            let (error, _) = try_produce(peer, SEQUENCED, 0, batch(producer.next + 3));
            assert_eq!(error, OUT_OF_ORDER_SEQUENCE_NUMBER, "a gap");
        }
        for _ in 0..2 {
            let (error, offset) = try_produce(peer, SEQUENCED, 0, batch(producer.next));
            assert_eq!((error, offset), (0, i64::from(producer.next)), "the next batch");
            producer.last = (producer.next, offset);
            producer.next += 3;
        }
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    i64::try_from(since.as_millis()).expect("a time before the end of time")
}

/// The segment files of a partition, oldest first.
fn segments(site: &Site, partition: &str) -> Vec<PathBuf> {
    let dirs = site.dirs();
    let files = dirs.iter().filter_map(|dir| fs::read_dir(dir.join(partition)).ok()).flatten().flatten();
    let mut logs: Vec<PathBuf> =
        files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    logs.sort();
    logs
}

fn make_topics(peer: &mut Peer) {
    make_topic(peer, PLAIN, 3, &[]);
    make_topic(peer, STAMPED, 1, &[("message.timestamp.type", "LogAppendTime")]);
    make_topic(peer, RECODED, 1, &[("compression.type", "zstd")]);
    make_topic(peer, ROLLED, 1, &[("segment.bytes", "1048576"), ("index.interval.bytes", "100")]);
    make_topic(peer, SEQUENCED, 1, &[]);
    make_topic(peer, COMPACTED, 1, &[("cleanup.policy", "compact")]);
    make_topic(peer, "growing", 2, &[]);
}

fn make_topic(peer: &mut Peer, name: &str, partitions: i32, configs: &[(&str, &str)]) {
    let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
        name: (*name).to_owned().into(),
        value: Some((*value).to_owned().into()),
    };
    let topic = CreatableTopic {
        name: name.to_owned().into(),
        num_partitions: partitions,
        replication_factor: 1,
        configs: configs.iter().map(config).collect(),
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, validate_only: false };
    let made = peer.ask(7, &request);
    assert_eq!(made.topics[0].error_code, 0, "{made:?}");
    wait_for_partitions(peer, name, partitions);
}

fn wait_for_partitions(peer: &mut Peer, name: &str, partitions: i32) {
    let request = MetadataRequest { topics: None, ..MetadataRequest::default() };
    peer.wait_for(12, &request, |answer| {
        let topic = answer.topics.iter().find(|topic| topic.name.as_deref() == Some(name));
        topic.is_some_and(|topic| {
            topic.partitions.len() == usize::try_from(partitions).expect("few")
                && topic.partitions.iter().all(|partition| partition.leader_id == 1)
        })
    });
    for index in 0..partitions {
        crate::view::offset_of(peer, name, index, -1);
    }
}

/// Client quotas, where they are served.
fn alter_quotas(peer: &mut Peer) {
    if !peer.serves(ApiKey::AlterClientQuotas) {
        return;
    }
    let entity = |kind: &'static str, name: Option<&'static str>| EntityData {
        entity_type: kind.into(),
        entity_name: name.map(Into::into),
    };
    let quota = |entity, key: &'static str, value| EntryData {
        entity,
        ops: vec![OpData { key: key.into(), value, remove: false }],
    };
    let entries = vec![
        quota(vec![entity("client-id", Some("slow"))], "producer_byte_rate", 1024.0),
        quota(vec![entity("client-id", None)], "consumer_byte_rate", 1e9),
        quota(vec![entity("user", Some("u")), entity("client-id", Some("c"))], "request_percentage", 50.5),
    ];
    let answer = peer.ask(1, &AlterClientQuotasRequest { entries, validate_only: false });
    assert!(answer.entries.iter().all(|entry| entry.error_code == 0), "{answer:?}");
}

/// Error and base offset.
fn try_produce(peer: &mut Peer, topic: &str, index: i32, records: Vec<u8>) -> (i16, i64) {
    try_produce_as(peer, None, topic, index, records)
}

fn try_produce_as(
    peer: &mut Peer,
    transactional_id: Option<&str>,
    topic: &str,
    index: i32,
    records: Vec<u8>,
) -> (i16, i64) {
    produce_in(peer, 9, transactional_id, topic, index, records)
}

fn produce_in(
    peer: &mut Peer,
    version: i16,
    transactional_id: Option<&str>,
    topic: &str,
    index: i32,
    records: Vec<u8>,
) -> (i16, i64) {
    let request = ProduceRequest {
        transactional_id: transactional_id.map(|id| id.to_owned().into()),
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: topic.to_owned().into(),
            topic_id: Uuid::ZERO,
            partition_data: vec![PartitionProduceData { index, records: Some(records.into()) }],
        }],
    };
    let answer = peer.ask(version, &request);
    let partition = &answer.responses[0].partition_responses[0];
    (partition.error_code, partition.base_offset)
}

fn produce(peer: &mut Peer, topic: &str, index: i32, records: Vec<u8>) {
    let (error, _) = try_produce(peer, topic, index, records);
    assert_eq!(error, 0, "producing to {topic}-{index}");
}
