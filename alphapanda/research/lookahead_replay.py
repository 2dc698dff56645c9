"""One replay of the look-ahead check, in a process of its own: what the strategy's modules keep begins anew.

`python -m alphapanda.research.lookahead_replay JOB.json` prints one JSON object: the run's folder, the digest of its
signals, what was read besides the tape, and whether the original tape was opened.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from alphapanda.adapters.tape import Tape
from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.pipeline import GENERATED
from alphapanda.research.lookahead_world import is_foreign
from alphapanda.runtime.container import AppContainer
from alphapanda.runtime.replay_run import run_replay
from alphapanda.runtime.settings import load_settings
from alphapanda.runtime.spec import make_spec

DATA = (".csv", ".parquet", ".json", ".jsonl", ".ndjson", ".npy", ".npz", ".pkl", ".pickle", ".feather", ".arrow", ".txt",
        ".db", ".duckdb", ".h5")  # fmt: skip


class Watch:
    """Notes which files are opened."""

    def __init__(self, original: Path, other: Path, place: Path) -> None:
        self.original = {original.absolute(), original.resolve()}
        self._known = {other.absolute(), other.resolve(), place.absolute(), place.resolve()}
        self.direct: set[str] = set()  # the original tape, by its own path
        self.besides: set[str] = set()  # other data
        self.on = False

    def install(self) -> None:
        """Listen to Python's own opens, and to polars', whose reading Python does not see."""
        sys.addaudithook(self._heard)
        for name in dir(pl):
            if name.startswith(("read_", "scan_")) and callable(getattr(pl, name)):
                setattr(pl, name, self._noted(getattr(pl, name)))

    def _noted(self, reads: Callable[..., Any]) -> Callable[..., Any]:
        def noting(source: Any, *more: Any, **options: Any) -> Any:
            for one in source if isinstance(source, list | tuple) else [source]:
                self._note(one)
            return reads(source, *more, **options)

        return noting

    def _heard(self, event: str, args: tuple[Any, ...]) -> None:
        if self.on and event in ("open", "os.listdir", "os.scandir") and args:
            self._note(args[0])

    def _note(self, what: Any) -> None:
        if not self.on or not isinstance(what, str | Path):
            return
        path = Path(what).absolute()
        if any(path.is_relative_to(one) for one in self.original):
            self.direct.add(str(path))
        elif path.suffix in DATA and is_foreign(path) and not any(path.resolve().is_relative_to(one) for one in self._known):
            self.besides.add(str(path.resolve()))


def main() -> None:
    """Replay what the job says; a failure of the replay is an answer too."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    watch = Watch(Path(job["original"]), Path(job["other"]), Path(job["place"]))
    watch.install()
    watch.on = True
    try:
        spec = make_spec(sys.argv[1], job["spec"])
        settings = load_settings(spec.settings)
        finished = run_replay(
            AppContainer(settings), Tape.open(spec.tape), spec.specs(), start=spec.start, end=spec.end, out=Path(job["out"])
        )
    except AlphaPandaError as error:
        answer: dict[str, Any] = {"error": str(error)}
    except Exception as error:  # noqa: BLE001  # what an author's code raises before its first event
        answer = {"error": f"{type(error).__name__}: {error}"}
    else:
        manifest = finished.manifest
        answer = {"error": None, "run": str(finished.path), "signals": manifest["digests"][GENERATED],
                  "halted": manifest["counts"]["halted"]}  # fmt: skip
    watch.on = False
    answer |= {"direct": sorted(watch.direct), "besides": sorted(watch.besides)}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
