"""Listing, showing and steering runs."""

import json

from tests.fakes.agent_service import RUN_ID, FakeAgent, ended
from tests.unit.services.cli.conftest import Waystation


def test_runs_are_listed(waystation: Waystation, agent: FakeAgent) -> None:
    output = waystation("runs", "list", "--state", "succeeded").stdout
    assert RUN_ID in output and "why?" in output


def test_a_run_is_watched_from_an_event_on(waystation: Waystation, agent: FakeAgent) -> None:
    agent.events = [ended(4, answer="Done."), ended(5, answer="Done.")]
    lines = waystation("runs", "watch", RUN_ID, "--after", "4", "--events").stdout.splitlines()
    assert [json.loads(line)["sequence"] for line in lines] == ["5"]


def test_an_unknown_run_is_named(waystation: Waystation, agent: FakeAgent) -> None:
    result = waystation("runs", "show", "nobody")
    assert result.exit_code == 1
    assert "There is no run nobody." in result.stderr


def test_a_call_that_this_build_does_not_have_is_said_plainly(waystation: Waystation, agent: FakeAgent) -> None:
    error = json.loads(waystation("runs", "pause", RUN_ID, "--json").stdout)["error"]
    assert error["reason"] == "NOT_BUILT"
