//! Produce: what is appended, what is refused, and with which words in the response.

use ottla_protocol::messages::ProduceRequest;
use ottla_protocol::messages::produce_request::PartitionProduceData;
use ottla_record::{BatchBuilder, Compression, patch};
use ottla_types::{Offset, ProducerEpoch, ProducerId, Sequence, Uuid};

use crate::client::{Peer, versions};
use crate::requests::{T0, append, batch, fill, list_offsets, make_topic, produce, produce_to};

pub(crate) fn script(peer: &mut Peer) {
    let compacted = make_topic(peer, "produce-compacted", 1, &[("cleanup.policy", "compact")]);
    let strict = make_topic(peer, "produce-strict", 1, &[("message.timestamp.before.max.ms", "1000")]);
    let stamped = make_topic(peer, "produce-stamped", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let small =
        make_topic(peer, "produce-small", 1, &[("max.message.bytes", "200"), ("segment.bytes", "1048576")]);
    let zipped = make_topic(peer, "produce-zipped", 1, &[("compression.type", "gzip")]);
    for version in versions::<ProduceRequest<'_>>() {
        let name = format!("produce-{version}");
        let id = make_topic(peer, &name, 2, &[]);
        accepted(peer, version, &name, id);
        refused(peer, version, &name, id);
        sequences(peer, version, &name, id);
        for (case, topic, id, records) in [
            ("null key, compacted", "produce-compacted", compacted, keyless(3)),
            ("keys, compacted", "produce-compacted", compacted, batch(2)),
            ("too old", "produce-strict", strict, batch(2)),
            ("log append time", "produce-stamped", stamped, batch(2)),
            ("fits exactly not", "produce-small", small, batch(9)),
            ("fits", "produce-small", small, batch(1)),
            ("compressed anew", "produce-zipped", zipped, batch(3)),
        ] {
            peer.call(version, case, &produce(topic, id, -1, Some(records)));
        }
        without_answer(peer, version, &name, id);
        // Acknowledged by all, so that all before it can be read too, on whatever condition the server lets it be read.
        append(peer, &name, 0, batch(1));
        peer.call(11, &format!("after Produce v{version}"), &list_offsets(&name, &[(0, -1), (1, -1)]));
    }
    let big = vec![0; 1_100_000];
    let mut one = BatchBuilder::new();
    one.append(T0, None, Some(&big), &[]).expect("a record");
    let id = make_topic(peer, "produce-big", 1, &[]);
    peer.call(
        9,
        "larger than the default allows",
        &produce("produce-big", id, -1, Some(one.build().expect("a batch"))),
    );
}

fn keyless(count: usize) -> Vec<u8> {
    let mut batch = BatchBuilder::new();
    for index in 0..count {
        let key = (index == 0).then_some(&b"k"[..]);
        batch.append(T0, key, Some(b"v"), &[]).expect("a small record");
    }
    batch.build().expect("a small batch")
}

fn accepted(peer: &mut Peer, version: i16, name: &str, id: Uuid) {
    for acks in [1, -1] {
        peer.call(version, &format!("acks {acks}"), &produce(name, id, acks, Some(batch(3))));
    }
    for codec in Compression::ALL {
        let records = fill(BatchBuilder::new().codec(codec), 20, T0);
        peer.call(version, &format!("codec {}", codec.name()), &produce(name, id, -1, Some(records)));
    }
    let mut both = produce_to(name, id, 1, -1, Some(batch(2)));
    let data = PartitionProduceData { index: 0, records: Some(batch(1).into()) };
    both.topic_data[0].partition_data.push(data);
    let data = PartitionProduceData { index: 9, records: Some(batch(1).into()) };
    both.topic_data[0].partition_data.push(data);
    peer.call(version, "several partitions", &both);
    peer.call(
        version,
        "no topics",
        &ProduceRequest { acks: -1, timeout_ms: 100, ..ProduceRequest::default() },
    );
}

/// A batch with one thing changed, its checksum made good again.
fn with(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = batch(3);
    change(&mut bytes);
    let crc = ottla_record::crc32c(&bytes[21..]).to_be_bytes();
    bytes[17..21].copy_from_slice(&crc);
    bytes
}

fn put(at: usize, value: &[u8]) -> impl FnOnce(&mut Vec<u8>) {
    move |bytes| bytes[at..at + value.len()].copy_from_slice(value)
}

fn refused(peer: &mut Peer, version: i16, name: &str, id: Uuid) {
    let mut corrupt = batch(3);
    *corrupt.last_mut().expect("bytes") ^= 1;
    let future = i64::MAX / 2;
    for (case, records) in [
        ("corrupt", corrupt),
        ("two batches", [batch(1), batch(1)].concat()),
        ("empty", Vec::new()),
        ("magic 1", with(put(16, &[1]))),
        ("magic 3", with(put(16, &[3]))),
        ("half a batch", batch(3)[..80].to_vec()),
        ("half a header", batch(3)[..30].to_vec()),
        ("less than a length", batch(3)[..10].to_vec()),
        ("trailing bytes", [&batch(1)[..], &[0; 5]].concat()),
        ("length too small", with(put(8, &10i32.to_be_bytes()))),
        ("negative length", with(put(8, &(-1i32).to_be_bytes()))),
        ("length beyond the end", with(put(8, &5000i32.to_be_bytes()))),
        ("base offset not zero", with(put(0, &7i64.to_be_bytes()))),
        ("control batch", with(put(21, &[0, 0x20]))),
        ("unknown codec", with(put(21, &[0, 7]))),
        ("codec that it is not", with(put(21, &[0, 2]))),
        ("codec gzip that it is not", with(put(21, &[0, 1]))),
        ("transactional without producer", with(put(21, &[0, 0x10]))),
        ("log append time from a client", with(put(21, &[0, 8]))),
        ("count too large", with(put(57, &4i32.to_be_bytes()))),
        ("count too small", with(put(57, &2i32.to_be_bytes()))),
        ("count zero", with(put(57, &0i32.to_be_bytes()))),
        ("count negative", with(put(57, &(-1i32).to_be_bytes()))),
        ("last delta wrong", with(put(23, &7i32.to_be_bytes()))),
        ("last delta negative", with(put(23, &(-1i32).to_be_bytes()))),
        ("max timestamp wrong", with(put(35, &1i64.to_be_bytes()))),
        ("no records in a batch", fill(BatchBuilder::new(), 0, T0)),
        ("from the future", fill(BatchBuilder::new(), 2, future)),
    ] {
        peer.call(version, case, &produce(name, id, -1, Some(records)));
    }
    for (case, acks) in [("acks 2", 2), ("acks -2", -2)] {
        peer.call(version, case, &produce(name, id, acks, Some(batch(1))));
    }
    peer.call(version, "unknown partition", &produce_to(name, id, 5, -1, Some(batch(1))));
    peer.call(version, "negative partition", &produce_to(name, id, -1, -1, Some(batch(1))));
    peer.call(
        version,
        "unknown topic",
        &produce("produce-none", Uuid::from_parts(1, 99), -1, Some(batch(1))),
    );
    peer.call(version, "topic without id", &produce("", Uuid::ZERO, -1, Some(batch(1))));
    if version < 13 {
        peer.call(version, "invalid topic", &produce("a b", Uuid::ZERO, -1, Some(batch(1))));
        peer.call(version, "internal topic", &produce("__transaction_state", Uuid::ZERO, -1, Some(batch(1))));
    }
}

fn sequences(peer: &mut Peer, version: i16, name: &str, id: Uuid) {
    let send = |peer: &mut Peer, case: &str, producer, epoch, sequence, count| {
        let builder =
            BatchBuilder::new().producer(ProducerId(producer), ProducerEpoch(epoch), Sequence(sequence));
        let request = produce_to(name, id, 1, -1, Some(fill(builder, count, T0)));
        peer.call(version, case, &request);
    };
    for (case, producer, epoch, sequence, count) in [
        ("sequence, first", 500, 0, 0, 3),
        ("sequence, next", 500, 0, 3, 2),
        ("sequence, duplicate", 500, 0, 3, 2),
        ("sequence, duplicate of the first", 500, 0, 0, 3),
        ("sequence, gap", 500, 0, 7, 1),
        ("sequence, back", 500, 0, 1, 1),
        ("sequence, duplicate of another length", 500, 0, 3, 1),
        ("sequence, newer epoch not from zero", 500, 1, 5, 1),
        ("sequence, newer epoch", 500, 1, 0, 1),
        ("sequence, old epoch", 500, 0, 5, 1),
        ("sequence, unknown producer not from zero", 501, 0, 5, 2),
        ("sequence, unknown producer goes on", 501, 0, 7, 2),
        ("sequence, wraps", 502, 0, i32::MAX, 2),
        ("sequence, negative", 503, 0, -1, 1),
        ("sequence, negative epoch", 504, -1, 0, 1),
    ] {
        send(peer, case, producer, epoch, sequence, count);
    }
    let builder =
        BatchBuilder::new().transactional(true).producer(ProducerId(600), ProducerEpoch(0), Sequence(0));
    let records = fill(builder, 1, T0);
    let mut request = produce_to(name, id, 1, -1, Some(records.clone()));
    peer.call(version, "transactional batch without an id", &request);
    let mut moved = records;
    patch::set_base_offset(&mut moved, Offset(3));
    request.topic_data[0].partition_data[0].records = Some(moved.into());
    peer.call(version, "transactional batch again", &request);
}

fn without_answer(peer: &mut Peer, version: i16, name: &str, id: Uuid) {
    use ottla_protocol::messages::ApiVersionsRequest;
    for (case, topic, topic_id, records) in [
        ("acks 0", name, id, batch(2)),
        ("acks 0, empty", name, id, Vec::new()),
        ("acks 0, unknown topic", "produce-none", Uuid::from_parts(1, 99), batch(1)),
    ] {
        peer.send(1, version, &produce(topic, topic_id, 0, Some(records))).expect("sent");
        // Whether the connection is still good tells what became of it.
        let sent = peer.send(1, 0, &ApiVersionsRequest::default());
        let open = sent.is_ok() && peer.answers::<ApiVersionsRequest<'_>>(1, 0);
        peer.hang_up(1);
        peer.note(version, &format!("Produce: {case}"), &Open { open });
    }
}

#[derive(Debug)]
struct Open {
    #[allow(dead_code, reason = "read by Debug")]
    open: bool,
}
