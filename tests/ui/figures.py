"""Measures the dashboard in a real Chromium: `python -m tests.ui.figures` (after `make ui-build`) prints a table.

First paint of each page in fresh browser contexts, the size of the run page's scripts, how soon a span that begins is
on the screen, and the longest task while 10,000 spans are scrolled.
"""

import gzip
import re
import statistics
import tempfile
from pathlib import Path

import httpx
from playwright.sync_api import Response, expect
from rich.console import Console
from rich.table import Table

from tests.mesh import Mesh, scripted_mesh
from tests.ui.dashboard import Dashboard, dashboard
from tests.ui.test_run_page import PATIENCE_MS, SCRIPT, WATCH_ROWS, begin_spans, finished, send_spans

LOADS = 7
WHEELS = 120
PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
WATCH_TASKS = """() => {
  window.tasks = [];
  new PerformanceObserver((list) => list.getEntries().forEach((task) => window.tasks.push(task.duration)))
    .observe({ entryTypes: ["longtask"] });
}"""
"""The browser tells of tasks from 50 ms on."""


def main() -> None:
    """Measure everything and print it."""
    table = Table("figure", "value", "allowed", box=None)
    with tempfile.TemporaryDirectory() as folder, scripted_mesh(Path(folder), SCRIPT) as mesh, dashboard(mesh) as board:
        base = f"http://127.0.0.1:{mesh.environ['WAYSTATION_CONTROL_HTTP_PORT']}"
        with httpx.Client(base_url=base, trust_env=False, timeout=30) as control:
            paints, size = first_paints(board, control)
            table.add_row(f"first paint, {len(paints)} loads", told(paints), "1,500 ms")
            table.add_row("scripts of the run page, gzip", f"{size / 1e3:.0f} kB", "300 kB")
            table.add_row("a span's start on the screen", told(span_starts(board, control, mesh)), "p95 250 ms")
            longest, count = scrolling(board, control, mesh)
            table.add_row(f"longest of {count} long tasks, 10,000 spans scrolled", f"{longest:.0f} ms", "100 ms")
    Console().print(table)


def told(values: list[float]) -> str:
    """Median, 95th percentile and greatest, in ms."""
    ordered = sorted(values)
    p95 = ordered[int(len(ordered) * 0.95)]
    return f"p50 {statistics.median(ordered):.0f} ms, p95 {p95:.0f} ms, longest {ordered[-1]:.0f} ms"


def first_paints(board: Dashboard, control: httpx.Client) -> tuple[list[float], int]:
    """First contentful paints in ms, and the size of the run page's scripts in bytes."""
    with board.page() as page:
        run_id = finished(page, control, "hi there")
    paints, sizes = list[float](), dict[str, int]()

    def weigh(response: Response) -> None:
        if response.request.resource_type == "script":
            sizes[response.url] = len(gzip.compress(response.body()))

    for path in ("/ask", "/runs", f"/runs/{run_id}", "/services", "/system"):
        for _ in range(LOADS):
            with board.page() as page:
                if path.endswith(run_id):
                    page.on("response", weigh)
                page.goto(path)
                page.wait_for_function(PAINT)
                paints.append(page.evaluate(PAINT))
                page.wait_for_load_state("load")
    return paints, sum(sizes.values())


def span_starts(board: Dashboard, control: httpx.Client, mesh: Mesh) -> list[float]:
    """From the start of a span to its row, in ms."""
    with board.page(height=2_000) as page:  # all rows are in view
        page.add_init_script(WATCH_ROWS)
        run_id = finished(page, control, "hi there")
        expect(page.locator('[data-connection="live"]')).to_be_attached(timeout=PATIENCE_MS)
        begun = begin_spans(page, mesh, run_id)
        seen = page.evaluate("() => window.seen")
    return [seen[key] - begun[key] for key in begun]


def scrolling(board: Dashboard, control: httpx.Client, mesh: Mesh) -> tuple[float, int]:
    """The longest task in ms while a trace of 10,000 spans is scrolled, and how many were 50 ms or longer."""
    with board.page() as page:
        run_id = finished(page, control, "hi there")
        send_spans(mesh, run_id, control.get(f"/api/runs/{run_id}").json()["trace_id"], 10_000)
        page.goto(f"/runs/{run_id}")
        expect(page.get_by_role("tab", name=re.compile("Timeline 10,0"))).to_be_visible(timeout=PATIENCE_MS)
        grid = page.get_by_role("treegrid")
        grid.focus()
        for key, place in (("End", grid.get_attribute("aria-rowcount")), ("Home", "2")):  # all of it is there
            page.keyboard.press(key)
            expect(grid.locator(f'[aria-rowindex="{place}"]')).to_be_visible(timeout=PATIENCE_MS)
        grid.hover()
        page.evaluate(WATCH_TASKS)
        for _ in range(WHEELS):
            page.mouse.wheel(0, 1_000)
            page.evaluate("() => new Promise(requestAnimationFrame)")
        tasks = page.evaluate("() => window.tasks")
        shown = grid.locator("[aria-rowindex]").last.get_attribute("aria-rowindex")
        assert int(shown or 0) > 1_000, f"nothing was scrolled: row {shown} is the last one shown"
    return max(tasks, default=0.0), len(tasks)


if __name__ == "__main__":
    main()
