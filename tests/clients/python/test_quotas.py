"""confluent-kafka (librdkafka) below and above a quota: it is throttled, and told so."""

import socket
import struct
import time

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic


def string(text):
    return struct.pack('>h', len(text)) + text.encode()


def set_quota(broker, client_id, key, value):
    """AlterClientQuotas version 0, which confluent-kafka has no call for."""
    entity = struct.pack('>i', 1) + string('client-id') + string(client_id)
    ops = struct.pack('>i', 1) + string(key) + struct.pack('>d?', value or 0.0, value is None)
    body = struct.pack('>i', 1) + entity + ops + b'\0'
    request = struct.pack('>hhi', 49, 0, 1) + string('quotas') + body
    host, port = broker.bootstrap.split(':')
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(struct.pack('>i', len(request)) + request)
        size, _, _, count, error = struct.unpack('>iiiih', connection.recv(18, socket.MSG_WAITALL))
        assert size > 14 and count == 1 and error == 0


def create(broker, topic):
    admin = AdminClient({'bootstrap.servers': broker.bootstrap})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(15)


def test_a_producer_above_its_quota_is_throttled(broker, name):
    create(broker, name)
    set_quota(broker, name, 'producer_byte_rate', 20_000)
    events = []
    producer = Producer({'bootstrap.servers': broker.bootstrap, 'client.id': name, 'linger.ms': 0,
                         'throttle_cb': lambda event: events.append(event.throttle_time)})
    begin = time.monotonic()
    # At 20,000 bytes a second ten seconds' worth are free.
    for _ in range(25):
        producer.produce(name, b'x' * 10_000)
        assert producer.flush(60) == 0
    took = time.monotonic() - begin
    producer.poll(0.5)
    assert events and max(events) > 0, 'throttle_cb was not called'
    assert took > 1, took
    set_quota(broker, name, 'producer_byte_rate', None)


def test_a_consumer_above_its_quota_is_throttled_and_gets_everything(broker, name):
    create(broker, name)
    # Small batches: one above what the quota allows at once would never come.
    producer = Producer({'bootstrap.servers': broker.bootstrap, 'batch.num.messages': 1})
    for index in range(30):
        producer.produce(name, b'%d' % index + b'x' * 10_000)
    assert producer.flush(60) == 0
    set_quota(broker, name, 'consumer_byte_rate', 20_000)
    events = []
    consumer = Consumer({'bootstrap.servers': broker.bootstrap, 'client.id': name, 'group.id': name,
                         'auto.offset.reset': 'earliest', 'fetch.message.max.bytes': 50_000,
                         'throttle_cb': lambda event: events.append(event.throttle_time)})
    consumer.subscribe([name])
    got, deadline = 0, time.monotonic() + 90
    while got < 30 and time.monotonic() < deadline:
        message = consumer.poll(0.5)
        got += message is not None and message.error() is None
    consumer.close()
    assert got == 30
    assert events and max(events) > 0, 'throttle_cb was not called'
    set_quota(broker, name, 'consumer_byte_rate', None)
