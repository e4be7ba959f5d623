"""kill -9 under load, five rounds: every acknowledged record is read back once and in order per partition."""

import os
import signal
import threading
import time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

PARTITIONS = 3
ROUNDS = int(os.environ.get("OTTLA_KILL_ROUNDS", "5"))


class Load(threading.Thread):
    """Produces numbered records to every partition until told to stop, and notes which were acknowledged."""

    def __init__(self, broker, topic):
        super().__init__(daemon=True)
        self.producer = Producer({
            'bootstrap.servers': broker.bootstrap, 'acks': 'all', 'enable.idempotence': True, 'linger.ms': 2,
            'message.timeout.ms': 120000, 'retry.backoff.ms': 50, 'reconnect.backoff.max.ms': 200})
        self.topic, self.stopping = topic, threading.Event()
        self.sent = [0] * PARTITIONS
        self.acknowledged = [[] for _ in range(PARTITIONS)]
        self.errors = []

    def run(self):
        while not self.stopping.is_set():
            for partition in range(PARTITIONS):
                self.send(partition)
            self.producer.poll(0.001)

    def send(self, partition):
        number = self.sent[partition]

        def delivered(error, message):
            if error:
                self.errors.append(error)
            else:
                self.acknowledged[partition].append((number, message.offset()))

        self.producer.produce(self.topic, b'%d' % number, partition=partition, on_delivery=delivered)
        self.sent[partition] += 1

    def finish(self):
        self.stopping.set()
        self.join()
        assert self.producer.flush(120) == 0


def read_all(broker, topic, partition):
    consumer = Consumer({'bootstrap.servers': broker.bootstrap, 'group.id': 'checker', 'enable.auto.commit': False})
    consumer.assign([TopicPartition(topic, partition, 0)])
    end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)[1]
    records = []
    deadline = time.monotonic() + 60
    while (not records or records[-1][1] < end - 1) and end > 0 and time.monotonic() < deadline:
        records += [(int(m.value()), m.offset()) for m in consumer.consume(1000, timeout=0.5) if not m.error()]
    consumer.close()
    return records


def test_acknowledged_records_survive_kill_9(own_broker, name):
    admin = AdminClient({'bootstrap.servers': own_broker.bootstrap})
    admin.create_topics([NewTopic(name, PARTITIONS, 1)])[name].result(15)
    load = Load(own_broker, name)
    load.start()
    for _ in range(ROUNDS):
        time.sleep(1.5)
        own_broker.restart(signal.SIGKILL)
    time.sleep(1)
    load.finish()
    assert not load.errors
    for partition in range(PARTITIONS):
        read = read_all(own_broker, name, partition)
        assert [number for number, _ in read] == list(range(load.sent[partition])), 'lost, repeated or out of order'
        assert sorted(load.acknowledged[partition]) == read
        assert load.sent[partition] > 100
