//! ListOffsets and OffsetForLeaderEpoch.

use ottla_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use ottla_protocol::messages::{ListOffsetsRequest, OffsetForLeaderEpochRequest};
use ottla_record::{BatchBuilder, Compression};

use crate::client::{Peer, versions};
use crate::requests::{T0, append, fill, list_offsets, make_topic};

pub(crate) fn script(peer: &mut Peer) {
    make_topic(peer, "timed", 2, &[]);
    append(peer, "timed", 0, fill(BatchBuilder::new(), 5, T0));
    append(peer, "timed", 0, fill(BatchBuilder::new().codec(Compression::Zstd), 5, T0 + 1000));
    append(peer, "timed", 0, fill(BatchBuilder::new(), 5, T0 + 500));
    by_time(peer);
    by_epoch(peer);
}

fn by_time(peer: &mut Peer) {
    for version in versions::<ListOffsetsRequest<'_>>() {
        for isolation_level in 0..=i8::from(version >= 2) {
            for (case, timestamp) in [
                ("latest", -1),
                ("earliest", -2),
                ("largest timestamp", -3),
                ("earliest local", -4),
                ("latest tiered", -5),
                ("earliest not tiered", -6),
                ("no such special offset", -7),
                ("before all", 0),
                ("exactly the first", T0),
                ("exactly", T0 + 3),
                ("between", T0 + 100),
                ("exactly in the second batch", T0 + 1002),
                ("the latest time", T0 + 1004),
                ("after all", T0 + 5000),
            ] {
                let wanted = &[(0, timestamp), (1, timestamp)];
                let request = ListOffsetsRequest { isolation_level, ..list_offsets("timed", wanted) };
                peer.call(version, &format!("{case}, isolation {isolation_level}"), &request);
            }
        }
        peer.call(version, "unknown", &list_offsets("timed-none", &[(0, -1)]));
        peer.call(version, "invalid topic", &list_offsets("a b", &[(0, -1)]));
        peer.call(version, "unknown partition", &list_offsets("timed", &[(5, -1), (-1, -1), (0, -1)]));
        peer.call(version, "named twice", &list_offsets("timed", &[(0, -1), (0, -2), (1, -1)]));
        peer.call(version, "nothing", &ListOffsetsRequest { topics: Vec::new(), ..list_offsets("", &[]) });
        let mut replica = list_offsets("timed", &[(0, -1), (0, T0)]);
        replica.topics[0].partitions.truncate(1);
        for (case, replica_id) in [("as a replica", 7), ("as the debugging consumer", -2)] {
            peer.call(version, case, &ListOffsetsRequest { replica_id, ..replica.clone() });
        }
        if version < 4 {
            continue;
        }
        for (case, epoch) in [("epoch current", 0), ("epoch of the future", 3), ("epoch unknown", -1)] {
            let mut request = list_offsets("timed", &[(0, -1)]);
            request.topics[0].partitions[0].current_leader_epoch = epoch;
            peer.call(version, case, &request);
        }
    }
}

fn by_epoch(peer: &mut Peer) {
    for version in versions::<OffsetForLeaderEpochRequest<'_>>() {
        let request = |topic: &'static str, partition, current_leader_epoch, leader_epoch| {
            let partition = OffsetForLeaderPartition { partition, current_leader_epoch, leader_epoch };
            let topic = OffsetForLeaderTopic { topic: topic.into(), partitions: vec![partition] };
            OffsetForLeaderEpochRequest { replica_id: -1, topics: vec![topic] }
        };
        for (case, request) in [
            ("current", request("timed", 0, 0, 0)),
            ("without a current epoch", request("timed", 0, -1, 0)),
            ("empty partition", request("timed", 1, -1, 0)),
            ("epoch asked for of the future", request("timed", 0, -1, 4)),
            ("epoch asked for undefined", request("timed", 0, -1, -1)),
            ("current of the future", request("timed", 0, 4, 0)),
            ("unknown partition", request("timed", 7, -1, 0)),
            ("unknown topic", request("timed-none", 0, -1, 0)),
            ("invalid topic", request("a b", 0, -1, 0)),
        ] {
            peer.call(version, case, &request);
        }
        let none = OffsetForLeaderEpochRequest { replica_id: -2, topics: Vec::new() };
        peer.call(version, "nothing", &none);
    }
}
