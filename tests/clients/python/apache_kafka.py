"""Apache Kafka on a directory that ottla has left, and its DumpLogSegments.

`OTTLA_INTERCHANGE` names a directory with `kafka`, `kafka-tools` and `kafka-logging`, each with its `jars`; without it there is nothing to
compare with.
"""

import os
import subprocess
import time

COMPLAINTS = ("Mismatches in", "Non-consecutive", "isvalid: false", "Exception", "corrupt", "Could not")
JAVA = ["java", "-Xmx512m", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
"""


def is_here():
    """Whether there is a Kafka to start."""
    return "OTTLA_INTERCHANGE" in os.environ


def java(folder, main, *arguments):
    """The command line of a main class."""
    jars = (os.path.join(os.environ["OTTLA_INTERCHANGE"], name, "jars", "*") for name in (folder, "kafka-logging"))
    return [*JAVA, "-cp", ":".join(jars), main, *arguments]


def files_to_dump(log_dirs):
    """Segments, files that go with segments, and the metadata log of log directories."""
    logs, indexes, metadata = [], [], []
    for log_dir in log_dirs:
        for partition in (entry for entry in os.scandir(log_dir) if entry.is_dir()):
            is_metadata = partition.name == "__cluster_metadata-0"
            for file in os.scandir(partition.path):
                ending = file.name.rsplit(".", 1)[-1]
                if is_metadata and ending in ("log", "checkpoint"):
                    metadata.append(file.path)
                elif is_metadata or partition.name.endswith("-delete") or file.stat().st_size == 0:
                    continue
                elif ending == "log":
                    logs.append(file.path)
                elif ending in ("index", "timeindex", "snapshot", "txnindex"):
                    indexes.append(file.path)
    return logs, indexes, metadata


def dump(log_dirs):
    """Insists that DumpLogSegments finds no fault with any file of a server that does not run."""
    logs, indexes, metadata = files_to_dump(log_dirs)
    assert logs and indexes and metadata
    for option, files in (("--deep-iteration", logs), ("--index-sanity-check", indexes),
                          ("--cluster-metadata-decoder", metadata)):
        for first in range(0, len(files), 200):
            command = java("kafka-tools", "org.apache.kafka.tools.DumpLogSegments", option, "--files",
                           ",".join(files[first:first + 200]))
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[-2000:]
            found = [line for line in done.stdout.splitlines() if any(words in line for words in COMPLAINTS)]
            assert not found, f"{option}: {found[:5]}"


class Kafka:
    """Apache Kafka in the place of a stopped or killed broker: same directories, same addresses."""

    def __init__(self, broker):
        self.broker, self.bootstrap = broker, broker.bootstrap
        config = os.path.join(broker.directory, "kafka.properties")
        listeners = f"PLAINTEXT://localhost:{broker.port},CONTROLLER://localhost:{broker.controller_port}"
        with open(config, "w", encoding="utf-8") as file:
            file.write(f"{PROPERTIES}listeners={listeners}\nadvertised.listeners={listeners}\n"
                       f"controller.quorum.bootstrap.servers=localhost:{broker.controller_port}\n"
                       f"log.dirs={','.join(broker.log_dirs)}\n")
        self.log_path = os.path.join(broker.directory, "kafka.log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(java("kafka", "kafka.Kafka", config), stdout=log, stderr=log)
        deadline = time.monotonic() + 300
        while not broker.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                ended = self.process.poll()
                self.process.kill()
                raise RuntimeError(f"Apache Kafka did not start ({ended}): {self.output()}")
            time.sleep(0.2)

    def output(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()[-4000:]

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
