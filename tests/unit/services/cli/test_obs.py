"""Showing and switching the observability mode."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.pb import control_v1
from tests.fakes.agent_service import serving
from tests.unit.services.cli.conftest import Waystation


class Control(control_v1.ObservabilityServiceServicer):
    """A control plane with a mode."""

    def __init__(self) -> None:
        self.state = control_v1.ModeState(mode=control_v1.MODE_SHIPPING, set_mode=control_v1.MODE_SHIPPING)
        self.requests: list[control_v1.SetModeRequest] = []

    def GetMode(self, request: Any, context: Any) -> control_v1.GetModeResponse:
        return control_v1.GetModeResponse(mode=self.state)

    def SetMode(self, request: control_v1.SetModeRequest, context: Any) -> control_v1.SetModeResponse:
        self.requests.append(request)
        self.state.mode = self.state.set_mode = request.mode
        return control_v1.SetModeResponse(mode=self.state)


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Iterator[Control]:
    fake = Control()
    with serving(control_v1.add_ObservabilityServiceServicer_to_server, fake) as address:
        monkeypatch.setenv("WAYSTATION_CONTROL_ADDRESS", address)
        yield fake


def test_the_mode_is_shown(waystation: Waystation, control: Control) -> None:
    assert waystation("obs", "show").stdout == "shipping: spans only\n"


def test_a_crash_window_says_why_and_until_when(waystation: Waystation, control: Control) -> None:
    control.state.mode, control.state.cause = control_v1.MODE_DEBUG, "crash"
    control.state.expire_time.FromDatetime(datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC))
    said = waystation("obs", "show").stdout
    assert "because of a crash; shipping is set" in said and "until 2030-01-0" in said
    assert json.loads(waystation("obs", "show", "--json").stdout) == {
        "mode": "debug",
        "set_mode": "shipping",
        "expire_time": "2030-01-02T03:04:05+00:00",
        "cause": "crash",
    }


def test_debug_is_set_for_a_while_and_shipping_for_good(waystation: Waystation, control: Control) -> None:
    assert "prompts and outputs" in waystation("obs", "debug", "--for", "10m", "--reason", "slow runs").stdout
    assert waystation("obs", "shipping", "--json").exit_code == 0
    first, second = control.requests
    assert (first.mode, first.duration.ToSeconds(), first.reason) == (control_v1.MODE_DEBUG, 600, "slow runs")
    assert first.actor and not second.HasField("duration")


@pytest.mark.parametrize("length", ["0", "ten", "10", "-5m"])
def test_a_bad_length_is_refused_before_anything_is_sent(waystation: Waystation, control: Control, length: str) -> None:
    assert waystation("obs", "debug", "--for", length).exit_code == 2
    assert control.requests == []


def test_a_mode_of_a_newer_build_is_shown_as_it_is(waystation: Waystation, control: Control) -> None:
    control.state.mode = 9  # type: ignore[assignment]
    assert waystation("obs", "show").stdout.startswith("9: a mode of a newer build")
