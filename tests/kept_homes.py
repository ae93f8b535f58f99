"""What the processes of a failed test leave behind: their data folders, with logs and spans, are kept and named.

A pytest plugin; tests/conftest.py loads it. A test that passes leaves nothing.
"""

import json
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

_LIVE: list[Path] = []
_ENDED: list[Path] = []
"""Those that came to their end during the test that is running: it may be this end that fails."""


def kept_folder() -> Path:
    """Where the data folders of failed tests go."""
    return Path(os.environ.get("WAYSTATION_FAILED_TESTS") or Path(__file__).parents[1] / "build" / "failed-tests")


@contextmanager
def kept_if_failing(home: Path) -> Iterator[None]:
    """Keep the data folder `home` of every test that fails while the context lasts or as it ends."""
    _LIVE.append(home)
    try:
        yield
    finally:
        _LIVE.remove(home)
        _ENDED.append(home)


def keep(test: str) -> Path | None:
    """Copy the data folders of now into one folder named after the test; None when there is none of them."""
    homes = [home for home in dict.fromkeys((*_LIVE, *_ENDED)) if home.is_dir()]
    if not homes:
        return None
    folder = kept_folder() / re.sub(r"[^\w.-]+", "_", test).strip("_")[-150:]
    shutil.rmtree(folder, ignore_errors=True)
    for number, home in enumerate(homes):
        copy = folder / (home.name if number == 0 else f"{home.name}-{number}")
        # the processes go on meanwhile: a file that vanishes is not missed, and models are large and known
        with suppress(shutil.Error):
            shutil.copytree(home, copy, ignore=shutil.ignore_patterns("models"), symlinks=True)
        _write_spans(copy)
    return folder


def _write_spans(home: Path) -> None:
    """Put the stored spans beside the logs, a line of JSON for each, oldest first."""
    if not (home / "control.db").exists():
        return
    with suppress(sqlite3.Error), closing(sqlite3.connect(home / "control.db")) as database:
        database.row_factory = sqlite3.Row
        rows = database.execute("SELECT * FROM spans ORDER BY start_ns").fetchall()
        lines = [json.dumps(dict(row), default=lambda value: json.loads(value)) for row in rows]
        (home / "logs").mkdir(exist_ok=True)
        (home / "logs" / "spans.jsonl").write_text("\n".join(lines) + "\n")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Another test begins: what ended before it is none of its business."""
    _ENDED.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Iterator[Any]:
    """Keep what a failed test's processes have said, and say where."""
    report = yield
    if report.failed and (folder := keep(item.nodeid)):
        report.sections.append(("the test's processes", f"Their logs and spans are kept in {folder}"))
    return report
