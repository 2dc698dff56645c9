"""Dead letters: kept unchanged, read once, and given back only where that has a meaning."""

import json
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from alphapanda.adapters import kafka_topics
from alphapanda.adapters.file_log import FileLog
from alphapanda.adapters.kafka_log import KafkaLog
from alphapanda.cli_dlq import dlq
from alphapanda.contracts.codec import encode
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.contracts.events import HaltStrategy, KillSwitch
from alphapanda.pipeline import COMMANDS
from alphapanda.runtime.log import commands
from alphapanda.runtime.log.dead_letters import (
    DeadLetter,
    RequeueError,
    dead_letter,
    find_dead_letter,
    read_dead_letters,
    requeued,
    topic_of,
)
from alphapanda.runtime.log.http_server import HttpServer, Mailbox
from alphapanda.runtime.log.observe import ServiceMetrics
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.log.protocol import Log, LogError, Record
from alphapanda.runtime.log.settings import KafkaSettings
from tests import poison
from tests.builders import root

RISK = "risk_manager"
RECORD = Record(("market.ticks", 1), 7, 1_709_264_700_000, b"key", b'\xff{"torn')
KILL = KillSwitch(engaged=True, reason="test")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[FileLog]:
    log = FileLog(tmp_path / "data" / "logs" / "test", Partitioning.of_table().counts)
    yield log
    log.close()


def keep(log: Log, *records: Record, reason: str = "torn") -> None:
    writer = log.writer()
    for record in records:
        dead_letter(writer, RISK, record, reason)
    writer.close()


def letter_of(topic: str, value: bytes) -> DeadLetter:
    return DeadLetter(RISK, 0, topic, 0, 3, "why", 1, b"key", value)


def test_a_letter_is_the_record_unchanged(log: FileLog) -> None:
    """Key, value and timestamp, with where it lay and why."""
    keep(log, RECORD, reason="not an event: torn")
    expected = DeadLetter(RISK, 0, "market.ticks", 1, 7, "not an event: torn", RECORD.ts_ms, RECORD.key, RECORD.value)
    assert list(read_dead_letters(log, RISK)) == [expected]


def test_a_repeat_is_skipped(log: FileLog) -> None:
    """The same topic, partition and offset, kept again after a crash; its neighbours are others."""
    others = RECORD._replace(offset=8), RECORD._replace(partition=("market.ticks", 2)), RECORD._replace(partition=(COMMANDS, 1))
    keep(log, RECORD, RECORD, *others, RECORD, others[0])
    found = [(one.at, *one.place) for one in read_dead_letters(log, RISK)]
    assert found == [(0, "market.ticks", 1, 7), (2, "market.ticks", 1, 8), (3, "market.ticks", 2, 7), (4, COMMANDS, 1, 7)]


def test_a_record_without_a_time_is_kept_too(log: FileLog) -> None:
    """Foreign clients write such; a long reason is cut."""
    keep(log, RECORD._replace(ts_ms=-1), reason="x" * 5_000)
    (found,) = read_dead_letters(log, RISK)
    assert (found.ts_ms, len(found.reason)) == (1, 1_000)


def test_what_is_no_letter_is_said(log: FileLog) -> None:
    """Somebody else wrote into the topic."""
    log.append((topic_of(RISK), 0), b"key", b"value", 1)
    with pytest.raises(LogError, match="no dead letter"):
        list(read_dead_letters(log, RISK))


def test_a_letter_is_found_by_its_number(log: FileLog) -> None:
    """Or it is said that there is none."""
    keep(log, RECORD)
    assert find_dead_letter(log, RISK, 0).place == ("market.ticks", 1, 7)
    with pytest.raises(LogError, match="has no letter 1"):
        find_dead_letter(log, RISK, 1)


def test_the_largest_record_fits_over_a_broker(kafka: str) -> None:
    """Two megabytes less what a record costs, and a reason: the topic of letters holds more than the others."""
    settings, prefix = KafkaSettings(bootstrap_servers=kafka, fetch_wait_ms=5), f"dlq.{uuid.uuid4().hex[:8]}."
    kafka_topics.create(settings, prefix, old_times=True)
    log = KafkaLog(settings, prefix)
    value = b"\xff" * ((2 << 20) - 1_000)
    log.append(("market.ticks", 1), b"key", value, RECORD.ts_ms)
    keep(log, RECORD._replace(value=value), RECORD)
    (found,) = read_dead_letters(log, RISK)
    log.close()
    assert (found.value == value, found.place) == (True, ("market.ticks", 1, 7))


@pytest.mark.parametrize("topic", [topic for topic in poison.TOPICS if topic != COMMANDS])
def test_nothing_but_a_command_is_requeued(topic: str) -> None:
    """Each with the reason, and what to do."""
    with pytest.raises(RequeueError, match=r"written by its stage alone|counted as heard"):
        requeued(letter_of(topic, encode(poison.good(topic, 1))))


def test_a_command_is_requeued_as_a_new_one() -> None:
    """As it is, where the code was mended; else with a mended line."""
    line = encode(root(7, KILL))
    mended = encode(root(7, HaltStrategy("pairs", "mended")))
    assert requeued(letter_of(COMMANDS, line)) == KILL
    assert requeued(letter_of(COMMANDS, b"torn"), mended) == HaltStrategy("pairs", "mended")


@pytest.mark.parametrize(
    ("value", "wrong"), [(b"torn", "still cannot be read"), (encode(poison.good("market.clock", 1)), "no command")]
)
def test_what_is_no_command_is_not_requeued(value: bytes, wrong: str) -> None:
    """However it is mended."""
    with pytest.raises(RequeueError, match=wrong):
        requeued(letter_of(COMMANDS, b"torn"), value)


def test_the_door_takes_a_requeued_command(log: FileLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the command line, through the door's own address; the door answers once it has read it back."""
    keep(log, RECORD._replace(partition=(COMMANDS, 0), value=b"torn"))
    log.close()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mended.json").write_bytes(encode(root(7, KILL)) + b"\n")
    mailbox, taken, done = Mailbox(), list[Any](), threading.Event()

    def door() -> None:
        while not done.wait(0.01):
            for body, answer in mailbox.take():
                taken.append(commands.command_of(body))
                answer(200, {"id": "1-9-0-0-0"})

    thread = threading.Thread(target=door)
    thread.start()
    app = typer.Typer()
    app.add_typer(dlq, name="dlq")
    with HttpServer(ServiceMetrics("market_feed", "")) as server:
        server.post(commands.PATH, mailbox.ask)
        words = ["dlq", "requeue", RISK, "0", "--door", server.url, "--prefix", "test.", "--log", "embedded"]
        shown = CliRunner().invoke(app, [*words, "--value", "mended.json"])
        said = CliRunner().invoke(app, [*words, "--value", "mended.json", "--json"])
        gone = CliRunner().invoke(app, [*words, "--value", "nothing.json"])
    done.set()
    thread.join()
    assert (taken, "1-9-0-0-0" in shown.stdout, json.loads(said.stdout)["door"]) == ([KILL, KILL], True, {"id": "1-9-0-0-0"})
    assert isinstance(gone.exception, ConfigurationError)
