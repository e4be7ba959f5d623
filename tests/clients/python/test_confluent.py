"""confluent-kafka (librdkafka): codecs, idempotence, groups, static members, cooperative rebalancing, admin calls."""

import time

import pytest
from confluent_kafka import (OFFSET_BEGINNING, Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer,
                             TopicPartition)
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions,
                                   NewTopic, OffsetSpec, ResourceType)


def produce(broker, topic, records, **options):
    failed = []
    producer = Producer({'bootstrap.servers': broker.bootstrap, **options})
    for record in records:
        producer.produce(topic, on_delivery=lambda error, _: failed.append(error) if error else None, **record)
        producer.poll(0)
    assert producer.flush(30) == 0
    assert not failed


def consume(consumer, count, timeout=40):
    records, deadline = [], time.monotonic() + timeout
    while len(records) < count and time.monotonic() < deadline:
        for message in consumer.consume(500, timeout=0.5):
            assert message.error() is None
            records.append(message)
    return records


def make_consumer(broker, group, **options):
    return Consumer({'bootstrap.servers': broker.bootstrap, 'group.id': group, 'auto.offset.reset': 'earliest',
                     **options})


@pytest.fixture
def admin(broker):
    return AdminClient({'bootstrap.servers': broker.bootstrap})


def create(admin, topic, partitions, config=None):
    admin.create_topics([NewTopic(topic, partitions, 1, config=config or {})])[topic].result(15)


@pytest.mark.parametrize('codec', ['none', 'gzip', 'snappy', 'lz4', 'zstd'])
@pytest.mark.parametrize('idempotent', ['false', 'true'])
def test_every_codec(broker, name, codec, idempotent, admin):
    create(admin, name, 2)
    sent = [{'key': b'k%d' % (i % 7), 'value': b'v%d' % i * 50, 'headers': [('h', b'%d' % i), ('n', None)],
             'timestamp': int(time.time() * 1000) - 1000 + i} for i in range(200)]
    produce(broker, name, sent, **{'compression.type': codec, 'enable.idempotence': idempotent, 'linger.ms': 5})
    consumer = make_consumer(broker, f'{name}-g')
    consumer.subscribe([name])
    got = consume(consumer, 200)
    assert sorted(m.value() for m in got) == sorted(r['value'] for r in sent)
    for message in got:
        number = int(message.headers()[0][1])
        assert message.value() == sent[number]['value'] and message.key() == sent[number]['key']
        assert message.timestamp()[1] == sent[number]['timestamp'] and message.headers()[1] == ('n', None)
    per_key = {}
    for message in got:
        per_key.setdefault(message.key(), []).append(int(message.headers()[0][1]))
    assert all(order == sorted(order) for order in per_key.values())
    consumer.close()


@pytest.mark.parametrize('strategy', ['range', 'roundrobin', 'cooperative-sticky'])
def test_rebalance_between_members(broker, name, strategy, admin):
    create(admin, name, 6)
    options = {'partition.assignment.strategy': strategy, 'session.timeout.ms': 10000,
               'heartbeat.interval.ms': 500}
    members = []

    def settle():
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for member in members:
                member.poll(0.1)
            owned = [p.partition for m in members for p in m.assignment()]
            if len(owned) == 6 and len(set(owned)) == 6 and all(m.assignment() for m in members):
                return
        raise AssertionError('no stable assignment')

    for _ in range(3):
        member = make_consumer(broker, f'{name}-g', **options)
        member.subscribe([name])
        members.append(member)
        settle()
    while len(members) > 1:
        members.pop().close()
        settle()
    members.pop().close()


def test_static_member_keeps_its_partitions_over_a_restart(broker, name, admin):
    create(admin, name, 4)
    options = {'session.timeout.ms': 30000, 'heartbeat.interval.ms': 500}

    def join(instance):
        member = make_consumer(broker, f'{name}-g', **{'group.instance.id': instance, **options})
        member.subscribe([name])
        return member

    def settle(members):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for member in members:
                member.poll(0.1)
            if sum(len(m.assignment()) for m in members) == 4 and all(m.assignment() for m in members):
                return [sorted(p.partition for p in m.assignment()) for m in members]
        raise AssertionError('no stable assignment')

    first, second = join('one'), join('two')
    before = settle([first, second])
    second.close()
    started = time.monotonic()
    second = join('two')
    assert settle([first, second]) == before
    assert time.monotonic() - started < 25, 'a static member comes back without waiting for its session'
    first.close()
    second.close()


def test_commit_fetch_and_list_offsets(broker, name, admin):
    create(admin, name, 1)
    produce(broker, name, [{'value': b'%d' % i, 'timestamp': 1_700_000_000_000 + i} for i in range(10)],
            **{'linger.ms': 5})
    group = f'{name}-g'
    consumer = make_consumer(broker, group, **{'enable.auto.commit': False})
    consumer.assign([TopicPartition(name, 0, OFFSET_BEGINNING)])
    assert len(consume(consumer, 10)) == 10
    consumer.commit(offsets=[TopicPartition(name, 0, 4)], asynchronous=False)
    assert consumer.committed([TopicPartition(name, 0)])[0].offset == 4
    assert consumer.get_watermark_offsets(TopicPartition(name, 0)) == (0, 10)
    assert consumer.offsets_for_times([TopicPartition(name, 0, 1_700_000_000_003)])[0].offset == 3
    consumer.close()
    for spec, offset in ((OffsetSpec.earliest(), 0), (OffsetSpec.latest(), 10), (OffsetSpec.max_timestamp(), 9),
                         (OffsetSpec.for_timestamp(1_700_000_000_005), 5)):
        found = admin.list_offsets({TopicPartition(name, 0): spec})
        assert found[TopicPartition(name, 0)].result(15).offset == offset
    listed = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(15)
    assert [(p.topic, p.partition, p.offset) for p in listed.topic_partitions] == [(name, 0, 4)]
    assert group in [g.group_id for g in admin.list_consumer_groups().result(15).valid]
    described = admin.describe_consumer_groups([group])[group].result(15)
    assert described.state.name in ('EMPTY', 'DEAD')
    admin.delete_consumer_groups([group])[group].result(15)
    with pytest.raises(KafkaException):
        admin.delete_consumer_groups([group])[group].result(15)


def test_configs_partitions_and_records_are_managed(broker, name, admin):
    create(admin, name, 1, {'retention.ms': '3600000'})
    resource = ConfigResource(ResourceType.TOPIC, name)
    config = admin.describe_configs([resource])[resource].result(15)
    assert config['retention.ms'].value == '3600000' and config['cleanup.policy'].value == 'delete'
    change = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[
        ConfigEntry('max.message.bytes', '2000', incremental_operation=AlterConfigOpType.SET),
        ConfigEntry('retention.ms', None, incremental_operation=AlterConfigOpType.DELETE)])
    admin.incremental_alter_configs([change])[change].result(15)
    config = admin.describe_configs([resource])[resource].result(15)
    assert config['max.message.bytes'].value == '2000' and config['retention.ms'].value == '604800000'
    with pytest.raises(AssertionError):
        produce(broker, name, [{'value': b'x' * 5000}])
    admin.create_partitions([NewPartitions(name, 3)])[name].result(15)
    assert len(admin.list_topics(name, timeout=15).topics[name].partitions) == 3
    produce(broker, name, [{'value': b'%d' % i, 'partition': 0} for i in range(10)])
    deleted = admin.delete_records([TopicPartition(name, 0, 6)])[TopicPartition(name, 0)].result(15)
    assert deleted.low_watermark == 6
    admin.delete_topics([name])[name].result(15)


def test_cluster_is_described(broker, admin):
    cluster = admin.describe_cluster().result(15)
    assert len(cluster.nodes) == 1 and cluster.controller.id == cluster.nodes[0].id
    assert len(cluster.cluster_id) == 22
