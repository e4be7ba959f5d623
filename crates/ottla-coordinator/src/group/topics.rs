//! What groups must know of the cluster's topics, and the hash by which they notice changes (`CoordinatorMetadataImage`,
//! KIP-848, `Utils.computeGroupHash`).

use std::fmt;
use std::sync::Arc;

use ottla_types::Uuid;
use twox_hash::XxHash3_64;

/// A topic as groups see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// The name.
    pub name: Arc<str>,
    /// The id.
    pub id: Uuid,
    /// How many partitions it has; they are numbered from 0.
    pub partitions: i32,
    /// Per partition the racks of its replicas; shorter when none is known.
    pub racks: Vec<Vec<String>>,
}

/// What a consumer group's members are told and held to: its own configuration over the broker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerSettings {
    /// `group.consumer.session.timeout.ms`: a member that is silent this long is removed.
    pub session_timeout_ms: i32,
    /// `group.consumer.heartbeat.interval.ms`: how often members shall send heartbeats.
    pub heartbeat_interval_ms: i32,
    /// `group.consumer.assignment.interval.ms`: the shortest time between two assignments.
    pub assignment_interval_ms: i32,
}

impl Default for ConsumerSettings {
    fn default() -> Self {
        Self { session_timeout_ms: 45_000, heartbeat_interval_ms: 5_000, assignment_interval_ms: 1_000 }
    }
}

/// The topics and the configuration of groups, as they are now.
pub trait ClusterView: fmt::Debug + Send + Sync {
    /// The topic with this name.
    fn by_name(&self, name: &str) -> Option<TopicInfo>;
    /// The topic with this id.
    fn by_id(&self, id: Uuid) -> Option<TopicInfo>;
    /// Calls `visit` with the name of each topic.
    fn visit_names(&self, visit: &mut dyn FnMut(&str));
    /// Grows with each change of the metadata: the offset of the image.
    fn version(&self) -> i64;
    /// What applies to the members of a consumer group.
    fn consumer_settings(&self, group: &str) -> ConsumerSettings;
}

/// No topics, before the first image is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTopics;

impl ClusterView for NoTopics {
    fn by_name(&self, _name: &str) -> Option<TopicInfo> {
        None
    }

    fn by_id(&self, _id: Uuid) -> Option<TopicInfo> {
        None
    }

    fn visit_names(&self, _visit: &mut dyn FnMut(&str)) {}

    fn version(&self) -> i64 {
        0
    }

    fn consumer_settings(&self, _group: &str) -> ConsumerSettings {
        ConsumerSettings::default()
    }
}

/// Bytes in the order in which Kafka's hash library feeds them to XXH3: numbers little-endian, a text as its UTF-16 units
/// followed by their count.
#[derive(Default)]
struct Feed(Vec<u8>);

impl Feed {
    fn int(&mut self, value: i32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn long(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        let before = self.0.len();
        text.encode_utf16().for_each(|unit| self.0.extend_from_slice(&unit.to_le_bytes()));
        self.int(length((self.0.len() - before) / 2));
    }

    fn hash(&self) -> u64 {
        XxHash3_64::oneshot(&self.0)
    }
}

fn length(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// The hash of one topic: its id, name, partitions and their racks.
pub(crate) fn topic_hash(topic: &TopicInfo) -> u64 {
    let bytes = u128::from_be_bytes(*topic.id.as_bytes());
    let mut feed = Feed::default();
    feed.0.push(0);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the id")]
    for half in [(bytes >> 64) as u64, bytes as u64] {
        feed.long(half);
    }
    feed.text(&topic.name);
    feed.int(topic.partitions);
    for partition in 0..topic.partitions {
        feed.int(partition);
        let index = usize::try_from(partition).unwrap_or(0);
        let mut racks = topic.racks.get(index).cloned().unwrap_or_default();
        racks.sort_unstable();
        for rack in racks {
            feed.int(length(rack.encode_utf16().count()));
            feed.text(&rack);
        }
    }
    feed.hash()
}

/// The hash of what a group subscribes to: of the topics that exist, in the order of their names. 0 when there are none.
pub fn metadata_hash<'a>(names: impl Iterator<Item = &'a str>, topics: &dyn ClusterView) -> i64 {
    let mut known: Vec<TopicInfo> = names.filter_map(|name| topics.by_name(name)).collect();
    if known.is_empty() {
        return 0;
    }
    known.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let mut feed = Feed::default();
    known.iter().for_each(|topic| feed.long(topic_hash(topic)));
    feed.hash().cast_signed()
}
