"""Measurements: which are found, which are chosen, how they are called."""

from pathlib import Path

import pytest

from services.cli.bench import BenchModule, chosen, find_modules
from shared.errors import NotFound

MODULES = [BenchModule("agent", ("mesh", "router")), BenchModule("rag", ())]


def test_packages_and_modules_are_found(tmp_path: Path) -> None:
    for name in ("agent/bench/__main__.py", "agent/bench/__init__.py", "agent/bench/router.py", "rag/bench.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert find_modules(tmp_path) == [BenchModule("agent", ("router",)), BenchModule("rag", ())]


def test_names_choose_services_or_single_measurements() -> None:
    assert [module.service for module in chosen(MODULES, [])] == ["agent", "rag"]
    assert [module.service for module in chosen(MODULES, ["router"])] == ["agent"]
    assert MODULES[0].command(["router"], Path("d"))[2:] == ["services.agent.bench", "router", "--json", "--data", "d"]


def test_an_unknown_measurement_is_refused_with_the_known_ones() -> None:
    with pytest.raises(NotFound) as caught:
        chosen(MODULES, ["speed"])
    assert "router" in caught.value.remedy
