"""Looking at a conversation."""

import json

from tests.fakes.agent_service import FakeAgent
from tests.unit.services.cli.conftest import Waystation


def test_each_turn_says_what_the_next_run_is_told(waystation: Waystation, agent: FakeAgent) -> None:
    lines = waystation("threads", "show", "thread-1").stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["summarized", "run-1"], ["kept", "run-2"]]
    assert "one -> 1" in lines[1]
    assert "[bold]2" in lines[2]


def test_a_conversation_is_a_document(waystation: Waystation, agent: FakeAgent) -> None:
    thread = json.loads(waystation("threads", "show", "thread-1", "--json").stdout)
    assert thread["context_budget_tokens"] == "600"
    assert [turn["treatment"] for turn in thread["turns"]] == ["TREATMENT_SUMMARIZED", "TREATMENT_KEPT"]
