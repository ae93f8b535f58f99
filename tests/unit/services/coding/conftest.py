"""A real sandbox for the tests of the coding service."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from services.coding.sandbox.gate import Gate
from services.coding.sandbox.limits import Limits
from services.coding.sandbox.sandbox import Sandbox
from services.coding.sandbox.scratch import ScratchRoot


@pytest.fixture
def scratch_root(tmp_path: Path) -> Iterator[ScratchRoot]:
    root = ScratchRoot(tmp_path / "scratch")
    yield root
    root.close()


@pytest.fixture
def sandbox(scratch_root: ScratchRoot) -> Sandbox:
    return Sandbox(scratch_root, Limits(wall_time=timedelta(seconds=20)), Gate(max_running=2, max_waiting=4))
