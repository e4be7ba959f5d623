"""kill -9, twenty rounds, while transactions, groups and compaction run.

A plain idempotent producer feeds a topic; a transactional pipeline copies it, with its offsets in the same transactions and some of
them aborted on purpose; a group reads and commits; a compacted topic is rewritten all the time. In the end: acknowledged records
are there once and in order, transactions are whole, offsets never went back, the newest values of the compacted topic are there.
"""

import collections
import os
import signal
import threading
import time

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from conftest import Broker

PARTITIONS = 2
KEYS = 20
ROUNDS = int(os.environ.get("OTTLA_KILL_ROUNDS", "20"))
SECONDS_PER_ROUND = 1.5
PATIENT = {'message.timeout.ms': 120000, 'retry.backoff.ms': 50, 'reconnect.backoff.max.ms': 200}


class Worker(threading.Thread):
    """A loop that runs until it is told to stop; an exception of it is the test's failure."""

    def __init__(self, broker):
        super().__init__(daemon=True)
        # Re-bootstrapping takes the only broker away while a transactional call refers to it; librdkafka 2.16 then waits forever.
        self.server = {'bootstrap.servers': broker.bootstrap, 'metadata.recovery.strategy': 'none'}
        self.stopping, self.failure = threading.Event(), None

    def run(self):
        try:
            while not self.stopping.is_set():
                self.step()
            self.end()
        except Exception as error:  # pylint: disable=broad-except
            self.failure = error

    def end(self):
        pass

    def finish(self):
        self.stopping.set()
        self.join(90)
        assert not self.is_alive(), f'{type(self).__name__} does not end'
        if self.failure:
            raise self.failure


class Feed(Worker):
    """Numbered records to every partition; stops by itself so that the pipeline can catch up."""

    def __init__(self, broker, topic):
        super().__init__(broker)
        self.producer = Producer({**self.server, **PATIENT, 'acks': 'all', 'enable.idempotence': True, 'linger.ms': 5})
        self.topic, self.sent, self.errors = topic, [0] * PARTITIONS, []
        self.acknowledged = [0] * PARTITIONS

    def step(self):
        for partition in range(PARTITIONS):
            self.producer.produce(self.topic, b'%d-%d' % (partition, self.sent[partition]), partition=partition,
                                  on_delivery=self.delivered)
            self.sent[partition] += 1
        self.producer.poll(0.005)

    def delivered(self, error, message):
        if error:
            self.errors.append(error)
        else:
            self.acknowledged[message.partition()] += 1

    def end(self):
        assert self.producer.flush(90) == 0
        assert not self.errors, self.errors[:3]


class Pipeline(Worker):
    """Copies a topic record by record in transactions; every fourth transaction is aborted on purpose."""

    def __init__(self, broker, source, target):
        super().__init__(broker)
        self.source, self.target, self.round, self.committed = source, target, 0, 0
        self.consumer = self.producer = None
        self.open()

    def open(self):
        if self.consumer:
            self.consumer.close()
        self.consumer = Consumer({
            **self.server, 'group.id': f'{self.source}-pipeline', 'auto.offset.reset': 'earliest', 'enable.auto.commit': False,
            'isolation.level': 'read_committed', 'reconnect.backoff.max.ms': 200, 'session.timeout.ms': 45000})
        self.consumer.subscribe([self.source])
        while True:
            self.producer = Producer({**self.server, 'transactional.id': f'{self.source}-pipeline', 'retry.backoff.ms': 50,
                                      'transaction.timeout.ms': 20000, 'reconnect.backoff.max.ms': 200})
            try:
                self.producer.init_transactions(30)
                return
            except KafkaException as error:
                if not error.args[0].retriable() and not self.patient():
                    raise

    def patient(self):
        return not self.stopping.is_set()

    def step(self):
        messages = [m for m in self.consumer.consume(200, timeout=0.3) if not m.error()]
        if not messages:
            return
        self.round += 1
        try:
            self.producer.begin_transaction()
            for message in messages:
                self.producer.produce(self.target, message.value(), partition=message.partition())
            if self.round % 4 == 0:
                self.retry(lambda: self.producer.abort_transaction(30))
                self.rewind(messages)
                return
            ends = {}
            for message in messages:
                ends[message.partition()] = message.offset() + 1
            offsets = [TopicPartition(self.source, partition, end) for partition, end in ends.items()]
            self.retry(lambda: self.producer.send_offsets_to_transaction(
                offsets, self.consumer.consumer_group_metadata(), 30))
            self.retry(lambda: self.producer.commit_transaction(30))
            self.committed += len(messages)
        except KafkaException as error:
            if error.args[0].txn_requires_abort():
                try:
                    self.retry(lambda: self.producer.abort_transaction(30))
                    self.rewind(messages)
                    return
                except KafkaException:
                    pass
            # Fatal, or not to be known how it ended: a new producer with the same id settles it.
            self.open()

    @staticmethod
    def retry(call):
        while True:
            try:
                return call()
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise

    def rewind(self, messages):
        """Back to what is committed, as nothing of this round counts."""
        first = {}
        for message in messages:
            first.setdefault(message.partition(), message.offset())
        for partition, offset in first.items():
            try:
                self.consumer.seek(TopicPartition(self.source, partition, offset))
            except KafkaException:
                # No longer its owner: whoever is begins at the committed offset.
                pass

    def end(self):
        self.consumer.close()


class Reader(Worker):
    """A member of a group: what it has committed may never be lower afterwards."""

    def __init__(self, broker, topic):
        super().__init__(broker)
        self.topic, self.committed = topic, {}
        self.consumer = Consumer({**self.server, 'group.id': f'{topic}-readers', 'auto.offset.reset': 'earliest',
                                  'enable.auto.commit': False, 'reconnect.backoff.max.ms': 200})
        self.consumer.subscribe([topic])

    def step(self):
        messages = [m for m in self.consumer.consume(100, timeout=0.3) if not m.error()]
        if not messages:
            return
        try:
            for committed in self.consumer.commit(asynchronous=False):
                if committed.error is None and committed.offset >= 0:
                    assert committed.offset >= self.committed.get(committed.partition, 0)
                    self.committed[committed.partition] = committed.offset
        except KafkaException:
            return
        self.check()

    def check(self):
        wanted = [TopicPartition(self.topic, partition) for partition in self.committed]
        try:
            found = self.consumer.committed(wanted, timeout=10)
        except KafkaException:
            return
        for entry in found:
            assert entry.error or entry.offset >= self.committed[entry.partition], \
                f'committed {self.committed[entry.partition]}, now {entry.offset}'

    def end(self):
        self.consumer.close()


class Rewriter(Worker):
    """Rewrites the keys of a compacted topic and notes the newest acknowledged value of each."""

    def __init__(self, broker, topic):
        super().__init__(broker)
        self.producer = Producer({**self.server, **PATIENT, 'acks': 'all', 'enable.idempotence': True, 'linger.ms': 5})
        self.topic, self.number, self.newest = topic, 0, {}

    def step(self):
        key = b'key-%d' % (self.number % KEYS)
        self.producer.produce(self.topic, b'%d' % self.number + b'.' * 500, key, partition=0, on_delivery=self.delivered)
        self.number += 1
        self.producer.poll(0.001)

    def delivered(self, error, message):
        assert not error, error
        self.newest[message.key()] = message.value()

    def end(self):
        assert self.producer.flush(90) == 0


def read(broker, topic, partition):
    """All committed records of a partition."""
    consumer = Consumer({'bootstrap.servers': broker.bootstrap, 'group.id': 'checker', 'enable.auto.commit': False,
                         'isolation.level': 'read_committed', 'enable.partition.eof': True})
    consumer.assign([TopicPartition(topic, partition, 0)])
    records, deadline = [], time.monotonic() + 300
    while time.monotonic() < deadline:
        messages = consumer.consume(2000, timeout=0.5)
        records += [m for m in messages if not m.error()]
        if any(m.error() for m in messages):
            consumer.close()
            return records
    raise AssertionError(f'no end of {topic}-{partition}')


@pytest.mark.timeout(300)
def test_twenty_rounds_of_kill_9(name):
    if os.environ.get("OTTLA_TEST_BOOTSTRAP"):
        pytest.skip("the broker is external")
    broker = Broker('log.cleaner.backoff.ms=300', 'offsets.topic.num.partitions=3', 'group.initial.rebalance.delay.ms=0',
                    'transaction.state.log.num.partitions=3', 'offsets.topic.segment.bytes=1048576')
    try:
        rounds(broker, name)
    finally:
        broker.remove()


def rounds(broker, name):
    source, target, compacted = f'{name}-in', f'{name}-out', f'{name}-state'
    admin = AdminClient({'bootstrap.servers': broker.bootstrap})
    topics = [NewTopic(source, PARTITIONS, 1), NewTopic(target, PARTITIONS, 1), NewTopic(compacted, 1, 1, config={
        'cleanup.policy': 'compact', 'segment.bytes': '1048576', 'min.cleanable.dirty.ratio': '0.1'})]
    for future in admin.create_topics(topics).values():
        future.result(15)
    feed, rewriter = Feed(broker, source), Rewriter(broker, compacted)
    pipeline, reader = Pipeline(broker, source, target), Reader(broker, source)
    workers = [feed, rewriter, pipeline, reader]
    for worker in workers:
        worker.start()
    for _ in range(ROUNDS):
        time.sleep(SECONDS_PER_ROUND)
        broker.restart(signal.SIGKILL)
        for worker in workers:
            if worker.failure:
                raise worker.failure
    feed.finish()
    rewriter.finish()
    deadline = time.monotonic() + 90
    while pipeline.committed < sum(feed.sent) and not pipeline.failure and time.monotonic() < deadline:
        time.sleep(0.2)
    reader.finish()
    pipeline.finish()

    for partition in range(PARTITIONS):
        wanted = [b'%d-%d' % (partition, number) for number in range(feed.sent[partition])]
        assert feed.acknowledged[partition] == feed.sent[partition] > 500
        assert [m.value() for m in read(broker, source, partition)] == wanted, 'lost, repeated or out of order'
        copied = [m.value() for m in read(broker, target, partition)]
        assert collections.Counter(copied) == collections.Counter(wanted), 'transactions are not whole'
        assert copied == wanted, 'copied out of order'
    assert reader.committed, 'the group never committed'
    remaining = read(broker, compacted, 0)
    newest = {message.key(): message.value() for message in remaining}
    assert newest == rewriter.newest
    assert len(newest) == KEYS
    assert len(remaining) < rewriter.number, 'nothing was compacted'
