"""The stored parameters belong to the texts in the repository."""

import json

import pytest

from services.agent.router.calibrate import _digest, _samples
from services.agent.router.calibration import CALIBRATION_FILE, load_calibration


def test_parameters_were_fitted_on_the_present_texts() -> None:
    made_from = json.loads(CALIBRATION_FILE.read_text())["texts_sha256"]
    assert made_from == _digest(tuple(_samples())), "run `python -m services.agent.router.calibrate`"


def test_what_is_asked_is_never_among_what_was_learned() -> None:
    for sample in _samples():
        learned = {text for texts in sample.classes for text in texts}
        assert not learned & {query for query, _ in sample.queries}


@pytest.mark.parametrize("kind", ["embedding", "heuristic"])
def test_stored_parameters_load(kind: str) -> None:
    calibration = load_calibration(kind)  # type: ignore[arg-type]
    assert calibration.linear_weight > 0
    assert calibration.kernel_weight > 0
