"""kafka-python: codecs, keys, headers, timestamps, groups, seeking, offsets for times, admin calls."""

import threading
import time

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewPartitions, NewTopic
from kafka.errors import TopicAlreadyExistsError, UnknownTopicOrPartitionError
from kafka.structs import OffsetAndMetadata

CODECS = [None, 'gzip', 'snappy', 'lz4', 'zstd']


@pytest.fixture
def admin(broker):
    client = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    yield client
    client.close()


def read(consumer, count, timeout=30):
    records, deadline = [], time.monotonic() + timeout
    while len(records) < count and time.monotonic() < deadline:
        for batch in consumer.poll(timeout_ms=500).values():
            records.extend(batch)
    return records


def assigned(broker, partition, **options):
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap, **options)
    consumer.assign([partition])
    return consumer


@pytest.mark.parametrize('codec', CODECS)
@pytest.mark.parametrize('acks', [0, 1, 'all'])
def test_every_codec_keeps_key_value_headers_timestamp(broker, name, codec, acks):
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, compression_type=codec, acks=acks, linger_ms=20,
                             enable_idempotence=False)
    producer.partitions_for(name)
    base = int(time.time() * 1000) - 5000
    for i in range(50):
        producer.send(name, key=b'k%d' % i, value=b'v%d' % i * 100, partition=0, timestamp_ms=base + i,
                      headers=[('h', b'%d' % i), ('h', b'again'), ('empty', b'')])
    producer.send(name, key=b'tombstone', value=None, partition=0, timestamp_ms=base + 50)
    producer.flush()
    consumer = assigned(broker, TopicPartition(name, 0), auto_offset_reset='earliest')
    records = read(consumer, 51)
    assert [r.offset for r in records] == list(range(51))
    assert [r.key for r in records[:50]] == [b'k%d' % i for i in range(50)]
    assert [r.value for r in records[:50]] == [b'v%d' % i * 100 for i in range(50)]
    assert [r.timestamp for r in records] == [base + i for i in range(51)]
    assert [(k, bytes(v)) for k, v in records[7].headers] == [('h', b'7'), ('h', b'again'), ('empty', b'')]
    assert records[50].key == b'tombstone' and records[50].value is None
    consumer.close()
    producer.close()


def test_topics_are_created_described_extended_and_deleted(broker, name, admin):
    admin.create_topics([NewTopic(name, num_partitions=3, replication_factor=1,
                                  topic_configs={'retention.ms': '3600000'})])
    with pytest.raises(TopicAlreadyExistsError):
        admin.create_topics([NewTopic(name, num_partitions=3, replication_factor=1)])
    described = admin.describe_topics([name])[0]
    assert len(described['partitions']) == 3
    admin.create_partitions({name: NewPartitions(total_count=5)})
    assert len(admin.describe_topics([name])[0]['partitions']) == 5
    assert name in admin.list_topics()
    admin.delete_topics([name])
    assert name not in admin.list_topics()
    with pytest.raises(UnknownTopicOrPartitionError):
        admin.delete_topics([name])


def test_seek_and_offsets_for_times(broker, name):
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
    base = int(time.time() * 1000) - 100_000
    for i in range(100):
        producer.send(name, value=b'%d' % i, partition=0, timestamp_ms=base + i * 10)
        if i % 10 == 9:
            producer.flush()
    producer.close()
    partition = TopicPartition(name, 0)
    consumer = assigned(broker, partition)
    assert consumer.beginning_offsets([partition])[partition] == 0
    assert consumer.end_offsets([partition])[partition] == 100
    found = consumer.offsets_for_times({partition: base + 495})[partition]
    assert (found.offset, found.timestamp) == (50, base + 500)
    assert consumer.offsets_for_times({partition: base + 10_000_000})[partition] is None
    consumer.seek(partition, 90)
    assert [r.value for r in read(consumer, 10)] == [b'%d' % i for i in range(90, 100)]
    consumer.seek_to_beginning(partition)
    assert consumer.position(partition) == 0
    consumer.seek_to_end(partition)
    assert consumer.position(partition) == 100
    consumer.close()


class Member(threading.Thread):
    """A group member in a thread of its own."""

    def __init__(self, broker, topic, group, **options):
        super().__init__(daemon=True)
        self.consumer = KafkaConsumer(topic, bootstrap_servers=broker.bootstrap, group_id=group,
                                      auto_offset_reset='earliest', session_timeout_ms=10000,
                                      heartbeat_interval_ms=500, **options)
        self.records, self.owned, self.done = [], frozenset(), threading.Event()
        self.start()

    def run(self):
        while not self.done.is_set():
            for batch in self.consumer.poll(timeout_ms=200).values():
                self.records.extend(batch)
            self.owned = frozenset(self.consumer.assignment())
        self.consumer.close()

    def leave(self):
        self.done.set()
        self.join(timeout=30)


def until(condition, timeout=60):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, 'condition not reached in time'
        time.sleep(0.1)


def shared(members, partitions):
    """Whether the members own all partitions, each once, and each member at least one."""
    owned = [p for m in members for p in m.owned]
    return len(owned) == partitions == len(set(owned)) and all(m.owned for m in members)


@pytest.mark.parametrize('strategy', ['range', 'cooperative-sticky'])
def test_group_of_one_two_three_members(broker, name, admin, strategy):
    from kafka.coordinator.assignors.range import RangePartitionAssignor
    from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
    assignor = RangePartitionAssignor if strategy == 'range' else CooperativeStickyAssignor
    admin.create_topics([NewTopic(name, num_partitions=6, replication_factor=1)])
    group = f'{name}-group'
    options = {'partition_assignment_strategy': [assignor]}
    members = [Member(broker, name, group, **options)]
    until(lambda: shared(members, 6))
    members.append(Member(broker, name, group, **options))
    until(lambda: shared(members, 6))
    members.append(Member(broker, name, group, **options))
    until(lambda: shared(members, 6))
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
    for i in range(300):
        producer.send(name, value=b'%d' % i, partition=i % 6)
    producer.flush()
    until(lambda: sum(len(m.records) for m in members) >= 300)
    members.pop().leave()
    until(lambda: shared(members, 6))
    members.pop().leave()
    until(lambda: shared(members, 6))
    members.pop().leave()
    producer.close()


def test_commit_and_resume(broker, name):
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
    for i in range(20):
        producer.send(name, value=b'%d' % i, partition=0)
    producer.close()
    partition, group = TopicPartition(name, 0), f'{name}-group'
    first = KafkaConsumer(name, bootstrap_servers=broker.bootstrap, group_id=group, auto_offset_reset='earliest',
                          enable_auto_commit=False, max_poll_records=5)
    assert [r.value for r in read(first, 5)][:5] == [b'%d' % i for i in range(5)]
    first.commit({partition: OffsetAndMetadata(5, 'half way', -1)})
    assert first.committed(partition) == 5
    first.close()
    second = KafkaConsumer(name, bootstrap_servers=broker.bootstrap, group_id=group, auto_offset_reset='earliest',
                           enable_auto_commit=False)
    assert [r.value for r in read(second, 15)] == [b'%d' % i for i in range(5, 20)]
    second.close()
