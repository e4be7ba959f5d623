"""Sends keyed sensor readings and reads them back with two readers; the order per sensor is kept.

Usage: sensors.py [SENSORS] [READINGS]
"""

import json
import os
import random
import sys
import threading
import time

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

SERVER = os.environ.get('OTTLA_BOOTSTRAP_SERVER', 'localhost:9092')
sensors = int(sys.argv[1]) if len(sys.argv) > 1 else 20
readings = int(sys.argv[2]) if len(sys.argv) > 2 else 100
topic = 'sensor-readings'

created = AdminClient({'bootstrap.servers': SERVER}).create_topics([NewTopic(topic, num_partitions=6)])
if created[topic].exception(timeout=15) is None:
    print('created topic', topic)

run = f'{time.time():.0f}'
seen, lock = {}, threading.Lock()


def total():
    with lock:
        return sum(len(numbers) for numbers in seen.values())


def reader():
    consumer = Consumer({'bootstrap.servers': SERVER, 'group.id': f'dashboard-{run}', 'auto.offset.reset': 'earliest'})
    consumer.subscribe([topic])
    while total() < sensors * readings and time.monotonic() < deadline:
        for message in consumer.consume(100, timeout=0.5):
            reading = json.loads(message.value())
            if reading['run'] == run:
                with lock:
                    seen.setdefault(message.key().decode(), []).append(reading['number'])
    consumer.close()


producer = Producer({'bootstrap.servers': SERVER, 'enable.idempotence': True, 'linger.ms': 5})
for number in range(readings):
    for sensor in range(sensors):
        value = {'run': run, 'number': number, 'celsius': round(random.gauss(21, 2), 2)}
        producer.produce(topic, key=f'sensor-{sensor}', value=json.dumps(value))
    producer.poll(0)
assert producer.flush(30) == 0
print(f'sent {sensors * readings} readings of {sensors} sensors')

deadline = time.monotonic() + 60
readers = [threading.Thread(target=reader) for _ in range(2)]
for thread in readers:
    thread.start()
for thread in readers:
    thread.join()
mixed = [sensor for sensor, numbers in seen.items() if numbers != list(range(readings))]
if len(seen) != sensors or mixed:
    sys.exit(f'{len(seen)} of {sensors} sensors read, out of order: {mixed}')
print('the readings of every sensor were read in order')
