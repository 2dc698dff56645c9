"""Pages without a browser: opened, and what they say."""

import shutil

from streamlit.testing.v1 import AppTest

from alphapanda.research.runs import Run
from dashboards.catalogue import Folders

PATIENCE_S = 60


def _script(view: str, places: list[str]) -> None:
    from importlib import import_module
    from pathlib import Path

    from dashboards.catalogue import Folders

    import_module(f"dashboards.views.{view}").page(Folders(*map(Path, places)))


def opened(view: str, folders: Folders, **parameters: str) -> AppTest:
    """A page, as it comes up."""
    page = AppTest.from_function(_script, kwargs={"view": view, "places": list(map(str, folders))}, default_timeout=PATIENCE_S)
    for name, value in parameters.items():
        page.query_params[name] = value
    return page.run()


def texts(page: AppTest) -> str:
    """All that a page says in words."""
    kinds = ("header", "subheader", "markdown", "caption", "info", "warning", "error", "success", "code")
    return "\n".join(str(one.value) for kind in kinds for one in getattr(page, kind))


def metrics(page: AppTest) -> dict[str, str]:
    return {one.label: one.value for one in page.metric}


def tab(page: AppTest, name: str) -> AppTest:
    """The page with this tab open."""
    page.session_state["run-tab"] = name
    return page.run()


def only(folders: Folders, *runs: Run) -> Folders:
    """Copies of these runs alone."""
    for run in runs:
        shutil.copytree(run.path, folders.runs / run.path.name)
    return folders
