"""Finding strategies, and the digest of their code.

A strategy's digest is SHA-256 over its own source and that of every module it imports, directly or not, that lies
outside the installed packages: with the same digest and parameters it says the same about the same events.
"""

import ast
import hashlib
import importlib
import importlib.util
import inspect
import linecache
import sys
import sysconfig
import traceback
from pathlib import Path
from types import ModuleType

from alphapanda.contracts.errors import ConfigurationError
from alphapanda.services.strategy_runner.strategy import Strategy

_INSTALLED = tuple(Path(sysconfig.get_paths()[name]).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_PACKAGE = Path(__file__).parents[1].resolve()


def find_class(name: str) -> type[Strategy]:
    """The class that `module:Class` or `file.py:Class` names. Raises ConfigurationError that says what is missing."""
    where, colon, class_name = name.rpartition(":")
    if not colon:
        raise ConfigurationError(
            f"strategy {name!r} is not understood: write module:Class, such as strategies.ema_cross:EmaCross"
        )
    module = _load(where)
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, Strategy)):
        there = [
            key
            for key, one in vars(module).items()
            if isinstance(one, type) and issubclass(one, Strategy) and one is not Strategy
        ]
        raise ConfigurationError(f"{where} has no strategy {class_name!r}: it has {', '.join(there) or 'none'}")
    return found


def _load(where: str) -> ModuleType:
    if where.endswith(".py"):
        path = Path(where)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None or not path.exists():
            raise ConfigurationError(f"strategy file {where} is not there")
        module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[path.stem]
            raise _not_imported(where, error) from error
        return module
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{where}.".startswith(f"{error.name}."):
            raise _not_imported(where, error) from error  # it is there, and imports what is not
        raise ConfigurationError(
            f"strategy module {where!r} cannot be imported: {error}; run from the folder that holds it"
        ) from error
    except Exception as error:
        raise _not_imported(where, error) from error


def _not_imported(where: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(f"strategy {where} cannot be imported: {type(error).__name__}: {error}, at {author_line(error)}")


def author_line(error: BaseException) -> str:
    """`file.py:12`: where an error arose in what was written outside AlphaPanda and the installed packages.

    Of a syntax error, the line that cannot be read; `?` where nothing of the author's took part.
    """
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{Path(error.filename).name}:{error.lineno}"
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_own(Path(frame.filename).resolve())]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "?"


def source_of(cls: type[Strategy]) -> str:
    """The source that a run keeps: the class's file, or, for a class of a notebook cell, the class itself."""
    module = sys.modules.get(cls.__module__)
    path = getattr(module, "__file__", None)
    if path is not None:
        return Path(path).read_text(encoding="utf-8")
    try:
        return inspect.getsource(cls)
    except (OSError, TypeError) as error:
        if (found := _cell_source(cls)) is not None:
            return found
        raise ConfigurationError(
            f"the source of {cls.__name__} cannot be found, so the run could not be repeated: put the class into a file"
            " or a notebook cell"
        ) from error


def _cell_source(cls: type[Strategy]) -> str | None:
    """The class's part of its notebook cell: the kernel keeps a cell's text under the name that its functions' code says."""
    for one in vars(cls).values():
        code = getattr(one, "__code__", None)
        text = "" if code is None else "".join(linecache.getlines(code.co_filename))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
                return ast.get_source_segment(text, node)
    return None


def code_digest(cls: type[Strategy]) -> str:
    """SHA-256 over the strategy's source and its own imports' sources, by module name."""
    sha = hashlib.sha256(source_of(cls).encode())
    module = sys.modules.get(cls.__module__)
    found: dict[str, str] = {}
    if module is not None:
        _imports(source_of(cls), module, found)
    for name in sorted(found):
        sha.update(f"\n{name}\n{found[name]}".encode())
    return sha.hexdigest()


def _imports(source: str, module: ModuleType, found: dict[str, str]) -> None:
    """Collect the sources of the modules that `source` imports, outside the installed packages and AlphaPanda's own."""
    for name in _imported_names(source, module):
        imported = sys.modules.get(name)
        path = getattr(imported, "__file__", None)
        if imported is None or path is None or name in found or not _is_own(Path(path).resolve()):
            continue
        found[name] = Path(path).read_text(encoding="utf-8")
        _imports(found[name], imported, found)


def _is_own(path: Path) -> bool:
    return path.suffix == ".py" and not any(path.is_relative_to(folder) for folder in (*_INSTALLED, _PACKAGE))


def _imported_names(source: str, module: ModuleType) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(inspect.cleandoc(source) if source.startswith(" ") else source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = (
                importlib.util.resolve_name("." * node.level + (node.module or ""), module.__package__ or "")
                if node.level
                else node.module or ""
            )
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return names
