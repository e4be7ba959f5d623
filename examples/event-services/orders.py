"""The order service: places orders and waits until the payment service has them paid.

Usage: orders.py [COUNT]
"""

import json
import os
import sys
import time
import uuid

from kafka import KafkaConsumer, KafkaProducer

SERVER = os.environ.get('OTTLA_BOOTSTRAP_SERVER', 'localhost:9092')
count = int(sys.argv[1]) if len(sys.argv) > 1 else 10

producer = KafkaProducer(bootstrap_servers=SERVER, acks='all')
payments = KafkaConsumer('payments', bootstrap_servers=SERVER, group_id='order-service',
                         auto_offset_reset='earliest')

unpaid = {}
for number in range(count):
    order = str(uuid.uuid4())
    unpaid[order] = 10 + number
    event = {'type': 'OrderPlaced', 'order': order, 'amount': unpaid[order]}
    producer.send('orders', key=order.encode(), value=json.dumps(event).encode())
producer.flush()
print(f'placed {count} orders', flush=True)

deadline = time.monotonic() + 60
while unpaid and time.monotonic() < deadline:
    for batch in payments.poll(timeout_ms=500).values():
        for event in (json.loads(record.value) for record in batch):
            if event['order'] in unpaid:
                assert event['amount'] == unpaid.pop(event['order'])
                print(f"order {event['order']} is paid", flush=True)
payments.close()
producer.close()
sys.exit(f'{len(unpaid)} orders are not paid' if unpaid else 0)
