"""Topics on a real broker: made as the table says, missing and different ones found, from the command line too."""

import json
import time
import uuid

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from typer.testing import CliRunner

from alphapanda.adapters import kafka_topics
from alphapanda.adapters.kafka_log import KafkaLog
from alphapanda.adapters.kafka_topics import tick_partitions
from alphapanda.cli_topics import topics as topics_app
from alphapanda.contracts.codec import encode
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.contracts.events import MarketTick
from alphapanda.contracts.topics import TOPICS
from alphapanda.pipeline import CLOCK, FEATURES, TICKS
from alphapanda.runtime.log.door import LogDoor
from alphapanda.runtime.log.partitions import Partitioning, fan_out_topic
from alphapanda.runtime.log.protocol import LogError
from alphapanda.runtime.log.settings import KafkaSettings
from tests.builders import OPEN_NS


@pytest.fixture
def settings(kafka: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=kafka, request_timeout_s=10)


def test_topics_are_made_once_and_are_as_the_table_says(settings: KafkaSettings) -> None:
    """A second `create` makes nothing."""
    prefix = f"made.{uuid.uuid4().hex[:8]}."
    missing = kafka_topics.check(settings, prefix)
    made = kafka_topics.create(settings, prefix), kafka_topics.create(settings, prefix)
    assert (len(missing), made, kafka_topics.check(settings, prefix)) == (
        len(TOPICS),
        ([prefix + name for name in TOPICS], []),
        [],
    )


def test_a_missing_topic_and_a_different_one_are_found(settings: KafkaSettings) -> None:
    """Partitions, and retention that is too short; longer is fine."""
    prefix = f"diff.{uuid.uuid4().hex[:8]}."
    kafka_topics.create(settings, prefix, tick_partitions(2), old_times=True)
    admin = AdminClient({"bootstrap.servers": settings.bootstrap_servers})
    admin.delete_topics([f"{prefix}orders.filled"])[f"{prefix}orders.filled"].result()
    shorter = ConfigEntry("retention.ms", "60000", incremental_operation=AlterConfigOpType.SET)
    change = ConfigResource(ResourceType.TOPIC, f"{prefix}{CLOCK}", incremental_configs=[shorter])
    admin.incremental_alter_configs([change])[change].result()
    expected = [
        f"{prefix}orders.filled is missing",
        f"{prefix}market.ticks: 2 partitions, wanted 4",
        f"{prefix}market.clock: retention.ms is 60000, wanted -1",
        f"{prefix}market.features: 2 partitions, wanted 4",
    ]
    until = time.monotonic() + 20
    while (actual := kafka_topics.check(settings, prefix)) != expected and time.monotonic() < until:
        time.sleep(0.2)  # a broker says what was changed a moment later
    with pytest.raises(LogError, match=r"left as they are: .*2 partitions, wanted 4"):
        kafka_topics.create(settings, prefix)
    assert actual == expected


@pytest.mark.parametrize(
    ("prefix", "partitions", "message"),
    [("a b", None, "cannot begin"), ("x" * 240, None, "cannot begin"), ("", {"rumours": 2}, "no topic"),
     ("", {TICKS: 2}, "same number"), ("", {TICKS: 0, FEATURES: 0}, "at least one")],
)  # fmt: skip
def test_topics_that_cannot_be_are_refused(prefix: str, partitions: dict[str, int] | None, message: str) -> None:
    """Before any broker is asked."""
    with pytest.raises(ConfigurationError, match=message):
        kafka_topics.create(KafkaSettings(), prefix, partitions)


def test_the_command_line_makes_checks_and_describes(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit status 1 where something is missing, 0 once it was made."""
    monkeypatch.setenv("ALPHAPANDA_KAFKA__BOOTSTRAP_SERVERS", kafka)
    prefix, run = f"cli.{uuid.uuid4().hex[:8]}.", CliRunner()

    def call(*arguments: str) -> tuple[int, object]:
        done = run.invoke(topics_app, [*arguments, "--prefix", prefix, "--json"])
        return done.exit_code, json.loads(done.stdout)

    before, made, after = call("check"), call("create", "--partitions", "2", "--old-times"), call("check", "--partitions", "2")
    described = call("describe")[1]
    texts = [run.invoke(topics_app, [command, "--prefix", prefix]).stdout for command in ("describe", "create")]
    assert (before[0], made[0], after[0]) == (1, 0, 0)
    assert after[1] == {"broker": kafka, "prefix": prefix, "differences": []}
    assert isinstance(described, dict)
    assert described[f"{prefix}{TICKS}"]["partitions"] == 2
    assert (described[f"{prefix}{TICKS}"]["config"]["retention.ms"], f"{prefix}{CLOCK}" in texts[0]) == ("-1", True)


def test_the_doors_copies_of_one_instruments_ticks_are_the_ticks(settings: KafkaSettings) -> None:
    """With fan-out each instrument has a topic of its own, in which its ticks stand in their order, with the same bytes."""
    prefix = f"fan.{uuid.uuid4().hex[:8]}."
    kafka_topics.create(settings, prefix, old_times=True)
    kafka_topics.create_fan_out(settings, prefix, (101, 358), old_times=True)
    log = KafkaLog(settings, prefix)
    door = LogDoor(log, Partitioning.of_log(log), fan_out=True)
    door.open(OPEN_NS, "test")
    entered = [door.enter(OPEN_NS + i, MarketTick(OPEN_NS + i, (101, 358)[i % 2], 100.0 + i)) for i in range(6)]
    door.close()
    source, copies = log.reader({(fan_out_topic(358), 0): 0}), list[bytes]()
    while len(copies) < 3:
        copies += [record.value for record in source.poll(1.0)]
    source.close()
    log.close()
    assert copies == [encode(event) for event in entered[1::2]]
