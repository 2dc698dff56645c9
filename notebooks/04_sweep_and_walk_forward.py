# %% [markdown]
# # Sweep and walk forward
#
# Many sets of parameters over one tape: some will look good by luck alone. So the best is chosen on one part of the tape and
# looked at on another, and what luck would have brought stands beside it (docs/sweeps.md).

# %%
import os
from datetime import date
from pathlib import Path

if Path.cwd().name == "notebooks":  # data, strategies and replays lie in the folder above
    os.chdir("..")

import alphapanda as ap
from alphapanda.runtime.tape_make import make_tape
from strategies.ema_cross import EmaCross

TAPE = Path("data/tapes/notebook_days")
DAYS = [date(2024, 3, day) for day in (1, 4, 5, 6, 7, 11, 12, 13, 14, 15)]
if not TAPE.exists():
    make_tape(TAPE, seed=12, days=DAYS, ticks=2_000, instruments=2)
settings = {"execution.product": "MIS", "execution.price": "opposite"}

# %% [markdown]
# ## A grid with a holdout
#
# Three of the ten sessions are kept back: no set is chosen on them. Run the cell again and nothing is replayed again;
# after a kill it goes on where it was.

# %%
found = ap.sweep(TAPE, EmaCross(quantity=10), {"fast": [10, 20, 40, 80], "slow": [100, 200, 400]}, settings=settings, holdout=0.3)
found

# %%
found.heatmap()

# %% [markdown]
# Prices of this tape are a random walk, so there is nothing to be found; the warnings say so.

# %%
for line in found.warnings:
    print(line)

# %% [markdown]
# `results` has a row for each set. Whatever is found there was found on the training part.

# %%
found.results.sort("score", descending=True).select("fast", "slow", "score", "max_drawdown", "round_trips").head()

# %% [markdown]
# ## By chance, over a range
#
# `method="random"` and, with the extra `search`, `method="optuna"` try as many sets as they are told. Settings can be searched
# over, too.

# %%
ap.sweep(
    TAPE, EmaCross(quantity=10), {"fast": "5:100", "slow": "100:500:50"}, vary={"execution.slippage_ticks": [0, 1]},
    settings=settings, method="random", trials=12, holdout=0.3,
)  # fmt: skip

# %% [markdown]
# ## Walk forward
#
# Four sessions to choose on, one left out, one to look at; then on by one. Only the tests count.

# %%
walked = ap.walkforward(
    TAPE, EmaCross(quantity=10), {"fast": [10, 40], "slow": [100, 400]}, train=4, gap=1, test=1, settings=settings
)
walked

# %%
walked.plot()

# %% [markdown]
# ## What was assumed of fills
#
# The same strategy under other fill models, latencies and slippages. A result that turns with them is a result about them.

# %%
table = ap.sensitivity(
    TAPE, EmaCross(fast=40, slow=400, quantity=10), settings=settings,
    vary={"execution.latency_ms": [0, 250], "execution.slippage_ticks": [0, 1]},
)  # fmt: skip
table

# %%
table.heatmap(value="net_pnl")
