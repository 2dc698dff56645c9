"""A desk for tests of orders: a timeline in text goes in, what happened to the orders comes out.

One line a moment, `at_s: what`, separated by newlines or `|`:

    0: 100.00                    a tick of AAA: last price
    0: buy 10 limit=99.95 id=a   a validated signal; options are those of Strategy.buy
    1: 99.90/100.00 x5/7         bid/ask; last is their middle unless `@ 99.95` follows; x bid/ask quantities; v traded
    2: modify a limit=99.80      and `cancel a`
    3: square_off, close, open, kill, gap
"""

import re
from typing import Any

from alphapanda.contracts.events import (
    Charges,
    Event,
    ExecMode,
    FeedGap,
    KillSwitch,
    MarketTick,
    OrderCancelled,
    OrderFailed,
    OrderFill,
    OrderModified,
    OrderPlaced,
    OrderTriggered,
    SessionClose,
    SquareOff,
    ValidatedSignal,
)  # fmt: skip
from alphapanda.contracts.instruments import Instrument
from alphapanda.services.strategy_runner.strategy import order_terms
from alphapanda.services.trading_engine.models import PaperExecution
from alphapanda.services.trading_engine.service import TradingEngine
from tests.builders import INSTRUMENTS, OPEN_NS, S, made, root, session_open

NUMBERS = ("limit", "trigger", "stop_loss", "take_profit")


def charge(
    ts_ns: int, instrument: Instrument, product: str, quantity: int, notional_e8: int, before: int, before_e8: int, delivers: bool
) -> Charges:  # fmt: skip
    """1e-8 a unit, and 1,000 for a delivery."""
    return Charges(brokerage_e8=abs(quantity), dp_e8=1_000 if delivers else 0)


class Desk:
    """A trading engine, and the number of the next door event."""

    def __init__(self, rules: dict[str, Any] | None = None, **more: Any) -> None:
        self.engine = TradingEngine(PaperExecution(**(rules or {})), {**INSTRUMENTS, **more.pop("extra", {})}, charge, {}, **more)
        self.number, self.events = 2, list[Any]()
        self.do(session_open())

    def do(self, event: Event) -> None:
        """Hand the engine an event."""
        self.events += [(event.ts_ns, data) for _, data in self.engine.handle(event)]

    def play(self, timeline: str) -> "Desk":
        """Take every moment of the timeline."""
        for moment in re.split(r"\n|\|", timeline):
            if moment.strip():
                at, _, what = moment.strip().partition(":")
                self.number += 1
                self.do(self._event(float(at), what.strip()))
        return self

    def _event(self, at_s: float, what: str) -> Event:
        word = what.split()[0]
        if word in ("buy", "sell", "cancel", "modify"):
            return self._signal(at_s, what.split())
        clock = {
            "square_off": SquareOff("2024-03-01"), "close": SessionClose("2024-03-01"), "kill": KillSwitch(True, "test"),
            "gap": FeedGap("test"),
        }  # fmt: skip
        if word == "open":
            return session_open(self.number)
        return root(self.number, clock[word], at_s) if word in clock else root(self.number, quote(at_s, what), at_s)

    def _signal(self, at_s: float, words: list[str]) -> Event:
        action, rest = words[0], words[1:]
        options: dict[str, Any] = dict(word.split("=") for word in rest if "=" in word)
        token, lane = int(options.pop("token", 101)), int(options.pop("lane", 1))
        quantity, name = int(options.pop("quantity", 0)), options.pop("id", "")
        given = {key: float(value) if key in NUMBERS else value for key, value in options.items()}
        if action in ("buy", "sell"):
            quantity = int(rest[0]) if action == "buy" else -int(rest[0])
        else:
            name = rest[0]
        terms = order_terms({"client_order_id": name, **given}) if name or given else None  # type: ignore[typeddict-item]
        signal = ValidatedSignal(
            ExecMode.PAPER, f"s{lane}", token, f"1-{self.number}-2-{lane}-0", quantity, 100.0,
            "place" if action in ("buy", "sell") else action, terms,
        )  # fmt: skip
        return made(self.number, 3, lane, signal, at_s)

    @property
    def fills(self) -> list[tuple[int, float]]:
        """(signed quantity, price) of each fill."""
        return [(data.quantity, data.price) for _, data in self.events if type(data) is OrderFill]

    @property
    def story(self) -> list[str]:
        """What happened, in words."""
        return [f"{(ts_ns - OPEN_NS) / S:g} {_told(data)}" for ts_ns, data in self.events]


def _told(data: Any) -> str:
    name = data.order_id.partition(":")[2] or getattr(data, "client_order_id", "")
    text = {
        OrderPlaced: lambda: f"placed {data.order_type} {data.quantity}",
        OrderModified: lambda: f"modified {data.quantity} limit={data.limit_price} trigger={data.trigger_price}",
        OrderTriggered: lambda: f"triggered {data.trigger_price}",
        OrderFill: lambda: f"filled {data.quantity} at {data.price} left {data.remaining}",
        OrderCancelled: lambda: f"cancelled {data.quantity} {data.reason}",
        OrderFailed: lambda: f"failed {data.reason}",
    }[type(data)]()
    return f"{text} [{name}]" if name else text


def quote(at_s: float, text: str, token: int = 101) -> MarketTick:
    """The tick that `99.90/100.00 @ 99.95 x5/7 v100` states."""
    found = re.fullmatch(r"(?:BBB )?([\d.]+)(?:/([\d.]+))?(?: @ ([\d.]+))?(?: x(\d+)/(\d+))?(?: v(\d+))?", text)
    assert found is not None, text
    first, ask, last, bid_size, ask_size, traded = found.groups()
    token = 102 if text.startswith("BBB") else token
    bid = float(first) if ask else None
    middle = float(first) if ask is None else (float(first) + float(ask)) / 2
    return MarketTick(
        OPEN_NS + round(at_s * S), token, float(last) if last else middle, int(traded) if traded else None, None, bid,
        float(ask) if ask else None, int(bid_size) if bid_size else None, int(ask_size) if ask_size else None,
    )  # fmt: skip
