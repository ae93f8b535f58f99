"""Listing, showing and steering runs."""

import json
from typing import Any

import pytest

from shared.pb import agent_v1
from tests.fakes.agent_service import RUN_ID, FakeAgent, ended, event
from tests.unit.services.cli.conftest import Waystation


def test_runs_are_listed(waystation: Waystation, agent: FakeAgent) -> None:
    output = waystation("runs", "list", "--state", "succeeded").stdout
    assert RUN_ID in output and "why?" in output


def test_a_run_is_watched_from_an_event_on(waystation: Waystation, agent: FakeAgent) -> None:
    agent.events = [ended(4, answer="Done."), ended(5, answer="Done.")]
    lines = waystation("runs", "watch", RUN_ID, "--after", "4", "--events").stdout.splitlines()
    assert [json.loads(line)["sequence"] for line in lines] == ["5"]


def test_a_run_that_was_paused_once_is_watched_to_its_end(waystation: Waystation, agent: FakeAgent) -> None:
    paused = event(2, state_changed=agent_v1.RunStateChanged(run=agent_v1.Run(state=agent_v1.Run.STATE_PAUSED)))
    agent.events = [paused, ended(4, answer="Done.")]
    output = waystation("runs", "watch", RUN_ID).stdout
    assert "Done." in output and "paused" not in output


def test_events_are_printed_as_cloud_events(waystation: Waystation, agent: FakeAgent) -> None:
    agent.events = [ended(4, answer="Done.")]
    [line] = waystation("runs", "watch", RUN_ID, "--cloud-events").stdout.splitlines()
    event = json.loads(line)
    assert (event["id"], event["type"], event["specversion"]) == ("4", "waystation.agent.v1.RunStateChanged", "1.0")


def test_an_unknown_run_is_named(waystation: Waystation, agent: FakeAgent) -> None:
    result = waystation("runs", "show", "nobody")
    assert result.exit_code == 1
    assert "There is no run nobody." in result.stderr


def test_a_call_that_this_build_does_not_have_is_said_plainly(waystation: Waystation, agent: FakeAgent) -> None:
    error = json.loads(waystation("runs", "pause", RUN_ID, "--json").stdout)["error"]
    assert error["reason"] == "NOT_BUILT"


def last_request(agent: FakeAgent) -> Any:
    return agent.requests[-1]


def test_runs_are_pruned_by_age_and_count(waystation: Waystation, agent: FakeAgent) -> None:
    output = waystation("runs", "prune", "--older-than", "30d", "--keep", "100").stdout
    assert output == "3 runs deleted, 2.5 MB freed.\n"
    request = last_request(agent)
    assert (request.older_than.seconds, request.keep, request.is_dry_run) == (30 * 86_400, 100, False)


def test_a_dry_run_says_what_would_be_deleted(waystation: Waystation, agent: FakeAgent) -> None:
    assert waystation("runs", "prune", "--keep", "5", "--dry-run").stdout == "3 runs would be deleted.\n"
    assert last_request(agent).is_dry_run and last_request(agent).older_than.seconds == 0
    document = json.loads(waystation("runs", "prune", "--keep", "5", "--dry-run", "--json").stdout)
    assert document == {"deleted_runs": "3", "freed_bytes": "0"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("prune",), "Say which"),
        (("prune", "--older-than", "30"), "not a length of time"),
        (("prune", "--older-than", "-1d"), "not a length of time"),
        (("prune", "--older-than", "1e9d"), "not a length of time"),
        (("prune", "--older-than", "99999999w"), "not a length of time"),
        (("prune", "--keep", "-1"), "greater than or"),
        (("edit", RUN_ID), "Say what to change"),
        (("edit", RUN_ID, "--set", "query"), "not FIELD=VALUE"),
        (("edit", RUN_ID, "--set", "a=1", "--set", "a=2"), "set twice"),
        (("edit", RUN_ID, "--set", "a=99999999999999999999"), "too large"),
        (("fork", RUN_ID, "c1", "--set", "=1"), "not FIELD=VALUE"),
        (("history", RUN_ID, "--limit", "0"), "greater than or"),
    ],
)
def test_bad_words_reach_no_agent(waystation: Waystation, agent: FakeAgent, words: tuple[str, ...], said: str) -> None:
    result = waystation("runs", *words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert agent.requests == []


def test_state_is_edited_with_json_or_text(waystation: Waystation, agent: FakeAgent) -> None:
    words = ("--set", "remaining_hops=2", "--set", "query=why not? = really", "--set", 'decision={"a": [null]}')
    output = waystation("runs", "edit", RUN_ID, *words, "--checkpoint", "c1").stdout
    assert "from checkpoint c2" in output
    request: agent_v1.UpdateStateRequest = last_request(agent)
    assert dict(request.updates) == {"remaining_hops": 2, "query": "why not? = really", "decision": {"a": [None]}}
    assert (request.run_id, request.checkpoint_id) == (RUN_ID, "c1")
    assert request.request_id


def test_a_fork_may_change_the_state(waystation: Waystation, agent: FakeAgent) -> None:
    assert "run-2 is pending" in waystation("runs", "fork", RUN_ID, "c1").stdout
    assert not last_request(agent).HasField("updates")
    waystation("runs", "fork", RUN_ID, "c1", "--set", "effort=low")
    assert dict(last_request(agent).updates) == {"effort": "low"}


def test_the_history_has_checkpoints_and_their_state(waystation: Waystation, agent: FakeAgent) -> None:
    output = waystation("runs", "history", RUN_ID, "--limit", "7").stdout
    assert "c1" in output and "respond" in output
    assert last_request(agent).page_size == 7
    document = json.loads(waystation("runs", "history", RUN_ID, "--state", "--json").stdout)
    assert document["checkpoints"][0]["state"] == {"query": "why?"}
