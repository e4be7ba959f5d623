//! Fetch: offsets, limits, sessions, waiting, epochs; and that the bytes are the same.

use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState};
use ottla_protocol::messages::{FetchRequest, FetchResponse};
use ottla_record::{BatchBuilder, Batches, Compression};
use ottla_types::Uuid;

use crate::client::{Peer, versions};
use crate::requests::{T0, append, batch, fill, make_topic};

const TOPIC: &str = "fetched";

pub(crate) fn script(peer: &mut Peer) {
    let id = make_topic(peer, TOPIC, 3, &[]);
    for (count, codec) in [(3, Compression::None), (4, Compression::Gzip), (5, Compression::Lz4)] {
        append(peer, TOPIC, 0, fill(BatchBuilder::new().codec(codec), count, T0));
    }
    append(peer, TOPIC, 1, batch(2));
    for version in versions::<FetchRequest<'_>>() {
        let mut fetch = Fetch { peer: &mut *peer, version, id };
        fetch.offsets();
        fetch.limits();
        fetch.waiting();
        fetch.unknown();
        if version >= 7 {
            fetch.sessions();
        }
        fetch.epochs();
    }
}

fn wanted(index: i32, offset: i64) -> FetchPartition {
    FetchPartition {
        partition: index,
        fetch_offset: offset,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    }
}

/// The batches that came: the fields with which they are compared.
#[derive(Debug)]
#[allow(dead_code, reason = "read by Debug")]
struct Came {
    partition: i32,
    bytes: usize,
    checksum: u32,
    offsets: Vec<(i64, i64)>,
    rest: usize,
}

struct Fetch<'p> {
    peer: &'p mut Peer,
    version: i16,
    id: Uuid,
}

impl Fetch<'_> {
    fn request(&self, partitions: Vec<FetchPartition>) -> FetchRequest<'static> {
        let topic = FetchTopic { topic: TOPIC.into(), topic_id: self.id, partitions };
        FetchRequest {
            max_wait_ms: 0,
            min_bytes: 1,
            max_bytes: 1 << 20,
            topics: vec![topic],
            ..FetchRequest::default()
        }
    }

    fn call(&mut self, case: &str, request: &FetchRequest<'_>) -> FetchResponse<'static> {
        let answer = self.peer.call(self.version, case, request);
        let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
        let came = partitions.filter_map(|partition| {
            let bytes = partition.records.as_ref()?.as_slice()?;
            let mut batches = Batches::new(bytes);
            let offsets = batches.by_ref().map_while(Result::ok);
            let offsets = offsets.map(|batch| (batch.base_offset().0, batch.last_offset().0)).collect();
            Some(Came {
                partition: partition.partition_index,
                bytes: bytes.len(),
                checksum: ottla_record::crc32c(bytes),
                offsets,
                rest: batches.remaining().len(),
            })
        });
        let mut came: Vec<Came> = came.collect();
        came.sort_by_key(|came| came.partition);
        self.peer.note(self.version, &format!("Fetch: records of: {case}"), &came);
        answer
    }

    fn offsets(&mut self) {
        for (case, offset) in [
            ("start", 0),
            ("within a batch", 1),
            ("middle", 3),
            ("within the last", 9),
            ("end", 12),
            ("beyond the end", 13),
            ("negative", -1),
        ] {
            let request = self.request(vec![wanted(0, offset)]);
            self.call(case, &request);
        }
        let request = self.request(vec![wanted(1, 0), wanted(0, 3), wanted(2, 0)]);
        self.call("several", &request);
        let request = FetchRequest { isolation_level: 1, ..self.request(vec![wanted(0, 0), wanted(2, 0)]) };
        self.call("read committed", &request);
        let request = FetchRequest { isolation_level: 9, ..self.request(vec![wanted(0, 0)]) };
        self.call("no such isolation level", &request);
        let request = self.request(vec![wanted(0, 0), wanted(0, 3)]);
        self.call("a partition twice", &request);
        let request = FetchRequest { topics: Vec::new(), ..self.request(Vec::new()) };
        self.call("nothing", &request);
    }

    fn limits(&mut self) {
        for (case, max_bytes, first, second) in [
            ("one byte of the response", 1, 1 << 20, 1 << 20),
            ("one byte of each", 1 << 20, 1, 1),
            ("one byte of the second", 1 << 20, 1 << 20, 1),
            ("zero bytes", 0, 0, 0),
            ("room for one batch and a half", 300, 300, 300),
            ("two hundred bytes of the first", 1 << 20, 200, 1 << 20),
            ("response full with the first", 200, 1 << 20, 1 << 20),
        ] {
            let limited =
                |index, partition_max_bytes| FetchPartition { partition_max_bytes, ..wanted(index, 0) };
            let request =
                FetchRequest { max_bytes, ..self.request(vec![limited(0, first), limited(1, second)]) };
            self.call(case, &request);
        }
    }

    fn waiting(&mut self) {
        let empty = |fetch: &Self, min_bytes, offset| FetchRequest {
            max_wait_ms: 20,
            min_bytes,
            ..fetch.request(vec![wanted(0, offset)])
        };
        for (case, min_bytes, offset) in
            [("wait at the end", 1, 12), ("wait for more", 1 << 20, 0), ("no need to wait", 0, 12)]
        {
            let request = empty(self, min_bytes, offset);
            self.call(case, &request);
        }
        let request = FetchRequest { max_wait_ms: 5000, ..empty(self, 1 << 20, 99) };
        self.call("an error does not wait", &request);
    }

    fn unknown(&mut self) {
        let topic = FetchTopic {
            topic: "fetched-none".into(),
            topic_id: Uuid::from_parts(3, 3),
            partitions: vec![wanted(0, 0)],
        };
        let mut request = self.request(vec![wanted(0, 3), wanted(7, 0), wanted(-1, 0)]);
        self.call("unknown partitions", &request);
        request.topics.push(topic.clone());
        self.call("unknown topic beside a known one", &request);
        request.topics = vec![topic];
        self.call("unknown topic", &request);
        request.topics[0].topic = "a b".into();
        request.topics[0].topic_id = Uuid::ZERO;
        self.call("no topic", &request);
        request = self.request(vec![wanted(0, 0)]);
        if self.version < 15 {
            request.replica_id = 5;
        } else {
            request.replica_state = ReplicaState { replica_id: 5, replica_epoch: 1 };
        }
        self.call("from a broker that is no replica", &request);
    }

    fn session(&self, id: i32, epoch: i32, partitions: Vec<FetchPartition>) -> FetchRequest<'static> {
        let mut request = FetchRequest { session_id: id, session_epoch: epoch, ..self.request(partitions) };
        request.topics.retain(|topic| !topic.partitions.is_empty());
        request
    }

    fn sessions(&mut self) {
        let open = self.session(0, 0, vec![wanted(0, 3), wanted(1, 2), wanted(2, 0), wanted(8, 0)]);
        let id = self.call("session opens", &open).session_id;
        let request = self.session(id, 1, Vec::new());
        self.call("session, the same again", &request);
        let request = self.session(id, 2, vec![wanted(0, 12), wanted(1, 0)]);
        self.call("session, moved", &request);
        let mut request = self.session(id, 3, vec![wanted(1, 2)]);
        let topic_id = self.id;
        request.forgotten_topics_data =
            vec![ForgottenTopic { topic: TOPIC.into(), topic_id, partitions: vec![0, 8, 9] }];
        self.call("session, some forgotten", &request);
        let request = self.session(id, 4, vec![wanted(0, 0)]);
        self.call("session, one remembered again", &request);
        let request = self.session(id, 4, Vec::new());
        self.call("session, epoch again", &request);
        let request = self.session(id, 9, Vec::new());
        self.call("session, epoch skipped", &request);
        let request = self.session(id.wrapping_add(1).max(1), 1, Vec::new());
        self.call("session unknown", &request);
        let mut request = self.session(id, 5, Vec::new());
        request.topics = vec![FetchTopic {
            topic: "fetched-none".into(),
            topic_id: Uuid::from_parts(3, 3),
            partitions: vec![wanted(0, 0)],
        }];
        self.call("session, unknown topic added", &request);
        let request = self.session(id, 6, Vec::new());
        self.call("session, unknown topic stays", &request);
        let request = self.session(id, 0, vec![wanted(0, 3)]);
        let newer = self.call("session replaced", &request).session_id;
        let request = self.session(id, 7, Vec::new());
        self.call("session, the old one", &request);
        let request = self.session(newer, -1, vec![wanted(0, 3)]);
        self.call("session closed", &request);
        let request = self.session(newer, 1, Vec::new());
        self.call("session, after its close", &request);
        let request = self.session(0, 1, vec![wanted(0, 3)]);
        self.call("session zero with an epoch", &request);
        let request = self.session(77, -1, vec![wanted(0, 3)]);
        self.call("session unknown, closing", &request);
        let request = self.session(77, 0, vec![wanted(2, 0)]);
        let id = self.call("session unknown, opening", &request).session_id;
        let request = self.session(id, -1, Vec::new());
        self.call("session closed without a partition", &request);
    }

    fn epochs(&mut self) {
        for (case, current, last) in [
            ("epoch current", 0, -1),
            ("epoch of the future", 5, -1),
            ("last fetched epoch", 0, 0),
            ("last fetched epoch of the future", 0, 3),
            ("last fetched epoch without current", -1, 0),
        ] {
            if self.version < 9 || (last >= 0 && self.version < 12) {
                continue;
            }
            let at = |offset| FetchPartition {
                current_leader_epoch: current,
                last_fetched_epoch: last,
                ..wanted(0, offset)
            };
            let request = self.request(vec![at(3)]);
            self.call(case, &request);
            let request = self.request(vec![at(20)]);
            self.call(&format!("{case}, beyond the end"), &request);
        }
    }
}
