"""Other futures of a tape, and a place to run in where a strategy finds them wherever it would look for its own.

A strategy is handed events one by one, so it can look ahead only through what it fetches itself: the tape's files, or what
was made of them. So each future is a whole tape on disk, and it stands at the tape's path: in a copy of the working
directory made of links, in parameters, in the environment, and in the text of the strategy's own files.
"""

import hashlib
import json
import shutil
import sys
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from alphapanda.adapters.tape import Seq, Tape, earlier, file_digest
from alphapanda.pipeline import TICKS
from alphapanda.runtime.settings import inherited

UP, DOWN = 1.05, 0.95
NOISE = 0.03
"""Deviation of the noise's walk over all that is left of the tape, as a fraction of the price."""
_PRICES = ("last_price", "bid", "ask")
_MOVED = (*_PRICES, "last_quantity", "bid_quantity", "ask_quantity")
_PACKAGE = Path(__file__).parents[1].resolve()
_INSTALLED = tuple(Path(sysconfig.get_paths()[name]).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib"))
Change = Callable[[pl.DataFrame, np.random.Generator], pl.DataFrame]


def rewritten(tape: Tape, dst: Path, change: Callable[[str, pl.DataFrame], pl.DataFrame] | None = None) -> Path:
    """A tape like this one, at `dst`; `change` makes of each file's topic and rows what is to be in it."""
    manifest: dict[str, Any] = json.loads(json.dumps(tape.manifest))
    files = []
    for file in manifest["files"]:
        source, path = tape.path / file["path"], dst / file["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        frame = None if change is None else pl.read_parquet(source)
        made = frame if change is None or frame is None else change(file["topic"], frame)
        if made is frame:
            shutil.copyfile(source, path)
        elif made is not None and made.height:
            made.write_parquet(path, compression="zstd")
            seqs, times_ns = made.select("epoch", "number"), made["ts_ns"]
            file |= {
                "rows": made.height, "sha256": file_digest(path), "first": list(seqs.row(0)), "last": list(seqs.row(-1)),
                "first_ts_ns": times_ns[0], "last_ts_ns": times_ns[-1],
            }  # fmt: skip
        else:
            continue
        files.append(file)
    shutil.copyfile(tape.path / "instruments.parquet", dst / "instruments.parquet")
    digest = hashlib.sha256("".join(file["sha256"] for file in files).encode()).hexdigest()
    manifest |= {
        "files": files, "digest": digest, "ticks": sum(file["rows"] for file in files if file["topic"] == TICKS),
        "seq": [min(file["first"] for file in files), max(file["last"] for file in files)],
        "ts_ns": [min(file["first_ts_ns"] for file in files), max(file["last_ts_ns"] for file in files)],
        "dates": sorted({file["date"] for file in files}),
    }  # fmt: skip
    (dst / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return dst


def truncated(tape: Tape, dst: Path, cut: Seq, seed: int) -> Path:
    """The tape as it was when nothing from `cut` on had happened."""
    return rewritten(tape, dst, lambda topic, frame: frame.filter(earlier(cut)))


def perturbed(tape: Tape, dst: Path, cut: Seq, seed: int, change: Change) -> Path:
    """The tape with other prices from `cut` on; times and other events stay."""
    rng = np.random.Generator(np.random.PCG64([seed, *cut]))

    def changed(topic: str, frame: pl.DataFrame) -> pl.DataFrame:
        later = frame.filter(~earlier(cut)) if topic == TICKS else frame[:0]
        if later.height == 0:
            return frame
        return pl.concat([frame.filter(earlier(cut)), _on_grid(change(later, rng), tape)])

    return rewritten(tape, dst, changed)


def _scaled(factor: float) -> Change:
    def change(frame: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        return frame.with_columns(pl.col(name) * factor for name in _there(frame, _PRICES))

    return change


def _shuffled(frame: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Each instrument's rows in another order; times and cumulative volume stay."""
    columns, order = _there(frame, _MOVED), np.arange(frame.height)
    tokens = frame["instrument_token"].to_numpy()
    for token in np.unique(tokens):
        mine = np.flatnonzero(tokens == token)
        order[mine] = rng.permutation(mine)
    moved = frame.select(columns)[order.tolist()]
    return frame.with_columns(moved.get_columns())


def _noised(frame: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """A walk of its own laid over each instrument's prices."""
    tokens, factor = frame["instrument_token"].to_numpy(), np.ones(frame.height)
    for token in np.unique(tokens):
        mine = np.flatnonzero(tokens == token)
        factor[mine] = np.exp(np.cumsum(rng.normal(0, NOISE / np.sqrt(len(mine)), len(mine))))
    return frame.with_columns(pl.col(name) * pl.Series(factor) for name in _there(frame, _PRICES))


def _there(frame: pl.DataFrame, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if name in frame.columns]


def _on_grid(frame: pl.DataFrame, tape: Tape) -> pl.DataFrame:
    """Prices as multiples of the tick size, and at least one."""
    steps = {token: one.tick_size or 1e-8 for token, one in tape.instruments.items()}
    step = pl.col("instrument_token").replace_strict(steps, default=0.01, return_dtype=pl.Float64)
    return frame.with_columns(
        ((pl.col(name) / step).round().clip(1) * step).round(8).alias(name) for name in _there(frame, _PRICES)
    )


Future = Callable[[Tape, Path, Seq, int], Path]


def _perturbation(change: Change) -> Future:
    return lambda tape, dst, cut, seed: perturbed(tape, dst, cut, seed, change)


FUTURES: dict[str, Future] = {
    "truncated": truncated,
    "up": _perturbation(_scaled(UP)),
    "down": _perturbation(_scaled(DOWN)),
    "shuffled": _perturbation(_shuffled),
    "noised": _perturbation(_noised),
}
"""What is made of the tape from a cut on, by name."""


# ---- a place to run in


class Place:
    """A working directory like the present one, in which `tape` is another; `substituted` says paths as they are there."""

    def __init__(self, root: Path, tape: Path, other: Path, modules: Mapping[str, Path]) -> None:
        """`modules`: what a spec names (`file.py`), and the file."""
        self.tape, self.other, self.folder = tape.absolute(), other, root / "cwd"
        here = Path.cwd()
        texts = {path: text for path in own_modules() if (text := self._changed(path)) is not None}
        overrides: dict[Path, Path | str] = {self.tape: other, **texts}
        _linked(here, self.folder, _below(here, overrides))
        self._moved = {here: self.folder}
        for i, path in enumerate(modules.values()):
            parent = path.absolute().parent
            if not parent.is_relative_to(here) and parent not in self._moved:
                self._moved[parent] = root / f"beside-{i}"
                _linked(parent, self._moved[parent], _below(parent, overrides))

    def _changed(self, path: Path) -> str | None:
        """The file's text with the other tape's path in it, None where it does not name the tape."""
        text = path.read_text(encoding="utf-8")
        found = self.substituted(text)
        return None if found == text else str(found)

    def substituted(self, value: Any) -> Any:
        """A parameter, or a text, with the tape's absolute path replaced wherever it stands."""
        if isinstance(value, str):
            for path in {str(self.tape), str(self.tape.resolve())}:
                value = value.replace(path, str(self.other))
            return value
        if isinstance(value, list | tuple):
            return [self.substituted(one) for one in value]
        if isinstance(value, dict):
            return {name: self.substituted(one) for name, one in value.items()}
        return value

    def file(self, path: Path) -> Path:
        """Where a strategy's file stands here."""
        absolute = path.absolute()
        for real, here in self._moved.items():
            if absolute.is_relative_to(real):
                return here / absolute.relative_to(real)
        return absolute

    def environment(self) -> dict[str, str]:
        """The environment, with the other tape in it."""
        return {name: self.substituted(value) for name, value in inherited().items()}


def own_modules() -> list[Path]:
    """Files of the loaded modules that are neither installed nor AlphaPanda's own: the strategies and what they import."""
    found = {Path(file).absolute() for one in list(sys.modules.values()) if (file := getattr(one, "__file__", None))}
    return sorted(path for path in found if path.suffix == ".py" and path.exists() and is_foreign(path))


def is_foreign(path: Path) -> bool:
    """Whether a file is neither installed nor AlphaPanda's own."""
    real = path.resolve()
    return not any(real.is_relative_to(folder) for folder in (*_INSTALLED, _PACKAGE))


def _below(root: Path, overrides: Mapping[Path, Path | str]) -> dict[tuple[str, ...], Path | str]:
    return {path.relative_to(root).parts: made for path, made in overrides.items() if path.is_relative_to(root) and path != root}


def _linked(real: Path, here: Path, overrides: Mapping[tuple[str, ...], Path | str]) -> None:
    """A folder of links to what is in `real`, but for what is overridden: by a link to another place, or by a text."""
    here.mkdir(parents=True)
    for entry in real.iterdir():
        mine = {path[1:]: made for path, made in overrides.items() if path[0] == entry.name}
        if not mine and not (overrides and entry.name == "__pycache__"):  # compiled code of the texts as they were
            (here / entry.name).symlink_to(entry.absolute())
        elif () in mine:
            made = mine[()]
            if isinstance(made, str):
                (here / entry.name).write_text(made, encoding="utf-8")
            else:
                (here / entry.name).symlink_to(made)
        elif mine:
            _linked(entry, here / entry.name, mine)
