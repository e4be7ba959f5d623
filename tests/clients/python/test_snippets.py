"""The three snippets that every introduction to Kafka from Python begins with, verbatim but for the port."""

import threading

from kafka import KafkaConsumer, KafkaProducer


def test_producer_sends_and_flushes(broker):
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
    future = producer.send('test_topic', b'some data')
    producer.flush()
    assert future.get(timeout=10).topic == 'test_topic'
    producer.close()


def first_record_after(broker, topic, consumer):
    """Produces until the consumer, which starts at the end, has seen a record."""
    seen = []

    def consume():
        for record in consumer:
            seen.append(record)
            return

    reader = threading.Thread(target=consume, daemon=True)
    reader.start()
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
    for _ in range(200):
        producer.send(topic, b'some data').get(timeout=10)
        reader.join(timeout=0.2)
        if not reader.is_alive():
            break
    producer.close()
    assert seen and seen[0].value == b'some data'
    consumer.close()


def test_consumer_without_group(broker):
    first_record_after(broker, 'test_topic', KafkaConsumer('test_topic', bootstrap_servers=broker.bootstrap))


def test_consumer_in_group(broker):
    consumer = KafkaConsumer('test-topic', bootstrap_servers=broker.bootstrap, group_id='test-group')
    first_record_after(broker, 'test-topic', consumer)
