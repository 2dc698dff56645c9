# %% [markdown]
# # Analyse with polars and DuckDB
#
# A run is a folder of Parquet files. Frames come as polars, SQL is DuckDB over the same files; nothing is loaded into a database.

# %%
import os
from pathlib import Path

if Path.cwd().name == "notebooks":  # data, strategies and replays lie in the folder above
    os.chdir("..")

import polars as pl

import alphapanda as ap
from alphapanda.runtime.tape_make import make_tape
from strategies.ema_cross import EmaCross
from strategies.mean_reversion import MeanReversion

TAPE = Path("data/tapes/notebook")
if not TAPE.exists():
    make_tape(TAPE, seed=11, ticks=20_000, instruments=4)

settings = {"execution.product": "MIS", "execution.price": "opposite"}
strategies = [EmaCross(fast=50, slow=250, quantity=10), MeanReversion(window=15, quantity=10)]
run = ap.replay(TAPE, strategies, settings=settings)

# %% [markdown]
# ## polars
#
# `fills`, `orders`, `signals`, `positions`, `equity`, `bars`, `round_trips` and more (docs/results.md). Columns ending in `_e8`
# are exact integers of 1e-8; the same name without it is the amount as a float.

# %%
costs = run.fills.group_by("strategy_id", "symbol").agg(
    pl.len().alias("fills"), pl.col("slippage").sum(), pl.col("charges").sum(),
    (pl.col("price") * pl.col("quantity").abs()).sum().alias("turnover"),
).sort("strategy_id", "symbol")  # fmt: skip
costs

# %% [markdown]
# Where charges come from, line by line:

# %%
run.fills.select(pl.col("charge_lines").struct.unnest()).sum() / 1e8

# %% [markdown]
# ## SQL over this run

# %%
run.sql("""
    select strategy_id, side, count(*) as round_trips, sum(net) as net, avg(net) as mean,
           sum((net > 0)::int) / count(*) as win_rate
    from round_trips group by all order by all
""")

# %% [markdown]
# ## SQL over all runs and tapes
#
# `runs`, `tapes` and `ticks` stand beside the tables of every run.

# %%
ap.sql("""
    select r.run_id, count(*) as fills, sum(f.charges) as charges
    from runs r join fills f using (run_id) group by all order by 1 desc limit 5
""")

# %% [markdown]
# Prices of the tape at each fill's minute, as a join by time:

# %%
ap.sql(f"""
    select f.symbol, f.side, f.price, avg(t.last_price) as minute_mean, count(*) as ticks
    from fills f join ticks t on t.instrument_token = f.instrument_token
        and date_trunc('minute', t.ts) = date_trunc('minute', f.ts)
    where f.run_id = '{run.id}' and t.tape = '{TAPE.name}'
    group by f.id, f.symbol, f.side, f.price order by f.id limit 5
""")

# %% [markdown]
# ## A figure of one's own
#
# Figures are plotly; a frame is all that they need.

# %%
held = run.round_trips.with_columns((pl.col("exit_ts") - pl.col("entry_ts")).dt.total_seconds().alias("held_s"))
held.group_by("strategy_id").agg(pl.col("held_s").median(), pl.col("net").mean()).sort("strategy_id")

# %%
run.plot("round_trips")
