"""What was acknowledged, committed and configured survives a stop and a kill of the broker."""

import signal

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType


@pytest.mark.parametrize('sig', [signal.SIGTERM, signal.SIGKILL])
def test_records_offsets_and_configs_survive(own_broker, name, sig):
    config = {'bootstrap.servers': own_broker.bootstrap}
    admin = AdminClient(config)
    admin.create_topics([NewTopic(name, 2, 1, config={'retention.ms': '7200000'})])[name].result(15)
    group = {**config, 'group.id': f'{name}-g', 'auto.offset.reset': 'earliest', 'enable.auto.commit': False}

    def produce(start, count):
        acknowledged = []
        producer = Producer({**config, 'acks': 'all', 'enable.idempotence': True})
        for i in range(start, start + count):
            producer.produce(name, b'%d' % i, partition=0,
                             on_delivery=lambda error, message: error or acknowledged.append(message.value()))
        assert producer.flush(30) == 0 and len(acknowledged) == count

    def read(count):
        consumer = Consumer(group)
        consumer.subscribe([name])
        got = []
        for _ in range(100):
            got += consumer.consume(count - len(got), timeout=0.5)
            if len(got) == count:
                break
        consumer.commit(asynchronous=False)
        consumer.close()
        return [message.value() for message in got]

    produce(0, 100)
    assert read(60) == [b'%d' % i for i in range(60)]
    own_broker.restart(sig)
    produce(100, 100)
    checker = Consumer(group)
    assert checker.committed([TopicPartition(name, 0)], timeout=30)[0].offset == 60
    assert checker.get_watermark_offsets(TopicPartition(name, 0), timeout=15) == (0, 200)
    checker.close()
    assert read(140) == [b'%d' % i for i in range(60, 200)]
    resource = ConfigResource(ResourceType.TOPIC, name)
    admin = AdminClient(config)
    found = admin.describe_configs([resource])[resource].result(15)
    assert found['retention.ms'].value == '7200000'
