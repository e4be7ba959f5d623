//! What clients do: batches of records with and without producers, transactions, repeated and wrong batches.

use ottla_record::{BatchBuilder, EndTxnMarker, patch};
use ottla_storage::log::{AppendError, AppendOrigin, LeaderAppend, VerificationGuard};
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};

use crate::dice::Dice;
use crate::life::Life;
use crate::model::{Sent, Writer, header, last_offset};
use crate::world::{Ack, Stopped, Topic};

/// As Kafka's clients: a broker remembers that many batches of a producer.
const MAX_IN_FLIGHT: usize = 5;

pub(crate) fn writers(topic: Topic) -> Vec<Writer> {
    let writer = |id, is_transactional| Writer {
        id,
        epoch: 0,
        is_transactional,
        next_sequence: 0,
        in_transaction: false,
        unacked: Vec::new(),
        last_acked: None,
    };
    let mut writers = vec![writer(11, false), writer(12, false)];
    if topic != Topic::Compacted {
        writers.extend([writer(21, true), writer(22, true)]);
    }
    writers
}

/// Records with one of a few keys each.
fn batch(dice: &mut Dice, now_ms: i64, writer: Option<&Writer>, epoch_and_more: (i16, i32)) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    if let Some(writer) = writer {
        let (epoch, sequence) = epoch_and_more;
        builder = builder
            .producer(ProducerId(writer.id), ProducerEpoch(epoch), Sequence(sequence))
            .transactional(writer.is_transactional);
    }
    for _ in 0..dice.between(1, 4) {
        let key = [u8::try_from(dice.below(12)).expect("small")];
        let value = vec![
            u8::try_from(dice.below(256)).expect("a byte");
            usize::try_from(dice.between(1, 90)).expect("small")
        ];
        let value = (!dice.one_in(6)).then_some(value);
        builder.append(now_ms, Some(&key), value.as_deref(), &[]).expect("it fits");
    }
    builder.build().expect("it can be built")
}

/// A batch in few words.
pub(crate) fn shown(batch: &[u8]) -> String {
    let header = header(batch);
    let (id, epoch, first) = (header.producer_id(), header.producer_epoch(), header.base_sequence().value());
    let kind = if header.attributes().is_control() { "marker" } else { "sequence" };
    format!(
        "{}..={} of epoch {}: producer {id} epoch {epoch} {kind} {first}",
        header.base_offset(),
        header.last_offset(),
        header.leader_epoch()
    )
}

/// The first offset of a batch that is there, and the one after it.
fn place_of(sent: &Sent, survived: &[Vec<u8>]) -> Option<(i64, i64)> {
    let own = header(&sent.bytes);
    let is_it = |batch: &&Vec<u8>| {
        let found = header(batch);
        found.producer_id() == own.producer_id()
            && found.producer_epoch() == own.producer_epoch()
            && found.attributes().is_control() == sent.is_marker
            && if sent.is_marker {
                found.base_offset().0 == sent.base
            } else {
                found.base_sequence() == own.base_sequence()
            }
    };
    survived.iter().find(is_it).map(|batch| (header(batch).base_offset().0, last_offset(batch) + 1))
}

impl Life {
    /// Appends and notes: what may have been written is written down before.
    fn append(&mut self, topic: Topic, bytes: &[u8], origin: AppendOrigin) -> Result<(i64, i64), Stopped> {
        let epoch = LeaderEpoch(self.epoch);
        let end = self.world().offsets(topic).2;
        let mut noted = bytes.to_vec();
        patch::set_base_offset(&mut noted, end);
        patch::set_leader_epoch(&mut noted, epoch);
        let required = last_offset(&noted) + 1;
        self.tell(format_args!("{topic:?} is sent {}", shown(&noted)));
        self.model(topic).batches.push(noted);
        let append = LeaderAppend {
            origin,
            leader_epoch: epoch,
            guard: VerificationGuard::default(),
            transaction_version: 0,
            now_ms: self.world().now_ms,
        };
        let ack = Ack { topic, required: Offset(required) };
        let mut records = bytes.to_vec();
        let appended = self.world().with(topic, |replica| {
            let (info, released) = replica.append(&mut records, append)?;
            Ok((info, released, replica.park_ack(ack.required, ack)))
        });
        match appended {
            Ok((info, released, not_parked)) => {
                assert!(!info.duplicate, "a new batch was taken for a repeated one: {info:?}");
                assert_eq!((info.first_offset, info.last_offset.next()), (end, ack.required));
                if not_parked.is_none() {
                    self.parked.push(ack);
                }
                self.released(released);
                self.tally.appends += 1;
                Ok((end.0, required))
            }
            Err(AppendError::Log(error)) => Err(self.world().failed(topic, &error)),
            Err(refused) => panic!("{topic:?}: a right batch was refused: {refused}"),
        }
    }

    pub(crate) fn produce_plain(&mut self, topic: Topic) -> Result<(), Stopped> {
        let now_ms = self.world().now_ms;
        let bytes = batch(&mut self.dice, now_ms, None, (0, 0));
        self.append(topic, &bytes, AppendOrigin::Client).map(|_| ())
    }

    /// When all of a producer but a marker was removed, and the log was read again since, the log takes only a first batch of it,
    /// as Kafka's does: the client is told so and goes on in a new epoch.
    fn begin_epoch_if_forgotten(&mut self, topic: Topic, at: usize) {
        let writer = &self.models[&topic].writers[at];
        let id = writer.id;
        let oldest = writer.unacked.iter().find(|sent| !sent.is_marker);
        let next = oldest.map_or(writer.next_sequence, |sent| header(&sent.bytes).base_sequence().value());
        let is_forgotten = self.world().with(topic, |replica| {
            let mut known = replica.log().active_producers();
            known.any(|producer| {
                producer.producer_id.value() == id && producer.last_sequence == Sequence::NONE
            })
        });
        if is_forgotten && next > 0 {
            let model = self.model(topic);
            let last = model.producers().get(&id).map_or(-1, |producer| producer.last_offset);
            assert!(last < model.start, "{topic:?}: {id} is forgotten, though its batch at {last} is there");
            let writer = &mut model.writers[at];
            (writer.epoch, writer.next_sequence, writer.in_transaction) = (writer.epoch + 1, 0, false);
            writer.unacked.clear();
            writer.last_acked = None;
        }
    }

    /// A writer's next step.
    pub(crate) fn produce(&mut self, topic: Topic) -> Result<(), Stopped> {
        let now_ms = self.world().now_ms;
        let at =
            usize::try_from(self.dice.below(self.models[&topic].writers.len() as u64)).expect("an index");
        self.begin_epoch_if_forgotten(topic, at);
        let writer = self.models[&topic].writers[at].clone();
        if writer.in_transaction && self.dice.one_in(3) {
            return self.end_transaction(topic, at, &writer);
        }
        // A marker must count before the next transaction begins.
        if writer.unacked.len() >= MAX_IN_FLIGHT || writer.unacked.iter().any(|sent| sent.is_marker) {
            return Err(Stopped::Idle);
        }
        let bytes = batch(&mut self.dice, now_ms, Some(&writer), (writer.epoch, writer.next_sequence));
        let count = header(&bytes).record_count();
        let next = &mut self.model(topic).writers[at];
        next.next_sequence += count;
        next.in_transaction = next.is_transactional;
        next.unacked.push(Sent::new(&bytes, false));
        let place = self.append(topic, &bytes, AppendOrigin::Client)?;
        self.sent(topic, at, place);
        Ok(())
    }

    fn sent(&mut self, topic: Topic, at: usize, (base, required): (i64, i64)) {
        let sent = self.model(topic).writers[at].unacked.last_mut().expect("it was just sent");
        (sent.base, sent.required) = (base, required);
        self.look(topic);
    }

    fn end_transaction(&mut self, topic: Topic, at: usize, writer: &Writer) -> Result<(), Stopped> {
        if !writer.unacked.is_empty() {
            return Err(Stopped::Idle);
        }
        let marker = EndTxnMarker { committed: !self.dice.one_in(3), coordinator_epoch: 1 };
        let (id, epoch) = (ProducerId(writer.id), ProducerEpoch(writer.epoch));
        let bytes = marker.batch(Offset(0), LeaderEpoch(0), self.world().now_ms, id, epoch);
        let writer = &mut self.model(topic).writers[at];
        writer.in_transaction = false;
        writer.unacked.push(Sent::new(&bytes, true));
        let place = self.append(topic, &bytes, AppendOrigin::Coordinator)?;
        self.sent(topic, at, place);
        self.tally.transactions += 1;
        Ok(())
    }

    /// A batch that the log must not take: one that it has, or one that leaves something out.
    pub(crate) fn produce_wrong(&mut self, topic: Topic) -> Result<(), Stopped> {
        let at =
            usize::try_from(self.dice.below(self.models[&topic].writers.len() as u64)).expect("an index");
        self.begin_epoch_if_forgotten(topic, at);
        let writer = self.models[&topic].writers[at].clone();
        let repeated = writer.unacked.last().filter(|sent| !sent.is_marker).or(writer.last_acked.as_ref());
        let (mut bytes, base) = match repeated {
            Some(sent) if self.dice.one_in(2) && !writer.unacked.iter().any(|sent| sent.is_marker) => {
                (sent.bytes.clone(), Some(sent.base))
            }
            _ => {
                let sequence = writer.next_sequence + 7;
                let now_ms = self.world().now_ms;
                (batch(&mut self.dice, now_ms, Some(&writer), (writer.epoch, sequence)), None)
            }
        };
        // The first batch of a producer that the log does not know is taken with any sequence.
        let is_known = self.world().with(topic, |replica| {
            let mut known = replica.log().active_producers();
            known.any(|producer| {
                producer.producer_id.value() == writer.id && producer.epoch.value() == writer.epoch
            })
        });
        if !is_known {
            return Err(Stopped::Idle);
        }
        let append = LeaderAppend {
            origin: AppendOrigin::Client,
            leader_epoch: LeaderEpoch(self.epoch),
            guard: VerificationGuard::default(),
            transaction_version: 0,
            now_ms: self.world().now_ms,
        };
        let end = self.world().offsets(topic).2;
        let result = self.world().with(topic, |replica| replica.append(&mut bytes, append));
        // It may have rolled, which makes durable in place what was on its way to the journal.
        let result = result.map(|(info, released)| {
            self.released(released);
            info
        });
        match (result, base) {
            (Err(AppendError::Log(error)), _) => {
                return Err(self.world().failed(topic, &error));
            }
            (Ok(info), Some(base)) => {
                assert!(
                    info.duplicate && info.first_offset.0 == base,
                    "{topic:?}: repeated from {base}: {info:?}"
                );
                self.tally.duplicates += 1;
            }
            (Err(AppendError::OutOfOrderSequence { .. }), None) => {}
            (other, base) => panic!("{topic:?}: {other:?} for a batch that is wrong or was at {base:?}"),
        }
        assert_eq!(self.world().offsets(topic).2, end);
        Ok(())
    }

    /// After a restart the clients send again what was not acknowledged.
    pub(crate) fn resend(&mut self, topic: Topic, survived: &[Vec<u8>]) -> Result<(), Stopped> {
        self.model(topic).disconnect();
        for at in 0..self.models[&topic].writers.len() {
            self.begin_epoch_if_forgotten(topic, at);
            let writer = &mut self.model(topic).writers[at];
            let unacked = std::mem::take(&mut writer.unacked);
            let there: Vec<bool> = unacked.iter().map(|sent| place_of(sent, survived).is_some()).collect();
            if topic == Topic::Compacted && !there.is_sorted_by_key(|there| !there) {
                // Later batches are there, earlier ones are not (`check::keep_compacted`): as a client that is told so, it
                // starts over in a new epoch.
                writer.epoch += 1;
                writer.next_sequence = 0;
                writer.last_acked = None;
                continue;
            }
            let mut left = unacked.into_iter();
            while let Some(sent) = left.next() {
                let outcome = if let Some(place) = place_of(&sent, survived) {
                    self.resend_survivor(topic, at, &sent, place)
                } else {
                    self.tally.resent += 1;
                    let origin =
                        if sent.is_marker { AppendOrigin::Coordinator } else { AppendOrigin::Client };
                    self.model(topic).writers[at].unacked.push(sent.clone());
                    self.append(topic, &sent.bytes, origin).map(|place| self.sent(topic, at, place))
                };
                if let Err(stopped) = outcome {
                    self.model(topic).writers[at].unacked.extend(left);
                    return Err(stopped);
                }
            }
        }
        Ok(())
    }

    /// A batch that is there is not taken twice. Only the newest of a producer is known for sure after a restart: a snapshot
    /// has no more.
    fn resend_survivor(
        &mut self,
        topic: Topic,
        at: usize,
        sent: &Sent,
        place: (i64, i64),
    ) -> Result<(), Stopped> {
        self.model(topic).writers[at].unacked.push(sent.clone());
        if sent.is_marker {
            self.sent(topic, at, place);
            return Ok(());
        }
        let append = LeaderAppend {
            origin: AppendOrigin::Client,
            leader_epoch: LeaderEpoch(self.epoch),
            guard: VerificationGuard::default(),
            transaction_version: 0,
            now_ms: self.world().now_ms,
        };
        let mut bytes = sent.bytes.clone();
        let result = self.world().with(topic, |replica| replica.append(&mut bytes, append));
        let result = result.map(|(info, released)| {
            self.released(released);
            info
        });
        match result {
            Ok(info) => {
                assert!(info.duplicate, "{topic:?}: a batch was taken twice: {info:?}");
                assert_eq!((info.first_offset.0, info.last_offset.0 + 1), place, "{topic:?}: repeated");
                self.sent(topic, at, place);
                Ok(())
            }
            Err(AppendError::OutOfOrderSequence { .. }) => {
                let last = header(&sent.bytes).last_sequence().value();
                let known = self.models[&topic].producers();
                assert!(
                    known[&self.models[&topic].writers[at].id].last_sequence > last,
                    "{topic:?}: falsely refused"
                );
                self.sent(topic, at, place);
                Ok(())
            }
            Err(AppendError::Log(error)) => Err(self.world().failed(topic, &error)),
            Err(refused) => panic!("{topic:?}: {refused}"),
        }
    }
}
