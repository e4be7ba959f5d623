"""Two members of a consumer group share the partitions of a topic of log lines.

Usage: readers.py TOPIC [LINES]    (with LINES: stop after so many lines in all)
"""

import os
import sys
import threading
import time
from collections import Counter

from kafka import KafkaConsumer

SERVER = os.environ.get('OTTLA_BOOTSTRAP_SERVER', 'localhost:9092')
topic = sys.argv[1]
expected = int(sys.argv[2]) if len(sys.argv) > 2 else None
lines, owners, stop = Counter(), {}, threading.Event()


def reader(name):
    consumer = KafkaConsumer(topic, bootstrap_servers=SERVER, group_id=f'{topic}-readers',
                             auto_offset_reset='earliest', heartbeat_interval_ms=500)
    while not stop.is_set():
        for batch in consumer.poll(timeout_ms=200).values():
            lines[name] += len(batch)
        owned = sorted(p.partition for p in consumer.assignment())
        if owned and owned != owners.get(name):
            print(f'{name} reads partitions {owned}\n', end='', flush=True)
        owners[name] = owned
    consumer.close()


def shared():
    return len(owners) == 2 and all(owners.values())


members = [threading.Thread(target=reader, args=(f'reader-{i}',)) for i in (1, 2)]
for member in members:
    member.start()
try:
    deadline = time.monotonic() + 60
    while expected is None or sum(lines.values()) < expected or not shared():
        time.sleep(0.2)
        if expected is not None and time.monotonic() > deadline:
            sys.exit(f'only {sum(lines.values())} of {expected} lines, partitions {owners}')
except KeyboardInterrupt:
    pass
finally:
    stop.set()
    for member in members:
        member.join()
print(', '.join(f'{name}: {lines[name]} lines' for name in sorted(owners)))
if expected is not None and sum(lines.values()) != expected:
    sys.exit(f'{sum(lines.values())} lines instead of {expected}')
