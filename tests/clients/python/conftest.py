"""A broker for the client tests.

`OTTLA_BIN` names the binary to start; `OTTLA_TEST_BOOTSTRAP` names a running broker instead (Apache Kafka, to check the tests
themselves); tests that restart the broker are skipped then.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid

import pytest


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Broker:
    """An ottla process with its own data directory."""

    def __init__(self, *options, dirs=1):
        self.directory = tempfile.mkdtemp(prefix="ottla-test-")
        names = ["data"] if dirs == 1 else [f"data-{i}" for i in range(dirs)]
        self.log_dirs = [os.path.join(self.directory, name) for name in names]
        self.port = free_port()
        self.controller_port = free_port()
        self.bootstrap = f"localhost:{self.port}"
        self.options = options
        self.process = None
        self.log_path = os.path.join(self.directory, "server.log")
        self.start()

    def start(self):
        listeners = f"PLAINTEXT://localhost:{self.port},CONTROLLER://localhost:{self.controller_port}"
        command = [os.environ["OTTLA_BIN"], "server",
                   "-o", f"log.dirs={','.join(self.log_dirs)}",
                   "-o", f"listeners={listeners}",
                   "-o", f"advertised.listeners={listeners}",
                   "-o", f"controller.quorum.bootstrap.servers=localhost:{self.controller_port}"]
        for option in self.options:
            command += ["-o", option]
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 180
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"broker did not start: {self.output()}")
            time.sleep(0.02)

    def answers(self):
        """Whether the broker answers an ApiVersions request (version 0, correlation id 7, no client id)."""
        try:
            with socket.create_connection(("localhost", self.port), timeout=5) as connection:
                connection.sendall(bytes([0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff]))
                return connection.recv(8)[4:8] == bytes([0, 0, 0, 7])
        except OSError:
            return False

    def output(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()[-4000:]

    def stop(self, sig=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(sig)
            self.process.wait(timeout=180)
        self.log.close()

    def kill(self):
        self.stop(signal.SIGKILL)

    def restart(self, sig=signal.SIGTERM):
        self.stop(sig)
        self.start()

    def remove(self):
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


class External:
    """A running broker that is not ours to restart."""

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap

    def restart(self, sig=None):
        pytest.skip("the broker is external")


@pytest.fixture(scope="session")
def broker():
    bootstrap = os.environ.get("OTTLA_TEST_BOOTSTRAP")
    if bootstrap:
        yield External(bootstrap)
        return
    running = Broker()
    yield running
    running.remove()


@pytest.fixture
def own_broker():
    """A broker of the test's own, to stop and kill."""
    if os.environ.get("OTTLA_TEST_BOOTSTRAP"):
        pytest.skip("the broker is external")
    running = Broker()
    yield running
    running.remove()


@pytest.fixture
def name():
    """A name that no other test uses, for topics and groups."""
    return f"t-{uuid.uuid4().hex[:12]}"
