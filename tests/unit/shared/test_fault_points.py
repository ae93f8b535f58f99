"""Fault points do what WAYSTATION_FAULTS says, and nothing without it."""

import os
import signal
import subprocess
import sys

import pytest

from shared.errors import InvalidInput
from shared.fault_points import BOUNDARIES, arm, parse_faults

PROGRAM = "from shared.fault_points import fault_point as f; [f('before_node') for _ in range(3)]; print('alive')"


def run(faults: str | None) -> "subprocess.CompletedProcess[str]":
    environ = {name: value for name, value in os.environ.items() if name != "WAYSTATION_FAULTS"}
    if faults is not None:
        environ["WAYSTATION_FAULTS"] = faults
    return subprocess.run([sys.executable, "-c", PROGRAM], env=environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("faults", [None, "", "before_node:kill:4", "after_effect:kill"])
def test_a_process_lives_that_no_fault_concerns(faults: str | None) -> None:
    assert run(faults).stdout == "alive\n"


def test_a_process_is_killed_at_the_arrival_that_was_named() -> None:
    assert run("before_node:kill:3").returncode == -signal.SIGKILL


def test_every_boundary_can_be_named_with_both_actions() -> None:
    text = ",".join(f"{name}:kill:2,{name}:stop" for name in BOUNDARIES)
    assert len(parse_faults(text)) == 2 * len(BOUNDARIES)


def test_only_the_named_arrival_counts() -> None:
    sent: list[int] = []
    armed = arm(parse_faults("during_commit:stop:2"), sent.append)
    for _ in range(4):
        armed("during_commit")
        armed("before_node")
    assert sent == [signal.SIGSTOP]


@pytest.mark.parametrize(
    "text", ["nowhere:kill", "before_node", "before_node:maim", "before_node:kill:0", "before_node:kill:-1", ":kill:x"]
)
def test_a_fault_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="WAYSTATION_FAULTS"):
        parse_faults(text)


def test_an_unknown_setting_stops_the_start() -> None:
    done = run("nowhere:kill")
    assert done.returncode == 1
    assert "nowhere:kill" in done.stderr


def test_a_call_with_an_unknown_boundary_is_found_out_when_armed() -> None:
    with pytest.raises(InvalidInput, match="elsewhere"):
        arm({}, lambda number: None)("elsewhere")
