"""What Streamlit runs: `alphapanda ui` starts it. The first page is the newest run."""

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path

import streamlit as st

from dashboards.catalogue import Folders
from dashboards.views import compare, pnl, run, runs, sweep

ICON = Path(__file__).with_name("icon.svg")  # a file of ours: an icon by name would be fetched from elsewhere


def main(folders: Folders) -> None:
    """Show the page that was asked for."""
    st.set_page_config(page_title="AlphaPanda", page_icon=str(ICON), layout="wide")
    st.logo(str(ICON), size="large")

    def bound(show: Callable[[Folders], None]) -> Callable[[], None]:
        @wraps(show)
        def shown() -> None:
            show(folders)

        return shown

    pages = {
        "run": st.Page(bound(run.page), title="Run", icon=":material/monitoring:", url_path="run", default=True),
        "runs": st.Page(bound(runs.page), title="Runs", icon=":material/table_rows:", url_path="runs"),
        "compare": st.Page(bound(compare.page), title="Compare", icon=":material/compare_arrows:", url_path="compare"),
        "sweep": st.Page(bound(sweep.page), title="Sweep", icon=":material/grid_on:", url_path="sweep"),
        "pnl": st.Page(bound(pnl.page), title="P&L", icon=":material/account_balance_wallet:", url_path="pnl"),
    }
    st.session_state["pages"] = pages
    st.navigation(list(pages.values())).run()


main(Folders.of(sys.argv[1:]))
