"""The bench's arithmetic and its command line."""

import json
from pathlib import Path

import numpy as np
import pytest

from services.agent.bench import __main__ as command
from services.agent.bench.measure import Measure, compared
from services.agent.bench.router import calibration_error


def test_calibration_error_is_the_weighted_gap_between_confidence_and_accuracy() -> None:
    right = np.array([True, True, True, False, True, False])
    confidence = np.array([0.9, 0.9, 0.9, 0.9, 0.5, 0.5])
    assert calibration_error(right, confidence) == pytest.approx((4 * 0.15 + 2 * 0.0) / 6)
    assert calibration_error(np.array([True]), np.array([1.0])) == 0


def test_unknown_bench_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(["weather"])
    assert "router" in capsys.readouterr().err


def test_bad_data_ends_with_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["router", "--data", str(tmp_path / "absent.jsonl")]) == 1
    assert "absent.jsonl" in capsys.readouterr().err


def test_json_has_the_fields_that_others_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fake(data: Path | None) -> list[Measure]:
        return [compared("router.accuracy", 0.9, "share", "nearest neighbour", 0.8, 400)]

    monkeypatch.setitem(command.BENCHES, "router", fake)
    assert command.main(["router", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found == {
        "name": "router.accuracy",
        "value": 0.9,
        "unit": "share",
        "peer": "nearest neighbour",
        "peer_value": 0.8,
        "ratio": pytest.approx(1.125),
        "n": 400,
    }
    assert command.main(["router"]) == 0
    assert "nearest neighbour 0.800" in capsys.readouterr().out
