# %% [markdown]
# # Compare two versions
#
# What did a change do? Two runs over the same tape are paired decision by decision, and the difference of their equities is the
# sum of what each changed decision was worth, to the last unit.

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
settings = {"execution.product": "MIS", "execution.price": "opposite"}

# %% [markdown]
# The second version of a strategy lets the first minutes of the day pass.


# %%
class Channel(ap.Strategy):
    """Long above the mean of its bars, flat below."""

    window: int = 10
    waits_minutes: int = 0
    quantity: int = 10

    def features(self):
        return [ap.Bars("1m"), ap.Sma(self.window, "1m")]

    def on_start(self):
        self.mean, self.opened_ns = {}, None

    def on_features(self, features):
        self.mean[features.instrument_token] = features.values[f"sma_{self.window}"]

    def on_bar(self, bar):
        self.opened_ns = self.opened_ns or bar.start_ts_ns
        mean = self.mean.get(bar.instrument_token)
        if mean is not None and bar.end_ts_ns >= self.opened_ns + self.waits_minutes * 60 * 10**9:
            yield self.target(bar.instrument_token, self.quantity if bar.close > mean else 0)


before = ap.replay(TAPE, [Channel()], settings=settings)
after = ap.replay(TAPE, [Channel(waits_minutes=60)], settings=settings)

# %%
difference = before.diff(after)
difference

# %% [markdown]
# The first decision that differs, the changed decisions, and how the parts add up:

# %%
difference.decision

# %%
difference.changed.head()

# %%
difference.attribution

# %% [markdown]
# ## The same decisions under other rules
#
# The signals of a run can be played back under other charges, limits, latencies or fill models: what changes then is not the
# strategy's doing.

# %%
slower = ap.replay(signals_from=before, settings={"execution.latency_ms": 2_000})
before.diff(slower)

# %%
before.diff(slower).to_html("data/latency.html")
