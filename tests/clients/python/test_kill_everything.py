"""kill -9 of a node that does everything at once: two log directories, both durability policies, the journal in use.

Idempotent small writes to many partitions, `acks=1` without retries, transactions over several partitions, a log that is rolled and
deleted by retention all the time, a compacted one, topics that come and go. The kill comes at a random moment or when a file shows that
a roll, a deletion or a swap of the cleaner is under way; now and then it is an orderly stop instead. After each, all that was
acknowledged since the last look is there, and everybody gets on; in the end everything is read and compared, by ottla, and, where
Apache Kafka's jars are, by DumpLogSegments and by Apache Kafka itself on the directories as the last kill left them.

`OTTLA_KILL_ROUNDS` sets how many rounds, `OTTLA_KILL_SEED` when the kills come. What a failure leaves is kept.
"""

import os
import random
import signal
import threading
import time

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import apache_kafka
from conftest import Broker
from test_kill_rounds import KEYS, PATIENT, Rewriter, Worker, read

ROUNDS = int(os.environ.get("OTTLA_KILL_ROUNDS", "4"))
SEED = int(os.environ.get("OTTLA_KILL_SEED", str(random.randrange(1 << 32))))
# For what has to come, however busy the machine is.
PATIENCE = 300
# Files by the end of their names, whether there are more or less of them, and how long to wait for that at most.
MOMENTS = [('', 0, 0), ('', 0, 0), ('.log', 1, 3), ('.deleted', 1, 3), ('-delete', 1, 3), ('.swap', 1, 3), ('.cleaned', 1, 3),
           ('.snapshot', 1, 3), ('.deleted', -1, 17), ('-delete', -1, 17)]
SEGMENT = {'segment.bytes': '1048576'}


class Numbered(Worker):
    """Sends numbers to each partition, and notes the offset of those that were acknowledged."""

    def __init__(self, broker, topic, partitions, size, pause, config):
        super().__init__(broker)
        self.producer = Producer({**self.server, **PATIENT, 'message.timeout.ms': 1000 * PATIENCE, **config})
        self.topic, self.partitions, self.filling, self.pause = topic, partitions, b'.' * size, pause
        self.sent, self.acknowledged = [0] * partitions, [[] for _ in range(partitions)]
        self.checked = [0] * partitions
        self.may_fail = config.get('retries') == 0

    def step(self):
        for partition in range(self.partitions):
            self.send(partition)
        self.producer.poll(self.pause)

    def send(self, partition):
        number = self.sent[partition]

        def delivered(error, message):
            if not error:
                offset = message.offset()
                if offset is None and not self.may_fail:
                    # librdkafka found out that an earlier attempt was written; the checks insist that it was there.
                    offset = number
                self.acknowledged[partition].append((offset, number))
            elif not self.may_fail:
                raise KafkaException(error)

        self.producer.produce(self.topic, b'%d%s' % (number, self.filling), partition=partition, on_delivery=delivered)
        self.sent[partition] += 1

    def end(self):
        assert self.producer.flush(PATIENCE) == 0

    def done(self):
        return sum(map(len, self.acknowledged))

    def look(self, broker):
        """What was acknowledged since the last look is there."""
        news = [acks[checked:] for acks, checked in zip(self.acknowledged, self.checked)]
        self.checked = [checked + len(acks) for checked, acks in zip(self.checked, news)]
        ranges = {partition: (acks[0][0], acks[-1][0]) for partition, acks in enumerate(news) if acks}
        for partition, found in numbers(broker, self.topic, ranges).items():
            lost = set(self.kept(broker, partition, news[partition])) - set(found)
            assert not lost, f'{self.topic}-{partition}: lost {sorted(lost)}'

    def kept(self, broker, partition, news):
        return news

    def check(self, broker):
        """Everything, in the end."""
        for partition, found in numbers(broker, self.topic, {p: (0, None) for p in range(self.partitions)}).items():
            self.check_all(partition, found)

    def check_all(self, partition, found):
        """Idempotent and without failures: one record for each number, at that offset."""
        assert self.acknowledged[partition] == [(number, number) for number in range(self.sent[partition])]
        assert found == self.acknowledged[partition], f'{self.topic}-{partition}: lost, repeated or out of order'


class Once(Numbered):
    """Without idempotence and retries: what was not acknowledged may be there or not, everything once at most and in order."""

    def check_all(self, partition, found):
        assert set(self.acknowledged[partition]) <= set(found), f'{self.topic}-{partition}: lost'
        order = [number for _, number in found]
        assert order == sorted(set(order)), f'{self.topic}-{partition}: repeated or out of order'
        assert [offset for offset, _ in found] == list(range(len(found)))


class Fleeting(Numbered):
    """Retention takes from the front: what is left is the rest, without a hole."""

    def kept(self, broker, partition, news):
        """Retention may overtake the reading: what it has left when that is over."""
        consumer = Consumer({'bootstrap.servers': broker.bootstrap, 'group.id': 'checker', 'reconnect.backoff.max.ms': 200})
        try:
            start, _ = consumer.get_watermark_offsets(TopicPartition(self.topic, partition), timeout=PATIENCE)
        finally:
            consumer.close()
        return [ack for ack in news if ack[0] >= start]

    def check_all(self, partition, found):
        assert found, f'{self.topic}-{partition}'
        assert found == [(number, number) for number in range(found[0][0], self.sent[partition])]
        assert found[0][0] > 0 or self.sent[partition] < 400, 'retention has removed nothing'


class Transactions(Worker):
    """Each transaction writes to all partitions; every fourth is aborted on purpose."""

    def __init__(self, broker, topic, partitions):
        super().__init__(broker)
        self.topic, self.partitions, self.number, self.producer = topic, partitions, 0, None
        self.committed, self.unsure = set(), set()

    def open(self):
        while True:
            self.producer = Producer({**self.server, 'transactional.id': self.topic, 'transaction.timeout.ms': 30000,
                                      'retry.backoff.ms': 50, 'reconnect.backoff.max.ms': 200})
            try:
                self.producer.init_transactions(30)
                return
            except KafkaException as error:
                if not error.args[0].retriable() and self.stopping.is_set():
                    raise

    @staticmethod
    def values(number):
        return [b'%d.%d' % (number, copy) for copy in range(number % 3 + 1)]

    def step(self):
        if self.producer is None:
            self.open()
        number, self.number = self.number, self.number + 1
        is_ending = False
        try:
            self.producer.begin_transaction()
            for partition in range(self.partitions):
                for value in self.values(number):
                    self.producer.produce(self.topic, value, partition=partition)
            if number % 4 == 3:
                self.retry(self.producer.abort_transaction)
                return
            is_ending = True
            self.retry(self.producer.commit_transaction)
            self.committed.add(number)
        except KafkaException as error:
            if error.args[0].txn_requires_abort():
                try:
                    self.retry(self.producer.abort_transaction)
                    return
                except KafkaException:
                    pass
            if is_ending:
                self.unsure.add(number)
            self.producer = None

    @staticmethod
    def retry(call):
        while True:
            try:
                return call(30)
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise

    def done(self):
        return len(self.committed)

    def look(self, broker):
        pass

    def check(self, broker):
        wanted = None
        for partition in range(self.partitions):
            found = [message.value() for message in read(broker, self.topic, partition)]
            seen = {int(value.split(b'.')[0]) for value in found}
            assert self.committed <= seen, f'lost: {sorted(self.committed - seen)[:5]}'
            assert seen <= self.committed | self.unsure, f'not committed: {sorted(seen - self.committed)[:5]}'
            assert wanted in (None, seen), 'in one partition and not in another'
            wanted = seen
            assert found == [value for number in sorted(seen) for value in self.values(number)], 'not whole, or out of order'


class State(Rewriter):
    """The compacted topic."""

    def done(self):
        return self.number - len(self.producer)

    def look(self, broker):
        pass

    def check(self, broker):
        remaining = read(broker, self.topic, 0)
        assert {message.key(): message.value() for message in remaining} == self.newest
        assert len(self.newest) == KEYS
        assert len(remaining) < self.number, 'nothing was compacted'


class Topics(Worker):
    """Topics come, get records, and go again."""

    def __init__(self, broker, prefix):
        super().__init__(broker)
        self.admin = AdminClient({**self.server, 'reconnect.backoff.max.ms': 200})
        self.producer = Producer({**self.server, 'linger.ms': 0, 'reconnect.backoff.max.ms': 200})
        self.prefix, self.number, self.present, self.gone = prefix, 0, set(), set()

    def step(self):
        name, self.number = f'{self.prefix}-{self.number}', self.number + 1
        self.insist(lambda: self.admin.create_topics([NewTopic(name, 3, 1, config={**SEGMENT, 'file.delete.delay.ms': '200'})]),
                    KafkaError.TOPIC_ALREADY_EXISTS)
        self.present.add(name)
        for partition in range(3):
            self.producer.produce(name, b'.' * 3000, partition=partition)
        self.producer.poll(0.05)
        oldest = f'{self.prefix}-{self.number - 4}'
        if oldest in self.present:
            self.present.discard(oldest)
            self.insist(lambda: self.admin.delete_topics([oldest]), KafkaError.UNKNOWN_TOPIC_OR_PART)
            self.gone.add(oldest)

    @staticmethod
    def insist(call, done):
        """Again until it is done; an answer may get lost."""
        while True:
            try:
                for future in call().values():
                    future.result(PATIENCE)
                return
            except KafkaException as error:
                if error.args[0].code() == done:
                    return
                time.sleep(0.05)

    def done(self):
        return self.number

    def look(self, broker):
        pass

    def check(self, broker):
        topics = set(AdminClient({'bootstrap.servers': broker.bootstrap}).list_topics(timeout=PATIENCE).topics)
        assert self.present <= topics, f'lost: {self.present - topics}'
        assert not self.gone & topics, f'came back: {self.gone & topics}'


def numbers(broker, topic, ranges):
    """Offset and number of each record of partitions, from one offset to another or, with `None`, the end."""
    consumer = Consumer({'bootstrap.servers': broker.bootstrap, 'group.id': 'checker', 'enable.auto.commit': False,
                         'auto.offset.reset': 'earliest', 'enable.partition.eof': True, 'reconnect.backoff.max.ms': 200,
                         'fetch.wait.max.ms': 50})
    consumer.assign([TopicPartition(topic, partition, begin) for partition, (begin, _) in ranges.items()])
    found, missing = {partition: [] for partition in ranges}, set(ranges)
    deadline = time.monotonic() + PATIENCE
    try:
        while missing and time.monotonic() < deadline:
            for message in consumer.consume(1000, timeout=0.02):
                partition = message.partition()
                last = ranges[partition][1]
                if not message.error():
                    found[partition].append((message.offset(), int(message.value().split(b'.')[0])))
                    if last is not None and message.offset() >= last:
                        missing.discard(partition)
                elif message.error().code() == KafkaError._PARTITION_EOF and last is None:
                    missing.discard(partition)
    finally:
        consumer.close()
    assert not missing, f'{topic}: {[(p, ranges[p], found[p][-1:]) for p in missing]} did not come'
    return found


def names_below(log_dirs):
    for log_dir in log_dirs:
        for entry in os.scandir(log_dir):
            yield entry.name
            if entry.is_dir():
                try:
                    yield from (file.name for file in os.scandir(entry.path))
                except FileNotFoundError:
                    pass


def wait_for_moment(broker, dice):
    """A random time, or until files show that something is under way; tells which."""
    time.sleep(dice.uniform(0.2, 1.2))
    ending, change, patience = dice.choice(MOMENTS)
    known, deadline = None, time.monotonic() + patience
    while time.monotonic() < deadline:
        count = sum(name.endswith(ending) for name in names_below(broker.log_dirs))
        if known is not None and (count - known) * change > 0:
            return f'{"more" if change > 0 else "less"} {ending}'
        known = count
    return 'a random time'


def has_journal(broker):
    return any(os.path.exists(os.path.join(log_dir, 'ottla-journal-0')) for log_dir in broker.log_dirs)


def wait_for_journal(broker):
    """It is made when several partitions have waited for the disk side by side for a few times; goes on without it in the end."""
    deadline = time.monotonic() + 10
    while not has_journal(broker) and time.monotonic() < deadline:
        time.sleep(0.01)


def start_workers(broker, name):
    idempotent = {'acks': 'all', 'enable.idempotence': True}
    workers = [
        Numbered(broker, f'{name}-wide', 48, 100, 0.02, {**idempotent, 'linger.ms': 0}),
        Once(broker, f'{name}-once', 3, 300, 0.01, {'acks': 1, 'retries': 0, 'linger.ms': 1}),
        Fleeting(broker, f'{name}-fleeting', 2, 9000, 0.01, {**idempotent, 'linger.ms': 1}),
        Transactions(broker, f'{name}-transactions', 4),
        State(broker, f'{name}-state'),
        Topics(broker, f'{name}-topic'),
    ]
    rolled = {**SEGMENT, 'segment.ms': '1500'}
    fleeting = {**SEGMENT, 'retention.bytes': '2097152', 'file.delete.delay.ms': '200'}
    compacted = {**SEGMENT, 'cleanup.policy': 'compact', 'min.cleanable.dirty.ratio': '0.01', 'file.delete.delay.ms': '200'}
    topics = [NewTopic(f'{name}-wide', 48, 1, config=SEGMENT), NewTopic(f'{name}-once', 3, 1, config=rolled),
              NewTopic(f'{name}-fleeting', 2, 1, config=fleeting), NewTopic(f'{name}-transactions', 4, 1, config=rolled),
              NewTopic(f'{name}-state', 1, 1, config=compacted)]
    admin = AdminClient({'bootstrap.servers': broker.bootstrap})
    for future in admin.create_topics(topics).values():
        future.result(PATIENCE)
    for worker in workers:
        worker.start()
    return workers


def wait_for_progress(workers):
    """Everybody gets something done from now on."""
    before = [worker.done() for worker in workers]
    deadline = time.monotonic() + PATIENCE
    while True:
        for worker in workers:
            if worker.failure:
                raise worker.failure
        stuck = [type(worker).__name__ for worker, done in zip(workers, before) if worker.done() <= done]
        if not stuck:
            return
        assert time.monotonic() < deadline, f'no progress: {stuck}'
        time.sleep(0.02)


@pytest.mark.timeout(600 + 60 * ROUNDS)
@pytest.mark.parametrize('policy', ['sync', 'page-cache'])
def test_nothing_is_lost_when_it_is_killed(name, policy):
    if os.environ.get("OTTLA_TEST_BOOTSTRAP"):
        pytest.skip("the broker is external")
    broker = Broker(f'log.durability.policy={policy}', 'log.cleaner.backoff.ms=200', 'log.retention.check.interval.ms=200', 'log.initial.task.delay.ms=100',
                    'offsets.topic.num.partitions=3', 'transaction.state.log.num.partitions=3',
                    'group.initial.rebalance.delay.ms=0', 'log.flush.offset.checkpoint.interval.ms=700',
                    'log.flush.start.offset.checkpoint.interval.ms=900',
                    # A producer asks for topics that it once wrote to, every five minutes.
                    'auto.create.topics.enable=false', dirs=2)
    try:
        rounds(broker, name, policy)
    except BaseException:
        broker.kill()
        print(f'left for a look: {broker.directory}')
        raise
    broker.remove()


def rounds(broker, name, policy):
    print(f'seed {SEED}')
    dice, journals = random.Random(f'{SEED} {policy}'), 0
    workers = start_workers(broker, name)
    for number in range(ROUNDS):
        if policy == 'sync' and dice.randrange(2) == 0:
            wait_for_journal(broker)
        moment = wait_for_moment(broker, dice)
        journals += has_journal(broker)
        is_orderly = dice.randrange(6) == 0
        broker.restart(signal.SIGTERM if is_orderly else signal.SIGKILL)
        begin = time.monotonic()
        wait_for_progress(workers)
        progress = time.monotonic() - begin
        for worker in workers:
            worker.look(broker)
        looked = time.monotonic() - begin - progress
        print(f'{number}: {moment}, {"stopped" if is_orderly else "killed"}, journals {journals}; progress after {progress:.2f} s, looked for {looked:.2f} s',
              flush=True)
    for worker in workers:
        worker.finish()
    assert journals > 0 or policy != 'sync', 'the journal was never in use'
    begin = time.monotonic()
    for worker in workers:
        worker.check(broker)
    print(f'checked in {time.monotonic() - begin:.1f} s', flush=True)
    broker.kill()
    if not apache_kafka.is_here():
        print('SKIPPED: DumpLogSegments and Apache Kafka, whose jars are not here')
        return
    apache_kafka.dump(broker.log_dirs)
    print(f'dumped, {time.monotonic() - begin:.1f} s', flush=True)
    kafka = apache_kafka.Kafka(broker)
    try:
        for worker in workers:
            worker.check(kafka)
    finally:
        kafka.stop()
    print(f'Apache Kafka agrees, {time.monotonic() - begin:.1f} s', flush=True)
