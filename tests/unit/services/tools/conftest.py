"""What the tools' tests share: a clock that stands still, and a folder with a few files that may be read."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from services.tools.folders import AllowedFolders

NOW = datetime(2026, 11, 21, 15, 4, tzinfo=ZoneInfo("Europe/Berlin"))


@pytest.fixture
def clock() -> Callable[[], datetime]:
    """Saturday, 21 November 2026, 15:04 in Berlin."""
    return lambda: NOW


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An allowed folder, with a secret beside it."""
    (tmp_path / "secret.txt").write_text("s3cret")
    root = tmp_path / "root"
    (root / "notes").mkdir(parents=True)
    (root / "a.txt").write_text("Hello\nworld\nf(x\n")
    (root / "notes" / "b.md").write_text("hello there\n")
    return root


@pytest.fixture
def folders(root: Path) -> AllowedFolders:
    """Only `root` may be read."""
    return AllowedFolders([root])
