"""`alphapanda new strategy NAME` and `alphapanda notebook`: where an author begins."""

import keyword
import os
import re
import sys
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from alphapanda.cli_terminal import err, out, print_json
from alphapanda.contracts.errors import ConfigurationError

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")

new = typer.Typer(no_args_is_help=True, help="Begin something of your own.")


def class_name(name: str) -> str:
    """`ema_cross` as `EmaCross`. Raises ConfigurationError for a name that is none."""
    if not NAME.fullmatch(name) or keyword.iskeyword(name) or len(name) > 60:
        raise ConfigurationError(
            f"{name!r} cannot be a strategy's name: write small letters and digits joined by _, such as opening_range"
        )
    return "".join(part.capitalize() for part in name.split("_"))


def files(name: str, tape: Path, folder: Path) -> dict[Path, str]:
    """What is written for a strategy: path -> text. Raises ConfigurationError where one of them is there already."""
    names = {"name": name, "cls": class_name(name), "title": name.replace("_", " ").capitalize(), "tape": tape.as_posix()}
    tests = folder / "tests/unit" if (folder / "tests/unit").is_dir() else folder / "tests"
    written = {
        folder / f"strategies/{name}.py": "strategy.py.txt", tests / f"test_{name}.py": "test.py.txt",
        folder / f"replays/{name}.toml": "replay.toml.txt",
    }  # fmt: skip
    if there := [path for path in written if path.exists()]:
        raise ConfigurationError(f"{', '.join(map(str, there))} is there already and stays as it is: choose another name")
    texts = {path: Template(template(file)).substitute(names) for path, file in written.items()}
    package, root = folder / "strategies/__init__.py", folder / "tests/__init__.py"
    if not package.exists():
        texts[package] = template("strategies.py.txt")
    if not root.exists():  # so that pytest finds `strategies` from the folder above
        texts[root] = ""
    return texts


def template(name: str) -> str:
    """A template's text."""
    return resources.files("alphapanda.templates").joinpath(name).read_text("utf-8")


@new.command(epilog="Example: alphapanda new strategy opening_range")
def strategy(
    name: Annotated[str, typer.Argument(help="Small letters, digits and _, such as opening_range.")],
    tape: Annotated[Path, typer.Option(help="The tape of its replay spec; the demo's is made where it is missing.")] = Path(
        "data/tapes/demo"
    ),
    as_json: AsJson = False,
) -> None:
    """Write a strategy, its test and its replay spec, all of which run at once."""
    texts = files(name, tape, Path())
    if not (tape / "manifest.json").exists():
        _make_demo(tape)
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:  # never over what somebody else has just written
            file.write(text)
    spec = f"replays/{name}.toml"
    if as_json:
        print_json({"name": name, "class": f"strategies.{name}:{class_name(name)}", "files": [str(path) for path in texts],
                    "spec": spec, "tape": str(tape)})  # fmt: skip
        return
    for path in texts:
        out.print(f"wrote {path}", highlight=False, soft_wrap=True)
    test = next(path for path in texts if path.name == f"test_{name}.py")
    out.print(f"next: alphapanda replay {spec} | pytest {test} | alphapanda lookahead {spec}", highlight=False, soft_wrap=True)


def _make_demo(tape: Path) -> None:
    from alphapanda.runtime.tape_make import make_demo_tape

    if tape != Path("data/tapes/demo"):
        raise ConfigurationError(f"{tape} is not a tape: make one with `alphapanda tape make {tape}`, or leave --tape out")
    make_demo_tape(tape)


def notebook(
    folder: Annotated[Path, typer.Argument(help="Folder of notebooks.")] = Path("notebooks"),
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port on the loopback; 0: a free one.")] = 8888,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Say what is opened as one JSON object, then serve.")] = False,
) -> None:
    """Open JupyterLab on the notebooks, in place of this process, until Ctrl-C."""
    words = lab_command(folder, port, browser=not no_browser)
    if as_json:
        print_json({"folder": str(folder.absolute()), "pid": os.getpid(), "command": words})
    else:
        err.print(f"JupyterLab on {folder}   Ctrl-C ends it", highlight=False, soft_wrap=True)
    sys.stdout.flush()
    os.execv(words[0], words)  # noqa: S606  # our own interpreter; signals then reach the server itself


def lab_command(folder: Path, port: int, *, browser: bool) -> list[str]:
    """What is run. Raises ConfigurationError that says what is missing."""
    if find_spec("jupyterlab") is None:
        raise ConfigurationError("notebooks need JupyterLab, which is the extra `notebook`: pip install 'alphapanda[notebook]'")
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is no folder: run from the checkout, or name the folder of your notebooks")
    options = [f"--ServerApp.root_dir={Path.cwd()}", f"--LabApp.default_url=/lab/tree/{_from_here(folder)}",
               "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]  # fmt: skip
    return [sys.executable, "-m", "jupyterlab", *options, *(() if browser else ("--no-browser",))]


def _from_here(folder: Path) -> str:
    try:
        return folder.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError as error:
        raise ConfigurationError(f"{folder} lies outside of {Path.cwd()}: run from a folder above it") from error


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(new, name="new")
    app.command(epilog="Example: alphapanda notebook --no-browser")(notebook)
