"""Transactions through confluent-kafka (librdkafka): atomic writes, offsets, fencing, recovery."""

import os
import time
import uuid

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from conftest import Broker


@pytest.fixture
def quick_broker():
    """A broker of the test's own that looks for late transactions often."""
    if os.environ.get("OTTLA_TEST_BOOTSTRAP"):
        pytest.skip("the broker is external")
    running = Broker("transaction.abort.timed.out.transaction.cleanup.interval.ms=500")
    yield running
    running.remove()


def name(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def create(broker, partitions=2):
    topic = name("txn")
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    futures = admin.create_topics([NewTopic(topic, num_partitions=partitions, replication_factor=1)])
    futures[topic].result(timeout=20)
    return topic


def producer(broker, transactional_id, timeout_ms=60000):
    made = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": transactional_id,
                     "transaction.timeout.ms": timeout_ms, "linger.ms": 0})
    made.init_transactions(30)
    return made


def read(broker, topic, count, isolation="read_committed", patience=20, group=None):
    """The values of a topic in the order of arrival; waits for `count`, then a moment for more."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group or name("reader"),
                         "auto.offset.reset": "earliest", "isolation.level": isolation,
                         "enable.auto.commit": False})
    consumer.subscribe([topic])
    values = []
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        message = consumer.poll(0.2)
        if message is None:
            if len(values) >= count:
                break
            continue
        assert message.error() is None, message.error()
        values.append(message.value().decode())
    consumer.close()
    return values


def test_committed_is_seen_and_aborted_is_not(broker):
    topic = create(broker)
    writer = producer(broker, name("id"))
    expected = []
    for round_ in range(6):
        writer.begin_transaction()
        for i in range(20):
            writer.produce(topic, f"{round_}-{i}", partition=i % 2)
        writer.flush(20)
        if round_ % 2:
            writer.abort_transaction(30)
        else:
            writer.commit_transaction(30)
            expected += [f"{round_}-{i}" for i in range(20)]
    assert sorted(read(broker, topic, len(expected))) == sorted(expected)
    assert len(read(broker, topic, 120, isolation="read_uncommitted")) == 120


def test_open_transactions_hold_readers_back(broker):
    topic = create(broker, partitions=1)
    writer = producer(broker, name("id"))
    writer.begin_transaction()
    writer.produce(topic, "open")
    writer.flush(20)
    plain = Producer({"bootstrap.servers": broker.bootstrap})
    plain.produce(topic, "plain")
    plain.flush(20)
    assert read(broker, topic, 1, patience=2) == []
    assert read(broker, topic, 2, isolation="read_uncommitted") == ["open", "plain"]
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "x",
                         "isolation.level": "read_committed"})
    assert consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10) == (0, 0)
    consumer.close()
    writer.commit_transaction(30)
    assert read(broker, topic, 2) == ["open", "plain"]


def test_offsets_are_part_of_the_transaction(broker):
    source, target = create(broker, 1), create(broker, 1)
    plain = Producer({"bootstrap.servers": broker.bootstrap})
    for i in range(10):
        plain.produce(source, str(i))
    plain.flush(20)
    group = name("copy")
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group, "auto.offset.reset": "earliest",
                         "enable.auto.commit": False, "isolation.level": "read_committed"})
    consumer.subscribe([source])
    writer = producer(broker, name("id"))
    batch = []
    while len(batch) < 10:
        batch += consumer.consume(10 - len(batch), timeout=20)
    place = [TopicPartition(source, 0)]
    # Aborted: neither copies nor offsets.
    writer.begin_transaction()
    for message in batch[:5]:
        writer.produce(target, b"gone-" + message.value())
    writer.send_offsets_to_transaction(consumer.position(consumer.assignment()), consumer.consumer_group_metadata(), 30)
    writer.abort_transaction(30)
    assert consumer.committed(place, timeout=20)[0].offset < 0
    # Committed: both.
    writer.begin_transaction()
    for message in batch:
        writer.produce(target, message.value())
    writer.send_offsets_to_transaction(consumer.position(consumer.assignment()), consumer.consumer_group_metadata(), 30)
    writer.commit_transaction(30)
    deadline = time.monotonic() + 20
    while consumer.committed(place, timeout=20)[0].offset != 10:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    consumer.close()
    assert read(broker, target, 10) == [str(i) for i in range(10)]


def test_a_second_producer_fences_the_first(broker):
    topic = create(broker, 1)
    transactional_id = name("id")
    first = producer(broker, transactional_id)
    first.begin_transaction()
    first.produce(topic, "first")
    first.flush(20)
    second = producer(broker, transactional_id)
    with pytest.raises(KafkaException) as failed:
        first.produce(topic, "late")
        first.flush(20)
        first.commit_transaction(30)
    assert failed.value.args[0].fatal() or failed.value.args[0].txn_requires_abort()
    second.begin_transaction()
    second.produce(topic, "second")
    second.commit_transaction(30)
    assert read(broker, topic, 1) == ["second"]


def test_a_transaction_survives_a_broker_killed_in_its_middle(quick_broker):
    broker = quick_broker
    topic = create(broker, 1)
    writer = producer(broker, name("id"))
    writer.begin_transaction()
    for i in range(10):
        writer.produce(topic, f"before-{i}")
    writer.flush(20)
    broker.kill()
    broker.start()
    for i in range(10):
        writer.produce(topic, f"after-{i}")
    writer.commit_transaction(60)
    expected = [f"before-{i}" for i in range(10)] + [f"after-{i}" for i in range(10)]
    assert read(broker, topic, 20, patience=40) == expected


def test_what_nobody_ends_is_aborted_in_time_also_after_a_crash(quick_broker):
    broker = quick_broker
    topic = create(broker, 1)
    writer = producer(broker, name("id"), timeout_ms=3000)
    writer.begin_transaction()
    writer.produce(topic, "left")
    writer.flush(20)
    broker.kill()
    broker.start()
    plain = Producer({"bootstrap.servers": broker.bootstrap})
    plain.produce(topic, "plain")
    plain.flush(20)
    assert read(broker, topic, 1, patience=40) == ["plain"]
