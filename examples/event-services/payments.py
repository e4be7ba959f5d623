"""The payment service: for each order placed, takes the payment and says so. Runs until it is stopped."""

import json
import os
import signal
import sys

from kafka import KafkaConsumer, KafkaProducer

SERVER = os.environ.get('OTTLA_BOOTSTRAP_SERVER', 'localhost:9092')
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

producer = KafkaProducer(bootstrap_servers=SERVER, acks='all')
orders = KafkaConsumer('orders', bootstrap_servers=SERVER, group_id='payment-service', auto_offset_reset='earliest',
                       enable_auto_commit=False)
try:
    while True:
        for batch in orders.poll(timeout_ms=500).values():
            for event in (json.loads(record.value) for record in batch):
                paid = {'type': 'PaymentReceived', 'order': event['order'], 'amount': event['amount']}
                producer.send('payments', key=event['order'].encode(), value=json.dumps(paid).encode())
            # The payments are safe before the orders count as done: after a crash an order may be paid twice, never lost.
            producer.flush()
            orders.commit()
except KeyboardInterrupt:
    pass
finally:
    orders.close()
    producer.close()
