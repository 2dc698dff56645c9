# %% [markdown]
# # Write a strategy
#
# A strategy is a class. Annotated attributes are its parameters, whatever else it sets on `self` is its state. It is handed
# ticks, bars, features and its own fills, and yields signals. It sees no clock, no account and no future.

# %%
import os
from pathlib import Path

if Path.cwd().name == "notebooks":  # data, strategies and replays lie in the folder above
    os.chdir("..")

import alphapanda as ap
from alphapanda.runtime.tape_make import make_tape

TAPE = Path("data/tapes/notebook")
if not TAPE.exists():
    make_tape(TAPE, seed=11, ticks=20_000, instruments=4)

# %% [markdown]
# This one buys a bar that closes above the highest close of the `window` bars before, and lets go at a close below their lowest.


# %%
class Breakout(ap.Strategy):
    """Long above the channel, flat below it."""

    window: int = 15
    interval: str = "1m"
    quantity: int = 10

    def features(self):
        return [ap.Bars(self.interval)]

    def on_start(self):
        self.closes = {}

    def on_bar(self, bar):
        closes = self.closes.setdefault(bar.instrument_token, [])
        if len(closes) == self.window:
            if bar.close > max(closes):
                yield self.target(bar.instrument_token, self.quantity, note=f"above {max(closes)}")
            elif bar.close < min(closes):
                yield self.target(bar.instrument_token, 0, note=f"below {min(closes)}")
            closes.pop(0)
        closes.append(bar.close)


# %%
settings = {"execution.product": "MIS", "execution.price": "opposite"}
run = ap.replay(TAPE, [Breakout()], settings=settings)
run

# %% [markdown]
# Every signal has an outcome: validated, or the reason why risk refused it. The note is the strategy's own.

# %%
run.signals.select("ts", "symbol", "kind", "size", "note", "outcome").head()

# %% [markdown]
# ## When it goes wrong
#
# A strategy that raises is halted, with the line at which it raised; the others go on.


# %%
class Wrong(Breakout):
    """Divides by zero at the first bar after eleven o'clock."""

    def on_bar(self, bar):
        if bar.end_ts_ns >= 1_709_271_000_000_000_000:
            yield self.target(bar.instrument_token, self.quantity // 0)


halted = ap.replay(TAPE, [Breakout(), Wrong()], settings=settings).halted
halted

# %%
assert halted["strategy_id"].to_list() == ["wrong"]

# %% [markdown]
# ## Orders with terms
#
# `limit=`, `trigger=`, `stop_loss=` and `take_profit=` make other orders than MARKET (docs/orders.md).


# %%
class Bracketed(Breakout):
    """The same entries; each leaves by a stop or at its aim."""

    stop: float = 0.002
    aim: float = 0.004

    def on_bar(self, bar):
        for signal in super().on_bar(bar):
            if signal.size > 0:
                low, high = (round(bar.close * (1 + part) / 0.05) * 0.05 for part in (-self.stop, self.aim))
                yield self.buy(bar.instrument_token, self.quantity, stop_loss=round(low, 2), take_profit=round(high, 2))


bracketed = ap.replay(TAPE, [Bracketed()], settings=settings)
bracketed.orders.group_by("order_type", "state").len().sort("order_type", "state")

# %% [markdown]
# What has proved itself here belongs into a file: `alphapanda new strategy breakout` writes a strategy, its test and a replay
# spec. `alphapanda lookahead SPEC` checks that it knows nothing of the future.
