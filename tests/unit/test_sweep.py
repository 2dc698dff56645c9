"""Searches: what is chosen, proposed, refused and said, and what stands in a folder."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import alphapanda as ap
from alphapanda.contracts.errors import AlphaPandaError, ConfigurationError
from alphapanda.research.search import figures
from alphapanda.research.search.api import StrategyLike, importable_name, load
from alphapanda.research.search.folder import SearchFolder, found_in
from alphapanda.research.search.outcome import Outcome
from alphapanda.research.search.propose import Optuna
from alphapanda.research.search.sensitivity import assumptions, points
from alphapanda.research.search.space import Span, drawn
from alphapanda.research.search.sweep import Sweep, at_the_edge
from alphapanda.research.search.walkforward import WalkForward
from strategies.ema_cross import EmaCross

FREE = {"charges.profile": "none"}


class Local(ap.Strategy):
    """Buys at its first ticks; only this module has it, but a file stands behind it."""

    size: int = 1
    fails_at: int = 0
    raises_at: int = 0

    def on_start(self) -> None:
        self.seen = 0
        if self.size == self.fails_at:
            raise ValueError(f"{self.size} is too much")

    def on_market_data(self, tick: Any) -> Any:
        self.seen += 1
        if self.size == self.raises_at and self.seen == 20:
            raise RuntimeError("enough")
        if self.seen < 3:
            yield self.buy(tick.instrument_token, self.size)


def small(tape: Path, out: Path, strategy: StrategyLike = EmaCross, **more: Any) -> Sweep:
    """A sweep of six sets in this process."""
    asked: dict[str, Any] = {"params": {"fast": [2, 5, 10], "slow": [20, 40]}, "settings": FREE, "workers": 0} | more
    return ap.sweep(tape, strategy, out=out, **asked)


# ---- sweeps


def test_the_best_set_is_chosen_in_training_and_looked_at_in_the_holdout_alone(tape: Path, tmp_path: Path) -> None:
    """One replay of the holdout; its figures are those of a replay of that range."""
    found = small(tape, tmp_path, holdout=0.4)
    best, replays = found.best, found.replays
    assert best is not None
    late = replays.filter(pl.col("part") == "holdout")
    start, _ = found.plan.stages[0].test.ranges[0]  # type: ignore[union-attr]
    run = ap.replay(tape, [EmaCross(**best.point)], settings=FREE, start=start, out=tmp_path / "runs")
    assert best.score == found.results["net_pnl"].max()
    assert (late.height, late["digest"][0], best.holdout, found.done) == (1, run.digest, run.stats["net_pnl"], True)


def test_digests_and_statistics_are_those_of_whole_runs(tape: Path, tmp_path: Path) -> None:
    """With and without keeping the runs."""
    light, kept = small(tape, tmp_path, name="light"), small(tape, tmp_path, name="kept", keep_runs=True)
    run = ap.load(kept.replays["run_id"][3], kept.path / "runs")
    files = [Outcome(one.folder).tried(one.stage.train)[3].results[0] for one in (light, kept)]
    assert files[0].digests == files[1].digests == run.manifest["digests"]
    assert files[0].stats == files[1].stats == run.stats
    assert files[0].counts == files[1].counts


def test_several_tapes_and_settings_are_searched_together(tape: Path, day: Path, tmp_path: Path) -> None:
    """A set's score is the mean over tapes; counts add up."""
    found = small([tape, day], tmp_path, params={"fast": [2, 5]}, vary={"execution.slippage_ticks": [0, 2]}, holdout=0.25)  # type: ignore[arg-type]
    replays = found.replays.filter(pl.col("part") == "train")
    first = replays.filter(pl.col("number") == 0)
    assert (found.tried, replays.height) == (4, 8)
    assert found.results["score"][0] == pytest.approx(first["net_pnl"].mean())
    assert found.results["fills"][0] == first["fills"].sum()
    assert found.results["execution.slippage_ticks"].to_list() == [0.0, 2.0, 0.0, 2.0]
    assert found.results["slippage"][1] > found.results["slippage"][0]


def test_a_set_that_fails_or_halts_does_not_count_and_the_others_go_on(day: Path, tmp_path: Path) -> None:
    """Neither can be best; why stands in the results, with the author's line."""
    found = small(day, tmp_path, Local(fails_at=3, raises_at=2), params={"size": [1, 2, 3]}, objective="charges", settings={})
    problems = found.results["problem"].to_list()
    assert problems[0] is None
    assert "RuntimeError: enough" in problems[1]
    assert "test_sweep.py" in problems[1]
    assert "ValueError: 3 is too much (test_sweep.py" in problems[2]
    assert found.best is not None
    assert found.best.point == {"size": 1}


def test_less_is_better_where_it_is_a_cost(day: Path, tmp_path: Path) -> None:
    """Of charges the least."""
    found = small(day, tmp_path, Local(), params={"size": [5, 1, 9]}, objective="charges", settings={})
    assert found.best is not None
    assert found.best.point == {"size": 1}


def test_what_must_be_said_is_said(tape: Path, tmp_path: Path) -> None:
    """Few round trips, luck, no holdout, a best set at the edge, and an objective that none has."""
    said = " ".join(small(tape, tmp_path, Local(), params={"size": [1, 2, 3]}).warnings)
    none = small(tape, tmp_path, objective="sharpe")
    why = "none of 6 sets has a value of sharpe (it needs 20 sessions): there is no best set"
    assert all(part in said for part in ("rests on 0 round trips", "the best of 3 sets", "no holdout", "at the edge", "no money"))
    assert (none.best, none.warnings) == (None, [why])


def test_only_numbers_with_something_on_both_sides_have_edges() -> None:
    """Texts have none, and two values are all edge."""
    results = pl.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"], "c": [1, 1, 2], "d": [3, 4, 5]})
    said = at_the_edge(results, {"a": 3, "b": "x", "c": 2, "d": 4}, dict.fromkeys("abcd"))
    assert [line.split(" ")[2] for line in said] == ["a=3"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"params": {}}, "nothing to search over"),
        ({"params": {"speed": [1]}}, "has no parameter 'speed'"),
        ({"params": {"fast": ["a"]}}, "EmaCross.fast='a'"),
        ({"params": {"other.fast": [1]}}, "of no strategy"),
        ({"vary": {"execution.speed": [1]}}, "cannot be varied"),
        ({"vary": {"storage.runs": ["x"]}}, "cannot be varied"),
        ({"vary": {"execution.latency_ms": [-1]}}, "latency_ms"),
        ({"objective": "luck"}, "objective 'luck' is not known"),
        ({"method": "guess"}, "search.method"),
        ({"holdout": 1.5}, "search.holdout"),
        ({"workers": -1}, "number of processes"),
        ({"params": {"symbols": "1:3"}}, "symbols=1"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_the_first_replay(tape: Path, tmp_path: Path, more: Any, message: str) -> None:
    """With a sentence, and without a folder of results."""
    with pytest.raises(ConfigurationError, match=message):
        small(tape, tmp_path, **more)
    assert not list(tmp_path.rglob("results/*"))


def test_classes_that_only_this_process_has_are_searched_here_alone(day: Path, tmp_path: Path) -> None:
    """Processes cannot have a function's class."""

    class Inner(Local):
        """Of a function."""

    found = ap.sweep(day, Inner, {"size": [1, 2]}, out=tmp_path)
    with pytest.raises(ConfigurationError, match="workers=0"):
        ap.sweep(day, Inner, {"size": [1, 2]}, out=tmp_path, workers=2)
    names = [importable_name(one) for one in (Inner, Local, EmaCross)]
    assert (found.tried, names) == (2, [None, f"{__name__}:Local", "strategies.ema_cross:EmaCross"])


def test_several_strategies_are_named_in_their_parameters(day: Path, tmp_path: Path) -> None:
    """id.name, each book with its own."""
    found = ap.sweep(day, [EmaCross, Local(size=3)], {"ema_cross.fast": [3, 9], "local.size": [1]}, workers=0, out=tmp_path)
    assert found.results.select("ema_cross.fast", "local.size").rows() == [(3, 1), (9, 1)]
    with pytest.raises(ConfigurationError, match=r"ema_cross\.NAME"):
        ap.sweep(day, [EmaCross, Local], {"fast": [3]}, workers=0, out=tmp_path)


# ---- folders


def test_a_search_goes_on_only_under_an_equal_plan(tape: Path, day: Path, tmp_path: Path) -> None:
    """Other settings, tapes, sets, holdouts or fixed parameters are refused by name; what is finished is not touched."""
    first = small(tape, tmp_path, name="x")
    before = {path.name: path.stat().st_mtime_ns for path in (first.path / "results").iterdir()}
    for more, named in (
        ({"settings": {}}, "settings"), ({"holdout": 0.3}, "the ranges"), ({"params": {"fast": [2]}}, "the values to be tried"),
        ({"strategy": EmaCross(quantity=2)}, "the strategies"),
    ):  # fmt: skip
        with pytest.raises(ConfigurationError, match=named):
            small(tape, tmp_path, name="x", **more)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="the tape"):
        small(day, tmp_path, name="x")
    again = small(tape, tmp_path, name="x")
    assert {path.name: path.stat().st_mtime_ns for path in (again.path / "results").iterdir()} == before


def test_other_code_of_the_strategy_is_refused(day: Path, tmp_path: Path) -> None:
    """Its digest is in the plan."""
    file, text = tmp_path / "mine.py", Path(EmaCross.__module__.replace(".", "/") + ".py").read_text(encoding="utf-8")
    file.write_text(text, encoding="utf-8")
    small(day, tmp_path, f"{file}:EmaCross", name="x")
    file.write_text(text + "# changed\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="their code"):
        small(day, tmp_path, f"{file}:EmaCross", name="x")


def test_a_damaged_result_is_named_and_a_missing_one_replayed(day: Path, tmp_path: Path) -> None:
    """Removing the file is the way out."""
    first = small(day, tmp_path, name="x")
    digests = first.replays["digest"].to_list()
    file = sorted((first.path / "results").iterdir())[0]
    file.write_text("{", encoding="utf-8")
    with pytest.raises(AlphaPandaError, match="is damaged: remove it"):
        small(day, tmp_path, name="x")
    file.unlink()
    assert (Sweep.open(first.path).tried, small(day, tmp_path, name="x").replays["digest"].to_list()) == (5, digests)


def test_folders_are_found_newest_first_and_others_refused(day: Path, tmp_path: Path) -> None:
    """A sweep is no walk-forward."""
    paths = [small(day, tmp_path, name=name).path for name in ("a", "b")]
    assert [one.path for one in found_in(tmp_path)] == paths[::-1]
    assert repr(load(paths[0])) == repr(Sweep.open(paths[0]))
    with pytest.raises(AlphaPandaError, match="no walk-forward"):
        WalkForward.open(paths[0])
    with pytest.raises(AlphaPandaError, match="is not a search"):
        SearchFolder.open(tmp_path / "c")
    with SearchFolder.open(paths[0]).alone(), pytest.raises(AlphaPandaError, match="is being searched by process"):
        small(day, tmp_path, name="a")


def test_progress_is_told_in_replays_and_begins_where_a_search_was_stopped(day: Path, tmp_path: Path) -> None:
    """It only grows, and ends with all of them: six sets and the holdout."""
    first, again = list[tuple[float, float]](), list[tuple[float, float]]()
    small(day, tmp_path, name="x", holdout=0.3, progress=lambda *told: first.append(told))
    (tmp_path / "x" / "finished").unlink()
    small(day, tmp_path, name="x", holdout=0.3, progress=lambda *told: again.append(told))
    assert [done for done, _ in first] == sorted(done for done, _ in first)
    assert (first[-1], again[0], again[-1], len(again)) == ((7, 7), (1, 7), (7, 7), 7)
    assert any(done % 1 for done, _ in first)


# ---- optuna


def optuna_sweep(day: Path, out: Path, **more: Any) -> Sweep:
    asked: dict[str, Any] = {"trials": 14, "params": {"fast": Span(2, 30), "slow": Span(30, 90, 30)}} | more
    return small(day, out, method="optuna", **asked)


def test_optunas_proposals_are_the_same_after_a_kill(day: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the middle of a batch, it goes on as if nothing had been."""
    whole_ = optuna_sweep(day, tmp_path / "whole")
    kept, finished = SearchFolder.keep, []

    def keep(self: SearchFolder, result: Any) -> None:
        if len(finished) == 6:
            raise KeyboardInterrupt
        finished.append(result.key)
        kept(self, result)

    monkeypatch.setattr(SearchFolder, "keep", keep)
    with pytest.raises(KeyboardInterrupt):
        optuna_sweep(day, tmp_path / "cut")
    monkeypatch.undo()
    again = optuna_sweep(day, tmp_path / "cut")
    columns = ["number", "fast", "slow", "score"]
    assert again.results.select(columns).equals(whole_.results.select(columns))
    assert len(list(Optuna(again.plan, "train", again.path).batches())) == 0


def test_optuna_finds_more_than_chance(day: Path, tmp_path: Path) -> None:
    """It searches floats, whole numbers, choices and magnitudes, for the least of a cost too."""
    space = {"size": Span(1, 500)}
    found = optuna_sweep(day, tmp_path, strategy=Local(), params=space, trials=30, objective="charges", settings={})
    by_chance = drawn(space, 30, 1)
    assert found.best is not None
    assert found.best.point["size"] < sorted(one["size"] for one in by_chance)[2]


# ---- figures and pages


def test_a_heatmap_shows_every_set_and_marks_the_best(day: Path, tmp_path: Path) -> None:
    """A cell a set; over one dimension a line."""
    found = small(day, tmp_path)
    assert found.best is not None
    shown = found.heatmap()
    cells = found.results.pivot("fast", index="slow", values="score").sort("slow").drop("slow").rows()
    assert [tuple(row) for row in shown.data[0].z] == cells
    assert (shown.data[1].x[0], shown.data[1].y[0]) == tuple(map(str, found.best.point.values()))
    assert len(small(day, tmp_path, params={"fast": [2, 3]}).heatmap().data[0].x) == 2
    with pytest.raises(ConfigurationError, match="was not searched over"):
        found.heatmap(x="speed")
    with pytest.raises(ConfigurationError, match="have no luck"):
        found.heatmap(value="luck")


def test_a_heatmap_is_the_mean_over_other_dimensions() -> None:
    """And says so; without any set it says that."""
    frame = pl.DataFrame({"a": [1, 1, 2], "b": [1, 1, 1], "c": [1, 2, 1], "score": [1.0, 3.0, 5.0]})
    shown = figures.heatmap(frame, "a", "b")
    assert ([list(row) for row in shown.data[0].z], "mean over" in shown.layout.title.text) == ([[2.0, 5.0]], True)
    assert "no set is finished" in figures.heatmap(frame.clear(), "a", "b").layout.annotations[0].text


def test_a_card_says_best_holdout_tried_and_warnings(tape: Path, tmp_path: Path) -> None:
    """In HTML without scripts."""
    found = small(tape, tmp_path, holdout=0.3)
    text = found._repr_html_()
    assert all(part in text for part in ("6 sets tried", "best: fast=", "on the holdout", "⚠"))
    assert "<script" not in text


# ---- walk-forward and sensitivity


def test_a_walk_forward_tests_each_best_set_where_it_was_not_chosen(tape: Path, tmp_path: Path) -> None:
    """Its sums are those of its tests; each fold's best is that of its own training."""
    found = ap.walkforward(tape, EmaCross, {"fast": [2, 5, 10], "slow": [20, 40]}, train=3, test=2, gap=1, settings=FREE,
                           workers=0, out=tmp_path)  # fmt: skip
    replays = found.replays
    tests = replays.filter(pl.col("part").str.ends_with("test"))
    assert found.stats["net_pnl"] == pytest.approx(tests["net_pnl"].sum())
    assert (found.stats["sessions"], found.stats["folds"], found.tried, tests.height) == (4, 2, 6, 2)
    for fold, part in zip(found.folds.iter_rows(named=True), ("fold001-train", "fold002-train"), strict=True):
        assert fold["train_score"] == replays.filter(pl.col("part") == part)["net_pnl"].max()
    assert any("2 folds are few" in line for line in found.warnings)
    assert WalkForward.open(found.path).folds.equals(found.folds)
    assert "Walk-forward" in found._repr_html_()
    assert len(found.plot().data[0].x) == 2


def test_a_walk_forward_walks_along_one_tape(tape: Path, day: Path, tmp_path: Path) -> None:
    """Several have no common order."""
    with pytest.raises(ConfigurationError, match="one tape"):
        ap.walkforward([tape, day], EmaCross, {"fast": [2]}, out=tmp_path)  # type: ignore[arg-type]


def test_a_sensitivity_table_begins_with_the_settings_and_tries_each_assumption_once(day: Path, tmp_path: Path) -> None:
    """`immediate` has no latency; slippage against the order costs; a changed sign is told."""
    settings = {"execution.latency_ms": 7, "charges.profile": "none"}
    found = ap.sensitivity(day, EmaCross(fast=3, slow=9), settings=settings, workers=0, out=tmp_path,
                           vary={"execution.latency_ms": [0, 500], "execution.slippage_ticks": [0, 3]})  # fmt: skip
    table = found.table
    expected = 1 + 3 * 2 * 2 + 2
    again = table.filter((pl.col("fill_model") == "next_tick") & (pl.col("latency_ms") == 500)).sort("slippage_ticks")
    assert (table.height, table.row(0)[:3], table["change"][0]) == (expected, ("next_tick", 7.0, 0.0), 0.0)
    assert table.filter(pl.col("fill_model") == "immediate")["latency_ms"].to_list() == [0.0, 0.0]
    assert again["net_pnl"][0] > again["net_pnl"][1]
    assert found.heatmap().data[0].z is not None
    assert "Sensitivity" in found._repr_html_()


def test_depth_is_left_out_where_the_tape_has_no_quantities() -> None:
    """Of the defaults; and ranges are no table."""
    quoted = ["bid", "ask", "bid_quantity", "ask_quantity"]
    models = [assumptions(columns, {})["execution.fill_model"] for columns in (quoted, quoted[:2])]
    assert models == [("next_tick", "bar_open", "depth", "immediate"), ("next_tick", "bar_open", "immediate")]
    assert assumptions(quoted, {}, depth=False)["execution.fill_model"] == models[1]
    with pytest.raises(ConfigurationError, match="no ranges"):
        points({}, {"execution.fill_model": ("depth",), "execution.latency_ms": Span(0, 9)})
