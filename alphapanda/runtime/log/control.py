"""Control records: what writers say to readers between the events. They have no key; events always have one.

They decide when a reader goes on, never what it hears, and stand outside tapes and digests.
"""

from typing import Any

import msgspec

from alphapanda.contracts.errors import ContractError
from alphapanda.contracts.events import Pos
from alphapanda.runtime.log.protocol import Partition

Seq = tuple[int, int]
"""(epoch, number): the place of an outside event."""
FIRST: Seq = (1, 0)
"""Nothing comes before it."""
NOTHING: Pos = (0, 0, 0, 0, 0)
"""Below every `pos`."""


def after(seq: Seq) -> Seq:
    """The next seq of the same epoch."""
    return seq[0], seq[1] + 1


class Progress(msgspec.Struct, frozen=True, tag="Progress", gc=False):
    """A writer's promise to one partition: nothing below `up_to` is still to come, and what comes has at least `ts_ns`.

    Readers hold it to that: who writes below what a partition was promised is not heard. This is the fence.
    """

    up_to: Seq
    ts_ns: int


class Settled(msgspec.Struct, frozen=True, tag="Settled"):
    """In market.clock when a door opens, and with each beat: for readers that start in the middle."""

    epoch: int
    ends: dict[str, Pos]  # door partition -> the last `pos` heard there before this epoch, NOTHING where none was
    read_to: dict[str, int]  # door partition -> offset this door has read back to: up to there no promise is unknown


class Claim(msgspec.Struct, frozen=True, tag="Claim"):
    """In control.epochs: its offset plus one is the epoch that the writer claims."""

    by: str


Control = Progress | Settled | Claim
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Control).decode


def encode_control(record: Control) -> bytes:
    """The record's value in the log."""
    return _encode(record)


def decode_control(value: bytes) -> Control:
    """What `encode_control` wrote. Raises ContractError for anything else."""
    try:
        record: Any = _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ContractError(f"a record without a key is no control record: {error}; it starts {value[:80]!r}") from error
    return record  # type: ignore[no-any-return]


def name_of(partition: Partition) -> str:
    """`market.ticks/0`: a partition as a key of JSON."""
    return f"{partition[0]}/{partition[1]}"
