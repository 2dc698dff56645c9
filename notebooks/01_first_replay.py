# %% [markdown]
# # First replay
#
# A tape is what was recorded of a market; a replay hands it to the whole pipeline: features, strategies, risk, trading engine,
# portfolio. The same tape gives the same bytes, every time.

# %%
import os
from pathlib import Path

if Path.cwd().name == "notebooks":  # data, strategies and replays lie in the folder above
    os.chdir("..")

import alphapanda as ap
from alphapanda.runtime.tape_make import make_tape
from strategies.ema_cross import EmaCross

# %% [markdown]
# A tape to begin with: one made-up session of four instruments. Prices follow no market. `alphapanda tape import` makes tapes of
# recordings (docs/tapes.md).

# %%
TAPE = Path("data/tapes/notebook")
if not TAPE.exists():
    make_tape(TAPE, seed=11, ticks=20_000, instruments=4)

# %% [markdown]
# Settings are `section.key`; what is not said has its default, and all of them stand in the run's manifest. MIS is intraday:
# positions are closed at the broker's square-off time. `opposite` fills at the other side of the quote: the spread is paid.

# %%
settings = {"execution.product": "MIS", "execution.price": "opposite"}
run = ap.replay(TAPE, [EmaCross(fast=50, slow=250, quantity=10)], settings=settings)
run

# %% [markdown]
# Replayed again it has the same digest: over every event of every topic, byte for byte.

# %%
again = ap.replay(TAPE, [EmaCross(fast=50, slow=250, quantity=10)], settings=settings)
assert again.digest == run.digest
run.digest

# %% [markdown]
# ## What happened

# %%
run.plot("equity")

# %%
run.fills.select("ts", "symbol", "side", "quantity", "price", "slippage", "charges").head()

# %%
run.plot("fills", "BANYAN")

# %% [markdown]
# ## At any moment, and why
#
# `at` gives the books just before a time, a seq, or after an event. `why` goes from a fill back to the tick that it came of.

# %%
run.at("2024-03-01T06:00:00Z")

# %%
run.why(run.fills["id"][0])

# %% [markdown]
# The tearsheet is one HTML file that needs nothing else.

# %%
run.tearsheet()
