"""The table of OTLP metric series."""

from dataclasses import replace
from typing import Any

import pytest

from services.control.metrics import series as series_module
from services.control.metrics.series import STALE_S, Series, SeriesTable

DEPTH = Series("depth", "gauge", "1", "", "rag", "rag-1", b"{}", "", time_ns=1, value=1.0)


def test_stale_series_make_room_and_fresh_ones_do_not(hand: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series_module, "MAX_SERIES", 2)
    table = SeriesTable(hand.clock.monotonic)
    assert table.put(DEPTH) and table.put(replace(DEPTH, name="width"))
    assert not table.put(replace(DEPTH, name="height"))
    hand.now += STALE_S + 1
    assert table.put(replace(DEPTH, name="width", time_ns=2))
    assert table.put(replace(DEPTH, name="height"))
    assert [each.name for each in table.find()] == ["height", "width"]


def test_series_are_found_by_service_and_name() -> None:
    table = SeriesTable()
    for each in (DEPTH, replace(DEPTH, service="agent"), replace(DEPTH, name="width")):
        table.put(each)
    assert [(each.service, each.name) for each in table.find()] == [
        ("agent", "depth"),
        ("rag", "depth"),
        ("rag", "width"),
    ]
    assert len(table.find("rag", "width")) == 1
