"""Log directories that become full, become read-only, or cannot be used from the start, on small file systems of their own.

Needs the right to mount; without it everything here is skipped."""

import errno
import os
import shutil
import subprocess
import tempfile
import threading
import time

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from kafka import KafkaAdminClient

from conftest import Broker, free_port

SIZE = '16m'
ROOM = '64m'
PADDING = os.urandom(4000)
# At most this many records wait for their acknowledgement.
WINDOW = 1500
OPTIONS = ['log.segment.bytes=1048576', 'offsets.topic.num.partitions=1', 'transaction.state.log.num.partitions=1', 'num.partitions=1',
           'log.retention.check.interval.ms=100000']


def mount(path, *options):
    return subprocess.run(['mount', *options, path], capture_output=True, text=True)


@pytest.fixture
def disks():
    """Two small file systems, `a` and `b`, below a directory; unmounted whatever happens."""
    if os.environ.get('OTTLA_TEST_BOOTSTRAP'):
        pytest.skip('the broker is external')
    root = tempfile.mkdtemp(prefix='ottla-disks-')
    paths = [os.path.join(root, name) for name in ('a', 'b')]
    mounted = []
    try:
        for path in paths:
            os.mkdir(path)
            result = mount(path, '-t', 'tmpfs', '-o', f'size={SIZE}', 'tmpfs')
            if result.returncode != 0:
                pytest.skip(f'mounting is not permitted, so nothing is known about failing disks: {result.stderr.strip()}')
            mounted.append(path)
        yield paths
    finally:
        for path in mounted:
            # Twice at most: a test may have mounted it again over itself.
            for _ in range(2):
                if os.path.ismount(path) and subprocess.run(['umount', path], check=False).returncode != 0:
                    subprocess.run(['umount', '-l', path], check=False)
        if not any(os.path.ismount(path) for path in paths):
            shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def node():
    """Starts nodes on given directories; they are removed at the end."""
    running = []

    def start(*dirs):
        running.append(Broker(f'log.dirs={",".join(dirs)}', *OPTIONS))
        return running[-1]

    yield start
    for one in running:
        one.remove()


class Load(threading.Thread):
    """Produces numbered records to partitions, up to a limit for each that may be raised, and notes which were acknowledged."""

    def __init__(self, broker, topic, partitions, limit):
        super().__init__(daemon=True)
        self.producer = Producer({
            'bootstrap.servers': broker.bootstrap, 'acks': 'all', 'enable.idempotence': True, 'linger.ms': 2,
            'message.timeout.ms': 100000, 'retry.backoff.ms': 50, 'reconnect.backoff.max.ms': 200})
        self.topic, self.limit, self.stopping = topic, limit, threading.Event()
        self.sent = {partition: 0 for partition in partitions}
        self.acknowledged = {partition: [] for partition in partitions}
        self.errors = []
        self.start()

    def run(self):
        while not self.stopping.is_set():
            for partition, sent in self.sent.items():
                if sent < self.limit and sent - len(self.acknowledged[partition]) < WINDOW:
                    self.send(partition)
            self.producer.poll(0.0005)

    def has_acknowledged(self, partitions):
        return all(len(self.acknowledged[partition]) == self.limit for partition in partitions)

    def send(self, partition):
        number = self.sent[partition]

        def delivered(error, message):
            if error:
                self.errors.append(error)
            else:
                self.acknowledged[partition].append((number, message.offset()))

        self.producer.produce(self.topic, b'%08d' % number + PADDING, partition=partition, on_delivery=delivered)
        self.sent[partition] += 1

    def finish(self):
        self.stopping.set()
        self.join()
        assert self.producer.flush(60) == 0

    def check(self, broker):
        """Everything sent was acknowledged in the end, and is there once and in order."""
        assert not self.errors, self.errors[:3]
        for partition, sent in self.sent.items():
            read = read_all(broker, self.topic, partition)
            assert [number for number, _ in read] == list(range(sent)), 'lost, repeated or out of order'
            assert sorted(self.acknowledged[partition]) == read


def read_all(broker, topic, partition):
    consumer = Consumer({'bootstrap.servers': broker.bootstrap, 'group.id': 'checker', 'enable.auto.commit': False})
    consumer.assign([TopicPartition(topic, partition, 0)])
    end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)[1]
    records = []
    deadline = time.monotonic() + 30
    while (not records or records[-1][1] < end - 1) and end > 0 and time.monotonic() < deadline:
        records += [(int(m.value()[:8]), m.offset()) for m in consumer.consume(1000, timeout=0.5) if not m.error()]
    consumer.close()
    return records


def wait_for(what, condition, broker, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f'waited in vain for {what}: {broker.output()}'
        time.sleep(0.05)


def create(broker, topic, partitions=1):
    admin = AdminClient({'bootstrap.servers': broker.bootstrap})
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(15)
    return admin


def fill(disk):
    """Takes what room is left; the file to remove for having it back."""
    path = os.path.join(disk, 'ballast')
    with open(path, 'wb', buffering=0) as ballast:
        for size in (1 << 16, 1 << 9):
            try:
                while ballast.write(bytes(size)) == size:
                    pass
            except OSError as error:
                assert error.errno == errno.ENOSPC
    return path


def make_read_only(disk):
    """What is opened by name can no longer be written; what is open already can, as nobody may take that away."""
    assert mount(disk, '--bind', disk).returncode == 0
    assert mount(disk, '-o', 'remount,ro,bind').returncode == 0


def said_of(broker, directory, *words):
    """The one line of the log that says that the directory is out of service, once it is there; `words` are in it."""
    def lines():
        with open(broker.log_path, encoding='utf-8', errors='replace') as log:
            text = log.read()
        assert 'panicked' not in text, text[-4000:]
        return [line for line in text.splitlines() if 'the log directory is offline' in line and directory in line]

    wait_for(f'a word about {directory}', lines, broker)
    (line,) = lines()
    for word in words:
        assert word in line, line


def describe(broker):
    """Error code by log directory, as the broker describes them."""
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    try:
        (answer,) = admin.describe_log_dirs()
        return {entry['log_dir']: entry['error_code'] for entry in answer['log_dirs']}
    finally:
        admin.close()


def partitions_in(directory, topic):
    prefix = f'{topic}-'
    return sorted(int(entry[len(prefix):]) for entry in os.listdir(directory)
                  if entry.startswith(prefix) and entry[len(prefix):].isdigit())


def paths(disks):
    return [os.path.join(disk, 'data') for disk in disks]


def test_the_only_directory_becomes_full(disks, node, name):
    (directory, _) = paths(disks)
    broker = node(directory)
    create(broker, name, 2)
    load = Load(broker, name, [0, 1], limit=1 << 20)
    wait_for('the end of the node', lambda: broker.process.poll() is not None, broker)
    load.stopping.set()
    assert broker.process.returncode == 1
    said_of(broker, directory, 'No space left on device', 'Make room')
    assert any(load.acknowledged.values())
    assert mount(disks[0], '-o', f'remount,size={ROOM}').returncode == 0
    broker.start()
    load.finish()
    load.check(broker)


@pytest.mark.parametrize('failure', ['full', 'read-only'])
def test_one_of_two_directories_fails(disks, node, name, failure):
    sound, failing = paths(disks)
    broker = node(sound, failing)
    create(broker, name, 4)
    there, gone = partitions_in(sound, name), partitions_in(failing, name)
    assert len(there) == len(gone) == 2
    load = Load(broker, name, there + gone, limit=100)
    wait_for('acknowledgements', lambda: load.has_acknowledged(there + gone), broker)
    if failure == 'full':
        ballast, reason = fill(disks[1]), 'No space left on device'
    else:
        make_read_only(disks[1])
        reason = 'Read-only file system'
    load.limit = 700
    said_of(broker, failing, reason, 'start this node again')
    # The others go on, for reading and writing, and for what is new.
    wait_for('acknowledgements', lambda: load.has_acknowledged(there), broker)
    assert not load.has_acknowledged(gone[:1]) and not load.has_acknowledged(gone[1:])
    for partition in there:
        assert len(read_all(broker, name, partition)) == 700
    create(broker, f'{name}-new')
    assert partitions_in(sound, f'{name}-new') == [0]
    assert describe(broker) == {sound: 0, failing: KafkaError.KAFKA_STORAGE_ERROR}
    if failure == 'full':
        os.remove(ballast)
    else:
        assert subprocess.run(['umount', '-l', disks[1]]).returncode == 0
    broker.restart()
    assert describe(broker) == {sound: 0, failing: 0}
    load.finish()
    load.check(broker)


def contents(root):
    """What is below a directory: names, sizes and bytes."""
    found = {}
    for at, names, files in os.walk(root):
        found.update({os.path.join(at, entry): None for entry in names})
        for entry in files:
            with open(os.path.join(at, entry), 'rb') as file:
                found[os.path.join(at, entry)] = file.read()
    return found


def refuse(*dirs, prefix=()):
    """What a node says that does not start on the directories; its exit code must say that it did not."""
    listeners = f'PLAINTEXT://localhost:{free_port()},CONTROLLER://localhost:{free_port()}'
    command = [*prefix, os.environ['OTTLA_BIN'], 'server', '-o', f'log.dirs={",".join(dirs)}',
               '-o', f'listeners={listeners}', '-o', f'advertised.listeners={listeners}']
    result = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert result.returncode in (1, 2), result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith('error:')]
    assert len(errors) == 1 and 'panicked' not in result.stderr, result.stderr
    return errors[0]


@pytest.mark.parametrize('formatted', [False, True])
def test_a_node_does_not_start_on_a_read_only_directory(disks, node, formatted):
    (directory, other) = paths(disks)
    if formatted:
        node(directory, other).stop()
    assert mount(disks[0], '-o', 'remount,ro').returncode == 0
    before = [contents(disk) for disk in disks]
    said = refuse(directory, other)
    assert directory in said and 'Read-only file system' in said
    assert [contents(disk) for disk in disks] == before


def test_a_node_starts_without_a_directory_that_is_read_only(disks, node, name):
    sound, failing = paths(disks)
    broker = node(sound, failing)
    create(broker, name, 2)
    load = Load(broker, name, [0, 1], limit=50)
    wait_for('acknowledgements', lambda: load.has_acknowledged([0, 1]), broker)
    broker.stop()
    assert mount(disks[1], '-o', 'remount,ro').returncode == 0
    before = contents(disks[1])
    broker.start()
    said_of(broker, failing, 'Read-only file system', 'start this node again')
    assert describe(broker) == {sound: 0, failing: KafkaError.KAFKA_STORAGE_ERROR}
    (there,) = partitions_in(sound, name)
    assert len(read_all(broker, name, there)) == 50
    assert contents(disks[1]) == before
    assert mount(disks[1], '-o', 'remount,rw').returncode == 0
    broker.restart()
    load.limit = 60
    wait_for('acknowledgements', lambda: load.has_acknowledged([0, 1]), broker)
    load.finish()
    load.check(broker)


@pytest.mark.parametrize('with_other', [False, True])
def test_a_node_does_not_start_where_a_file_is(disks, with_other):
    (directory, other) = paths(disks)
    with open(directory, 'w', encoding='utf-8') as file:
        file.write('not a directory')
    before = [contents(disk) for disk in disks]
    said = refuse(*([other, directory] if with_other else [directory]))
    assert directory in said and 'Not a directory' in said
    assert [contents(disk) for disk in disks] == before


@pytest.mark.parametrize('formatted', [False, True])
def test_a_node_does_not_start_without_permission(disks, node, formatted):
    if shutil.which('setpriv') is None:
        pytest.skip('there is no setpriv')
    (directory, _) = paths(disks)
    if formatted:
        node(directory).stop()
    else:
        os.mkdir(directory)
    before = contents(directory)
    os.chmod(directory, 0)
    said = refuse(directory, prefix=['setpriv', '--bounding-set', '-dac_override,-dac_read_search'])
    assert directory in said and 'Permission denied' in said
    assert contents(directory) == before


def test_a_partition_that_is_in_two_directories_is_served_from_one(disks, node, name):
    first, second = paths(disks)
    broker = node(first, second)
    create(broker, name)
    (home,) = [directory for directory in (first, second) if partitions_in(directory, name)]
    other = second if home == first else first
    load = Load(broker, name, [0], limit=50)
    wait_for('acknowledgements', lambda: load.has_acknowledged([0]), broker)
    broker.stop()
    shutil.copytree(os.path.join(home, f'{name}-0'), os.path.join(other, f'{name}-0'))
    broker.start()
    assert partitions_in(home, name) == [0]
    assert any(entry.startswith(f'{name}-0.') and entry.endswith('-stray') for entry in os.listdir(other))
    load.limit = 80
    wait_for('acknowledgements', lambda: load.has_acknowledged([0]), broker)
    load.finish()
    load.check(broker)
