//! A consumer group (KIP-848): a member that stays through all turns, one with an instance id that is away while the servers
//! change, one that comes and goes in each turn; and a group whose member subscribes by an expression.

use ottla_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use ottla_protocol::messages::{
    ApiKey, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, FindCoordinatorRequest,
};

use super::groups::{commit_with_epoch, is_ready};
use super::make_topic;
use crate::peer::Peer;

const TOPIC: &str = "consumed";
const GROUP: &str = "consuming";
const MATCHING: &str = "matching";
/// `4.0-IV3`.
const METADATA_OF_4_0: i16 = 25;

/// What a member knows of itself.
#[derive(Clone, Debug)]
struct Member {
    group: &'static str,
    id: String,
    instance: Option<&'static str>,
    epoch: i32,
    has: Vec<TopicPartitions>,
}

impl Member {
    fn new(group: &'static str, id: &str, instance: Option<&'static str>) -> Self {
        Self { group, id: id.to_owned(), instance, epoch: 0, has: Vec::new() }
    }

    fn partitions(&self) -> usize {
        self.has.iter().map(|topic| topic.partitions.len()).sum()
    }

    /// A heartbeat; takes over the epoch, and what is assigned.
    fn beat(&mut self, peer: &mut Peer) -> ConsumerGroupHeartbeatResponse<'static> {
        let joins = self.epoch == 0;
        let by_name = self.group == GROUP;
        let request = ConsumerGroupHeartbeatRequest {
            group_id: self.group.into(),
            member_id: self.id.clone().into(),
            member_epoch: self.epoch,
            instance_id: self.instance.map(Into::into),
            rebalance_timeout_ms: if joins { 300_000 } else { -1 },
            subscribed_topic_names: (joins && by_name).then(|| vec![TOPIC.into()]),
            subscribed_topic_regex: (joins && !by_name).then(|| "consum.*".into()),
            topic_partitions: Some(if joins { Vec::new() } else { self.has.clone() }),
            ..ConsumerGroupHeartbeatRequest::default()
        };
        let answer = peer.wait_for(1, &request, |answer| is_ready(answer.error_code));
        assert_eq!(answer.error_code, 0, "{self:?}: {answer:?}");
        self.epoch = answer.member_epoch;
        if let Some(assigned) = &answer.assignment {
            let topics = assigned.topic_partitions.iter().map(|topic| {
                let mut partitions = topic.partitions.clone();
                partitions.sort_unstable();
                TopicPartitions { topic_id: topic.topic_id, partitions }
            });
            self.has = topics.collect();
        }
        answer
    }

    /// Leaves for good, or for a while.
    fn leave(&self, peer: &mut Peer, epoch: i32) {
        let request = ConsumerGroupHeartbeatRequest {
            group_id: self.group.into(),
            member_id: self.id.clone().into(),
            member_epoch: epoch,
            instance_id: self.instance.map(Into::into),
            rebalance_timeout_ms: -1,
            ..ConsumerGroupHeartbeatRequest::default()
        };
        let answer = peer.ask(1, &request);
        assert_eq!((answer.error_code, answer.member_epoch), (0, epoch), "{self:?}");
    }
}

/// The members that last longer than a turn.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    staying: Option<Member>,
    away: Option<Member>,
    matching: Option<Member>,
}

impl Consumers {
    pub(crate) fn work(&mut self, peer: &mut Peer, turn: usize) {
        if turn == 1 {
            make_topic(peer, TOPIC, 6, &[]);
        }
        if !peer.serves(ApiKey::ConsumerGroupHeartbeat) {
            return;
        }
        for group in [GROUP, MATCHING] {
            let request = FindCoordinatorRequest {
                coordinator_keys: vec![group.into()],
                ..FindCoordinatorRequest::default()
            };
            peer.wait_for(4, &request, |answer| answer.coordinators[0].error_code == 0);
        }
        let mut staying = self.staying.take().unwrap_or_else(|| Member::new(GROUP, "staying", None));
        let (epoch, has) = (staying.epoch, staying.has.clone());
        staying.beat(peer);
        let mut away = Member::new(GROUP, &format!("instance of turn {turn}"), Some("instance"));
        away.beat(peer);
        if let Some(before) = self.away.take() {
            // Nothing has changed, so everybody has what they had.
            assert_eq!((&staying.has, &away.has), (&has, &before.has));
            // Kafka 4.0 knows no hash of the topics: between it and a later release a group begins a new epoch.
            if !peer.features().contains(&("metadata.version".to_owned(), METADATA_OF_4_0)) {
                assert_eq!((staying.epoch, away.epoch), (epoch, before.epoch));
            }
        }
        settle(peer, &mut [&mut staying, &mut away]);
        let mut passing = Member::new(GROUP, &format!("passing {turn}"), None);
        passing.beat(peer);
        settle(peer, &mut [&mut staying, &mut away, &mut passing]);
        let offset = i64::try_from(turn).expect("few");
        commit_with_epoch(peer, GROUP, (&passing.id, passing.epoch), 2, offset);
        passing.leave(peer, -1);
        settle(peer, &mut [&mut staying, &mut away]);
        commit_with_epoch(peer, GROUP, (&staying.id, staying.epoch), 0, offset);
        away.leave(peer, -2);
        let mut matching = self.matching.take().unwrap_or_else(|| Member::new(MATCHING, "matching", None));
        settle(peer, &mut [&mut matching]);
        (self.staying, self.away, self.matching) = (Some(staying), Some(away), Some(matching));
    }
}

/// Heartbeats until all members have the same epoch and an equal share of the six partitions.
fn settle(peer: &mut Peer, members: &mut [&mut Member]) {
    let begin = std::time::Instant::now();
    loop {
        for member in &mut *members {
            member.beat(peer);
        }
        let share = 6 / members.len();
        let epoch = members.iter().map(|member| member.epoch).max();
        if members.iter().all(|member| member.partitions() == share && Some(member.epoch) == epoch) {
            return;
        }
        assert!(begin.elapsed().as_secs() < 60, "not settled: {members:#?}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
