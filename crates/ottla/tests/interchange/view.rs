//! Everything that a client can see of a cluster, in a form that is the same whoever serves it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Debug;

use ottla_protocol::messages::describe_configs_request::DescribeConfigsResource;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ottla_protocol::messages::{
    ApiKey, ConsumerGroupDescribeRequest, DescribeClientQuotasRequest, DescribeConfigsRequest,
    DescribeGroupsRequest, DescribeTransactionsRequest, FetchRequest, ListGroupsRequest, ListOffsetsRequest,
    ListTransactionsRequest, MetadataRequest, OffsetFetchRequest,
};
use ottla_record::{BatchView, Batches, RecordView};
use ottla_types::Uuid;

use crate::peer::Peer;

/// The topic whose old values may vanish.
pub(crate) const COMPACTED: &str = "compacted";

/// Of each thing, what is seen of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View(BTreeMap<String, Vec<String>>);

/// Sources of configuration values that live in the metadata log: topic, broker, default of all brokers.
const DYNAMIC: [i8; 3] = [1, 2, 3];

impl View {
    /// Looks at everything. What the server does not serve is taken over from `before`.
    pub(crate) fn of(peer: &mut Peer, before: &Self) -> Self {
        let mut view = Self::default();
        let features = peer.features();
        view.see("features", features.iter().map(|(name, level)| format!("{name}={level}")).collect());
        for topic in topics(peer) {
            let kind = if topic.is_internal { "internal topic" } else { "topic" };
            let about = format!("id {}, {} partitions", topic.id, topic.partitions);
            view.see(&format!("{kind} {}", topic.name), vec![about]);
            let configs = configs(peer, 2, &topic.name);
            view.see(&format!("configs of topic {}", topic.name), configs);
            if !topic.is_internal {
                for index in 0..topic.partitions {
                    view.see_partition(peer, &topic, index);
                }
            }
        }
        for broker in ["", "1"] {
            view.see(&format!("configs of broker '{broker}'"), configs(peer, 4, broker));
        }
        view.see_groups(peer, before.count("groups"));
        if peer.serves(ApiKey::DescribeClientQuotas) {
            view.see("client quotas", quotas(peer));
        } else {
            view.take_over(before, "client quotas");
        }
        if peer.serves(ApiKey::ListTransactions) {
            let expected = before.count("transactions");
            let request = ListTransactionsRequest::default();
            let found = peer.wait_for(0, &request, |answer| answer.transaction_states.len() >= expected);
            let ids: Vec<_> =
                found.transaction_states.iter().map(|txn| txn.transactional_id.clone()).collect();
            view.see("transactions", ids.into_iter().map(|id| transaction(peer, id)).collect());
        } else {
            view.take_over(before, "transactions");
        }
        view
    }

    fn see(&mut self, what: &str, mut lines: Vec<String>) {
        if !what.contains(" records ") {
            lines.sort();
        }
        self.0.insert(what.to_owned(), lines);
    }

    fn take_over(&mut self, before: &Self, what: &str) {
        self.0.extend(before.0.get_key_value(what).map(|(what, lines)| (what.clone(), lines.clone())));
    }

    fn see_partition(&mut self, peer: &mut Peer, topic: &Topic, index: i32) {
        let name = format!("{}-{index}", topic.name);
        // A new leader knows its high watermark a moment later, and says so when asked for the end.
        offset_of(peer, &topic.name, index, -1);
        let start = offset_of(peer, &topic.name, index, -2);
        for isolation in [0, 1] {
            let read = read(peer, topic, index, start, isolation);
            let ends = format!(
                "from {start}, stable up to {}, high watermark {}, aborted {:?}",
                read.stable, read.end, read.aborted
            );
            self.see(&format!("{name} offsets at isolation {isolation}"), vec![ends]);
            let lines = if topic.name == COMPACTED { latest(read.records) } else { plain(read.records) };
            self.see(&format!("{name} records at isolation {isolation}"), lines);
        }
    }

    fn count(&self, what: &str) -> usize {
        self.0.get(what).map_or(0, Vec::len)
    }

    /// `expected`: coordinators load for a while after the start, and list what they have loaded.
    fn see_groups(&mut self, peer: &mut Peer, expected: usize) {
        let request = ListGroupsRequest::default();
        let groups = peer.wait_for(5, &request, |answer| answer.groups.len() >= expected).groups;
        self.see("groups", groups.iter().map(|group| format!("{group:?}")).collect());
        for group in groups {
            let offsets = offsets_of_group(peer, &group.group_id);
            self.see(&format!("offsets of group {}", group.group_id), offsets);
            if group.group_type == "classic" {
                let groups = vec![group.group_id.clone()];
                let request = DescribeGroupsRequest { groups, include_authorized_operations: false };
                let described = peer.ask(5, &request).groups;
                self.see(&format!("group {}", group.group_id), described.iter().map(debug).collect());
            }
            if group.group_type == "consumer" {
                let lines = consumer_group(peer, group.group_id.clone());
                self.see(&format!("group {}", group.group_id), lines);
            }
        }
    }

    /// Insists that nothing was lost and nothing came.
    pub(crate) fn assert_is(&self, before: &Self, when: &str) {
        let mut differences = Vec::new();
        let mut names: Vec<&String> = self.0.keys().chain(before.0.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let lines = |view: &Self| view.0.get(name).cloned().unwrap_or_default();
            let (was, is) = (lines(before), lines(self));
            if was != is {
                let gone: Vec<_> = was.iter().filter(|line| !is.contains(line)).take(5).collect();
                let new: Vec<_> = is.iter().filter(|line| !was.contains(line)).take(5).collect();
                differences.push(format!(
                    "{name}: was {} lines, is {}\n  gone {gone:#?}\n  new  {new:#?}",
                    was.len(),
                    is.len()
                ));
            }
        }
        assert!(differences.is_empty(), "{when}:\n{}", differences.join("\n"));
    }

    /// The records of a partition, as lines.
    pub(crate) fn records(&self, partition: &str) -> &[String] {
        self.0.get(&format!("{partition} records at isolation 0")).map_or(&[], Vec::as_slice)
    }
}

fn debug(value: &impl Debug) -> String {
    format!("{value:?}")
}

/// The group's epochs, and each member with what it has and shall have.
fn consumer_group(peer: &mut Peer, group: Cow<'static, str>) -> Vec<String> {
    let request =
        ConsumerGroupDescribeRequest { group_ids: vec![group], include_authorized_operations: false };
    let answer = peer.wait_for(1, &request, |answer| answer.groups[0].error_code == 0);
    let mut group = answer.groups.into_iter().next().expect("one was asked for");
    for member in &mut group.members {
        for assignment in [&mut member.assignment, &mut member.target_assignment] {
            assignment.topic_partitions.sort_by(|a, b| a.topic_name.cmp(&b.topic_name));
            assignment.topic_partitions.iter_mut().for_each(|topic| topic.partitions.sort_unstable());
        }
    }
    let members: Vec<_> = std::mem::take(&mut group.members).iter().map(debug).collect();
    [debug(&group)].into_iter().chain(members).collect()
}

fn transaction(peer: &mut Peer, id: Cow<'static, str>) -> String {
    let request = DescribeTransactionsRequest { transactional_ids: vec![id] };
    let answer = peer.wait_for(0, &request, |answer| answer.transaction_states[0].error_code == 0);
    let mut found = answer.transaction_states.into_iter().next().expect("one was asked for");
    found.topics.sort_by(|a, b| a.topic.cmp(&b.topic));
    if found.transaction_state != "Ongoing" {
        // Kafka 4.0 goes on showing the start of what has ended, but does not store it.
        found.transaction_start_time_ms = -1;
    }
    debug(&found)
}

/// Last stable offset and high watermark of a topic's only partition.
pub(crate) fn ends(peer: &mut Peer, topic: &str) -> (i64, i64) {
    let read = read_by_name(peer, topic, 1);
    (read.stable, read.end)
}

/// The records of a topic's only partition whose transactions are committed, as lines.
pub(crate) fn committed(peer: &mut Peer, topic: &str) -> Vec<String> {
    let read = read_by_name(peer, topic, 1);
    let aborted = |record: &Detail| {
        read.aborted.iter().any(|(producer, first)| *producer == record.producer && *first == record.offset)
    };
    let lines = read.records.iter().zip(&read.details);
    lines
        .filter(|(_, details)| !details.control && !aborted(details))
        .map(|((_, line), _)| line.clone())
        .collect()
}

/// What compaction has left of a topic's only partition.
pub(crate) fn cleaned(peer: &mut Peer, topic: &str) -> Vec<Detail> {
    read_by_name(peer, topic, 0).details
}

fn read_by_name(peer: &mut Peer, name: &str, isolation_level: i8) -> Read {
    let topic = topics(peer).into_iter().find(|topic| topic.name == name).expect("the topic");
    let start = offset_of(peer, name, 0, -2);
    read(peer, &topic, 0, start, isolation_level)
}

/// A topic, as Metadata shows it.
#[derive(Clone, Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: Uuid,
    pub(crate) partitions: i32,
    pub(crate) is_internal: bool,
}

/// All topics, as soon as all their partitions have a leader.
pub(crate) fn topics(peer: &mut Peer) -> Vec<Topic> {
    let request = MetadataRequest { topics: None, ..MetadataRequest::default() };
    let answer = peer.wait_for(12, &request, |answer| {
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        !answer.brokers.is_empty() && partitions.clone().all(|p| p.leader_id == 1 && p.error_code == 0)
    });
    let topics = answer.topics.into_iter().map(|topic| Topic {
        name: topic.name.expect("a name").into_owned(),
        id: topic.topic_id,
        partitions: i32::try_from(topic.partitions.len()).expect("few"),
        is_internal: topic.is_internal,
    });
    topics.collect()
}

fn configs(peer: &mut Peer, kind: i8, name: &str) -> Vec<String> {
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.to_owned().into(),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..DescribeConfigsRequest::default() };
    let answer = peer.ask(4, &request);
    let found = answer.results.iter().flat_map(|result| &result.configs);
    let dynamic = found.filter(|config| DYNAMIC.contains(&config.config_source));
    dynamic
        .map(|config| {
            let value = config.value.as_deref().unwrap_or("null");
            format!("{}={value} from {}", config.name, config.config_source)
        })
        .collect()
}

fn quotas(peer: &mut Peer) -> Vec<String> {
    let answer = peer.ask(1, &DescribeClientQuotasRequest::default());
    assert_eq!(answer.error_code, 0, "{answer:?}");
    let entries = answer.entries.unwrap_or_default().into_iter().map(|mut entry| {
        entry.entity.sort_by(|a, b| a.entity_type.cmp(&b.entity_type));
        entry.values.sort_by(|a, b| a.key.cmp(&b.key));
        format!("{entry:?}")
    });
    entries.collect()
}

fn offsets_of_group(peer: &mut Peer, group: &str) -> Vec<String> {
    let group = OffsetFetchRequestGroup {
        group_id: group.to_owned().into(),
        member_epoch: -1,
        topics: None,
        ..OffsetFetchRequestGroup::default()
    };
    let request = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
    let answer = peer.wait_for(8, &request, |answer| answer.groups[0].error_code == 0);
    let mut lines = Vec::new();
    for topic in &answer.groups[0].topics {
        lines.extend(topic.partitions.iter().map(|partition| format!("{} {partition:?}", topic.name)));
    }
    lines
}

/// ListOffsets, as soon as the partition can be asked.
pub(crate) fn offset_of(peer: &mut Peer, topic: &str, index: i32, timestamp: i64) -> i64 {
    let partition =
        ListOffsetsPartition { partition_index: index, timestamp, ..ListOffsetsPartition::default() };
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic { name: topic.to_owned().into(), partitions: vec![partition] }],
        timeout_ms: 5000,
        ..ListOffsetsRequest::default()
    };
    let answer = peer.wait_for(5, &request, |answer| answer.topics[0].partitions[0].error_code == 0);
    answer.topics[0].partitions[0].offset
}

#[derive(Debug, Default)]
struct Read {
    stable: i64,
    end: i64,
    /// Producer ids and first offsets.
    aborted: Vec<(i64, i64)>,
    /// Key, and everything about it.
    records: Vec<(String, String)>,
    /// Of the same records.
    details: Vec<Detail>,
}

/// Where a record is, and what its batch says of it.
#[derive(Debug)]
pub(crate) struct Detail {
    pub(crate) offset: i64,
    pub(crate) key: String,
    /// When the tombstones of its batch may go.
    pub(crate) horizon: Option<i64>,
    producer: i64,
    control: bool,
}

impl Read {
    fn add(&mut self, batch: &BatchView<'_>, record: &RecordView<'_>) {
        let header = batch.header();
        let headers: Vec<_> = record.headers.map(|h| (h.key_text().into_owned(), h.value)).collect();
        let text = |bytes: Option<&[u8]>| match bytes {
            Some(bytes) if bytes.len() > 60 => {
                format!("{} bytes, checksum {:x}", bytes.len(), ottla_record::crc32c(bytes))
            }
            other => format!("{:?}", other.map(String::from_utf8_lossy)),
        };
        let horizon = batch.delete_horizon_ms();
        self.details.push(Detail {
            offset: record.offset.0,
            key: String::from_utf8_lossy(record.key.unwrap_or_default()).into_owned(),
            horizon,
            producer: header.producer_id().0,
            control: header.attributes().is_control(),
        });
        let line = format!(
            "{} {:?} {} {:?} {} => {} {headers:?} producer {} {} {} horizon {horizon:?}",
            record.offset,
            header.timestamp_type(),
            record.timestamp,
            header.attributes().compression(),
            text(record.key),
            text(record.value),
            header.producer_id(),
            header.producer_epoch(),
            record.sequence,
        );
        self.records.push((text(record.key), line));
    }
}

/// All records from an offset to the end.
fn read(peer: &mut Peer, topic: &Topic, index: i32, start: i64, isolation_level: i8) -> Read {
    let mut read = Read::default();
    let mut at = start;
    loop {
        let partition = FetchPartition {
            partition: index,
            current_leader_epoch: -1,
            fetch_offset: at,
            last_fetched_epoch: -1,
            partition_max_bytes: 1 << 20,
            ..FetchPartition::default()
        };
        let topics = vec![FetchTopic { topic: "".into(), topic_id: topic.id, partitions: vec![partition] }];
        let request = FetchRequest {
            max_bytes: 4 << 20,
            isolation_level,
            session_epoch: -1,
            topics,
            ..FetchRequest::default()
        };
        // An append may be acknowledged a moment before the high watermark is told to others.
        let answer = peer.wait_for(13, &request, |answer| answer.responses[0].partitions[0].error_code == 0);
        let data = &answer.responses[0].partitions[0];
        (read.stable, read.end) = (data.last_stable_offset, data.high_watermark);
        for aborted in data.aborted_transactions.iter().flatten() {
            let aborted = (aborted.producer_id, aborted.first_offset);
            if !read.aborted.contains(&aborted) {
                read.aborted.push(aborted);
            }
        }
        let bytes = data.records.as_ref().and_then(|records| records.as_slice()).unwrap_or_default();
        let before = at;
        for batch in Batches::new(bytes).map_while(Result::ok) {
            batch.verify_crc().expect("a good checksum");
            at = batch.next_offset().0;
            let mut records = batch.records().expect("records");
            while let Some(record) = records.try_next().expect("a record") {
                if record.offset.0 < start {
                    continue;
                }
                read.add(&batch, &record);
            }
        }
        if at == before {
            return read;
        }
    }
}

fn plain(records: Vec<(String, String)>) -> Vec<String> {
    records.into_iter().map(|(_, line)| line).collect()
}

/// The newest record of each key.
fn latest(records: Vec<(String, String)>) -> Vec<String> {
    records.into_iter().collect::<BTreeMap<_, _>>().into_values().collect()
}
