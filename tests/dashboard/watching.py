"""Pages in a browser: opened, settled, and watched for what goes wrong on them."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

PATIENCE_MS = 60_000
MOST_POINTS = 5_000
SIZE: Any = {"width": 1440, "height": 1000}
Picture = Callable[..., None]


class Watched:
    """A page, and what went wrong on it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        self.elsewhere: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self._requested(request.url))

    def _requested(self, url: str) -> None:
        if not url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:", "file:")):
            self.elsewhere.append(url)

    def go(self, url: str) -> Page:
        """Open an address, and wait until its script has run and its charts are drawn."""
        self.page.goto(url)
        self.page.wait_for_selector("[data-testid=stMainBlockContainer] [data-testid=stElementContainer]", timeout=PATIENCE_MS)
        self.settle()
        return self.page

    def settle(self) -> None:
        """Wait until the script has run, and what it sent is on the screen."""
        self.page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=PATIENCE_MS)
        self.page.wait_for_function(DRAWN, timeout=PATIENCE_MS)

    def tab(self, name: str) -> None:
        """Open a tab."""
        self.page.get_by_role("tab", name=name).click()
        expect(self.page.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")
        self.page.wait_for_timeout(300)  # the click's rerun begins
        self.settle()

    def clean(self) -> None:
        """Nothing raised on either side, and nothing was fetched from elsewhere."""
        assert self.page.locator("[data-testid=stException]").count() == 0
        assert (self.errors, self.elsewhere) == ([], [])


DRAWN = """() => [...document.querySelectorAll('[data-testid=stPlotlyChart]')].every(one => one.querySelector('.main-svg'))
 && document.querySelectorAll('[data-testid=stSkeleton],[data-testid=stSpinner]').length === 0"""
TRACES = """() => [...document.querySelectorAll('.js-plotly-plot')].flatMap(one => one.data.map(trace =>
 [trace.type, trace.type === 'heatmap' ? trace.z.length : one.calcdata ? (trace._length ?? trace.x.length) : trace.x.length]))"""


def metrics(page: Page) -> dict[str, str]:
    """Cards by name."""
    cards = page.locator("[data-testid=stMetric]")
    return {
        one.locator("[data-testid=stMetricLabel]").inner_text().strip(): one.locator("[data-testid=stMetricValue]")
        .inner_text()
        .strip()
        for one in cards.all()
    }


def drawn(page: Page) -> list[int]:
    """Points of each trace on the screen; each is below the limit and none is WebGL."""
    traces = page.evaluate(TRACES)
    assert {kind for kind, _ in traces} <= {"scatter", "bar", "heatmap", "waterfall"}
    assert page.locator(".gl-canvas canvas").count() == 0
    counts = [count for _, count in traces]
    assert max(counts, default=0) < MOST_POINTS
    return counts
