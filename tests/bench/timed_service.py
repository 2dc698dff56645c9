"""`alphapanda run ...` with a note of when each record left: `python -m tests.bench.timed_service NOTES run SERVICE ...`.

NOTES gets a line for each record sent to market.ticks or orders.placed: topic, number of its seq, monotonic ns. With
`listen` in place of a command it is an idle consumer of the ticks instead, and notes when each arrived.
"""

import signal
import sys
import time
from pathlib import Path
from typing import Any

from alphapanda.adapters import kafka_log
from alphapanda.contracts.events import parse_pos
from alphapanda.runtime.log.reader import pos_alone
from alphapanda.runtime.settings import load_settings

NOTED = ("market.ticks", "orders.placed")


def timed(notes: list[tuple[str, int, int]]) -> None:
    """Let every writer of this process note what it sends."""
    send = kafka_log.KafkaWriter.send

    def noting(self: Any, partition: Any, key: Any, value: bytes, ts_ms: int, headers: Any = ()) -> None:
        send(self, partition, key, value, ts_ms, headers)
        if key is not None and partition[0] in NOTED:
            notes.append((partition[0], parse_pos(dict(headers)["pos"].decode())[1], time.monotonic_ns()))

    kafka_log.KafkaWriter.send = noting  # type: ignore[method-assign]


def listen(prefix: str, notes: list[tuple[str, int, int]]) -> None:
    """Consume the ticks and do nothing, until SIGTERM."""
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stop.append(number))
    log = kafka_log.KafkaLog(load_settings().kafka, prefix)
    source = log.reader(dict.fromkeys(log.partitions(["market.ticks"]), 0))
    while not stop:
        records = source.poll(0.2, 1_000)
        now = time.monotonic_ns()
        for record in records:
            event = pos_alone(record, "") if record.key is not None else None
            if event is not None:
                notes.append(("arrived", event.pos[1], now))


def main() -> None:
    """Run, and write the notes at the end."""
    path, command, notes = Path(sys.argv[1]), sys.argv[2:], list[tuple[str, int, int]]()
    try:
        if command[0] == "listen":
            listen(command[1], notes)
        else:
            from alphapanda import cli

            timed(notes)
            sys.argv = ["alphapanda", *command]
            cli.main()
    finally:
        path.write_text("".join(f"{topic} {number} {at}\n" for topic, number, at in notes), encoding="utf-8")


if __name__ == "__main__":
    main()
