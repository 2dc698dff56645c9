"""Topics on a broker as `topics.yaml` wants them: made, compared, described.

Services only start on topics that are as they must be: `check` gives the differences in words. Retention works on record
timestamps, which are door time; where a tape plays, these are old, so nothing may go by age (`old_times`): such topics
are kept until they are deleted. What the table says is the least: kept for longer is fine, for less is a difference.
"""

import re
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its package says nowhere what it exports
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from alphapanda.adapters.kafka_log import client_config, retried
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.contracts.topics import TOPICS, Topic
from alphapanda.pipeline import FEATURES, TICKS
from alphapanda.runtime.log.partitions import fan_out_topic
from alphapanda.runtime.log.protocol import LogError
from alphapanda.runtime.log.settings import KafkaSettings

RECORD_BYTES, LETTER_BYTES = 2 << 20, 4 << 20
"""Longest record of a topic; a dead letter holds such a record whole, and headers."""
_CENTURY_MS = 100 * 366 * 86_400_000
_WITHIN_MS = ("message.timestamp.before.max.ms", "message.timestamp.after.max.ms")  # how far from the broker's clock
_LONGEST_NAME = 249


class Found(NamedTuple):
    """A topic as the broker has it."""

    partitions: int
    config: dict[str, str | None]  # only what this broker knows: not every one knows every setting


def tick_partitions(count: int | None) -> dict[str, int]:
    """Overrides that spread instruments over `count` partitions: ticks and features alike. None: as in the table."""
    return {} if count is None else {TICKS: count, FEATURES: count}


def create(
    settings: KafkaSettings, prefix: str = "", partitions: Mapping[str, int] | None = None, *, old_times: bool = False
) -> list[str]:
    """Make the topics that are not there and wait until they are seen; gives the names of the new ones.

    Raises LogError where a topic that is there differs: it is left as it is.
    """
    made = _make(settings, _wanted(prefix, partitions), old_times=old_times)
    differences = check(settings, prefix, partitions)
    if differences:
        raise LogError("topics that are there differ, and were left as they are: " + "; ".join(differences))
    return made


def create_fan_out(settings: KafkaSettings, prefix: str, tokens: Iterable[int], *, old_times: bool = False) -> list[str]:
    """Make the topics `market.ticks.{token}` that are not there, one partition each; gives the names of the new ones.

    They hold copies of the ticks for whoever wants one instrument alone; nothing of ours reads them.
    """
    ticks = TOPICS[TICKS].model_copy(update={"partitions": 1, "consumer_groups": ()})
    return _make(settings, {prefix + fan_out_topic(token): ticks for token in tokens}, old_times=old_times)


def _make(settings: KafkaSettings, wanted: Mapping[str, Topic], *, old_times: bool) -> list[str]:
    """Make what is not there and wait until all of it is seen; gives the names of the new ones."""
    admin = AdminClient(client_config(settings))
    there = _listed(admin, settings)
    new = [
        NewTopic(name, topic.partitions, settings.replicas, config=_config(name, topic, settings.replicas, old_times=old_times))
        for name, topic in wanted.items()
        if name not in there
    ]
    made = [name for name, future in admin.create_topics(new).items() if _was_made(name, future)] if new else []
    _await_leaders(admin, settings, wanted)
    return made


def check(settings: KafkaSettings, prefix: str = "", partitions: Mapping[str, int] | None = None) -> list[str]:
    """What is missing or differs from the table, one line each; nothing where services may start."""
    wanted = _wanted(prefix, partitions)
    found = describe(settings, prefix)
    lines = [f"{name} is missing" for name in wanted if name not in found]
    for name, topic in wanted.items():
        if name in found:
            lines += [f"{name}: {line}" for line in _differences(name, topic, found[name], settings.replicas)]
    return lines


def describe(settings: KafkaSettings, prefix: str = "") -> dict[str, Found]:
    """Those topics of the table that the broker has under this prefix, in the table's order."""
    admin = AdminClient(client_config(settings))
    there = _listed(admin, settings)
    names = [name for name in _wanted(prefix, None) if name in there]
    if not names:
        return {}
    asked = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    config: dict[str, dict[str, str | None]] = {}

    def ask() -> None:
        for resource, future in admin.describe_configs(asked, request_timeout=10).items():
            config[resource.name] = {entry.name: entry.value for entry in future.result().values()}

    retried("describe topics", settings, ask)
    return {name: Found(there[name], config[name]) for name in names}


def _wanted(prefix: str, partitions: Mapping[str, int] | None) -> dict[str, Topic]:
    """The table under this prefix. Raises ConfigurationError for a prefix no topic can have, or an unknown topic."""
    if not re.fullmatch(r"[A-Za-z0-9._-]*", prefix) or len(prefix) + max(map(len, TOPICS)) > _LONGEST_NAME:
        raise ConfigurationError(f"prefix {prefix!r} cannot begin a topic's name: use few letters, digits, dots, dashes")
    over = dict(partitions or {})
    unknown = [name for name in over if name not in TOPICS]
    if unknown:
        raise ConfigurationError(f"{', '.join(unknown)} is no topic of topics.yaml")
    if over.get(TICKS) != over.get(FEATURES):
        raise ConfigurationError(f"{TICKS} and {FEATURES} need the same number of partitions: a feature is found from its tick")
    if any(count < 1 for count in over.values()):
        raise ConfigurationError("a topic needs at least one partition")
    return {prefix + name: topic.model_copy(update={"partitions": over.get(name, topic.partitions)})
            for name, topic in TOPICS.items()}  # fmt: skip


def _config(name: str, topic: Topic, replicas: int, *, old_times: bool) -> dict[str, str]:
    return {
        "cleanup.policy": topic.cleanup,
        "retention.ms": str(-1 if old_times else topic.retention_ms),
        "retention.bytes": "-1",
        "message.timestamp.type": "CreateTime",  # door time, not the broker's clock
        "max.message.bytes": str(LETTER_BYTES if name.endswith(".dlq") else RECORD_BYTES),
        "unclean.leader.election.enable": "false",
        **dict.fromkeys(_WITHIN_MS, str(_CENTURY_MS)),
        **({"min.insync.replicas": "2"} if replicas > 1 else {}),
    }


def _differences(name: str, topic: Topic, found: Found, replicas: int) -> list[str]:
    lines = []
    if found.partitions != topic.partitions:
        lines.append(f"{found.partitions} partitions, wanted {topic.partitions}")
    for key, wanted in _config(name, topic, replicas, old_times=False).items():
        value = found.config.get(key)
        if value is None or value == wanted or (key in _AT_LEAST and _amount(value) >= _amount(wanted)):
            continue
        lines.append(f"{key} is {value}, wanted {wanted}")
    return lines


_AT_LEAST = {"retention.ms", "retention.bytes", "max.message.bytes", "min.insync.replicas", *_WITHIN_MS}


def _amount(text: str) -> float:
    return float("inf") if int(text) < 0 else int(text)


def _listed(admin: AdminClient, settings: KafkaSettings) -> dict[str, int]:
    """Partitions of every topic on the broker."""
    listed = retried("list topics", settings, lambda: admin.list_topics(timeout=5))
    return {name: len(topic.partitions) for name, topic in listed.topics.items()}


def _was_made(name: str, future: Future[None]) -> bool:
    try:
        future.result()
    except KafkaException as error:
        cause: Any = error.args[0]
        if cause.code() == KafkaError.TOPIC_ALREADY_EXISTS:  # somebody else was a little faster; `check` follows
            return False
        raise LogError(f"topic {name} could not be made: {cause.str()}") from error
    return True


def _await_leaders(admin: AdminClient, settings: KafkaSettings, wanted: Mapping[str, Topic]) -> None:
    """A new topic can be written when every partition of it has a leader."""
    deadline = time.monotonic() + settings.request_timeout_s
    while True:
        there = retried("list topics", settings, lambda: admin.list_topics(timeout=5)).topics
        late = [name for name in wanted
                if name not in there or any(one.leader < 0 for one in there[name].partitions.values())
                or not there[name].partitions]  # fmt: skip
        if not late:
            return
        if time.monotonic() > deadline:
            raise LogError(f"topics were made, but have no leader yet: {', '.join(late)}")
        time.sleep(0.05)
