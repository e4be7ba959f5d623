"""confluent-kafka (librdkafka) with `group.protocol=consumer` (KIP-848), and groups that move between the two protocols."""

import time

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from conftest import Broker


@pytest.fixture(scope='module')
def quick():
    """A broker whose members hear of changes soon."""
    broker = Broker('group.consumer.min.heartbeat.interval.ms=500', 'group.consumer.heartbeat.interval.ms=500',
                    'group.consumer.assignment.interval.ms=0', 'group.initial.rebalance.delay.ms=0')
    yield broker
    broker.remove()


def create(broker, topic, partitions):
    admin = AdminClient({'bootstrap.servers': broker.bootstrap})
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(15)
    return admin


def produce(broker, topic, count, partitions):
    producer = Producer({'bootstrap.servers': broker.bootstrap})
    for number in range(count):
        producer.produce(topic, value=b'%d' % number, partition=number % partitions)
    assert producer.flush(30) == 0


def member(broker, group, protocol, **options):
    # Not 'cooperative-sticky': librdkafka's puts user data into assignments from the second rebalance on, and a group with such is
    # refused the move to the newer protocol, by Apache Kafka too.
    classic = {'session.timeout.ms': 10000, 'heartbeat.interval.ms': 500, 'partition.assignment.strategy': 'range'}
    return Consumer({'bootstrap.servers': broker.bootstrap, 'group.id': group, 'auto.offset.reset': 'earliest',
                     'group.protocol': protocol, **(classic if protocol == 'classic' else {}), **options})


def settle(members, partitions, got=None, timeout=90):
    """Polls until everybody has a part and nobody shares one."""
    deadline, since = time.monotonic() + timeout, None
    while time.monotonic() < deadline:
        for consumer in members:
            for message in consumer.consume(100, timeout=0.1):
                assert message.error() is None, message.error()
                if got is not None:
                    got.append(int(message.value()))
        owned = [(p.topic, p.partition) for m in members for p in m.assignment()]
        if len(owned) == partitions == len(set(owned)) and all(m.assignment() for m in members):
            since = since or time.monotonic()
            if time.monotonic() - since > 1.5:
                return
        else:
            since = None
    raise AssertionError(f'no stable assignment: {[m.assignment() for m in members]}')


@pytest.mark.parametrize('assignor', ['uniform', 'range'])
def test_members_come_and_go(quick, name, assignor):
    admin = create(quick, name, 6)
    produce(quick, name, 300, 6)
    got = []
    members = [member(quick, name, 'consumer', **{'group.remote.assignor': assignor})]
    members[0].subscribe([name])
    settle(members, 6, got)
    for _ in range(2):
        members.append(member(quick, name, 'consumer', **{'group.remote.assignor': assignor}))
        members[-1].subscribe([name])
        settle(members, 6, got)
    described = admin.describe_consumer_groups([name])[name].result(15)
    assert len(described.members) == 3 and described.state.name == 'STABLE'
    members.pop().close()
    settle(members, 6, got)
    admin.create_partitions([NewPartitions(name, 8)])[name].result(15)
    settle(members, 8, got)
    assert sorted(set(got)) == list(range(300))
    for consumer in members:
        consumer.close()
    assert admin.delete_consumer_groups([name])[name].result(15) is None


def test_committed_offsets_continue(quick, name):
    create(quick, name, 2)
    produce(quick, name, 100, 2)
    first, got = member(quick, name, 'consumer'), []
    first.subscribe([name])
    settle([first], 2, got)
    while len(got) < 100:
        settle([first], 2, got)
    first.close()
    produce(quick, name, 10, 2)
    second, more = member(quick, name, 'consumer'), []
    second.subscribe([name])
    settle([second], 2, more)
    assert sorted(more) == list(range(10))
    second.close()


def test_a_static_member_comes_back(quick, name):
    create(quick, name, 4)
    other = member(quick, name, 'consumer', **{'group.instance.id': 'b'})
    other.subscribe([name])
    fixed = member(quick, name, 'consumer', **{'group.instance.id': 'a'})
    fixed.subscribe([name])
    settle([fixed, other], 4)
    before = sorted(p.partition for p in fixed.assignment())
    fixed.close()
    fixed = member(quick, name, 'consumer', **{'group.instance.id': 'a'})
    fixed.subscribe([name])
    settle([fixed, other], 4)
    assert sorted(p.partition for p in fixed.assignment()) == before
    fixed.close()
    other.close()


def test_a_regular_expression_finds_topics(quick, name):
    create(quick, f'{name}-one', 2)
    consumer = member(quick, name, 'consumer')
    consumer.subscribe([f'^{name}-.*'])
    settle([consumer], 2)
    create(quick, f'{name}-two', 1)
    settle([consumer], 3)
    consumer.close()


def test_a_group_moves_to_the_newer_protocol_and_back(quick, name):
    create(quick, name, 4)
    produce(quick, name, 100, 4)
    got = []
    old = [member(quick, name, 'classic') for _ in range(2)]
    for consumer in old:
        consumer.subscribe([name])
    settle(old, 4, got)
    new = member(quick, name, 'consumer')
    new.subscribe([name])
    settle([*old, new], 4, got)
    old.pop().close()
    settle([*old, new], 4, got)
    produce(quick, name, 100, 4)
    again = member(quick, name, 'classic')
    again.subscribe([name])
    settle([*old, new, again], 4, got)
    new.close()
    settle([*old, again], 4, got)
    produce(quick, name, 100, 4)
    deadline = time.monotonic() + 60
    while len(got) < 300 and time.monotonic() < deadline:
        settle([*old, again], 4, got)
    assert sorted(set(got)) == list(range(100)) and len(got) >= 300
    for consumer in [*old, again]:
        consumer.close()
