"""aiokafka: codecs and a group."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer


@pytest.mark.parametrize('codec', [None, 'gzip', 'snappy', 'lz4', 'zstd'])
def test_group_reads_every_codec(broker, name, codec):
    async def run():
        producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap, compression_type=codec, enable_idempotence=True)
        await producer.start()
        for i in range(100):
            await producer.send(name, value=b'%d' % i * 20, key=b'k', headers=[('h', b'%d' % i)])
        await producer.flush()
        await producer.stop()
        consumer = AIOKafkaConsumer(name, bootstrap_servers=broker.bootstrap, group_id=f'{name}-g',
                                    auto_offset_reset='earliest')
        await consumer.start()
        values = []
        while len(values) < 100:
            message = await asyncio.wait_for(consumer.getone(), 30)
            values.append(message.value)
        await consumer.commit()
        await consumer.stop()
        assert values == [b'%d' % i * 20 for i in range(100)]

    asyncio.run(run())
