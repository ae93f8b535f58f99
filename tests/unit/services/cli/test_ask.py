"""Asking: the answer, the way to it, and streams that break."""

import json

import pytest

from shared.errors import Draining, InvalidInput
from shared.pb import agent_v1, common_v1
from tests.fakes.agent_service import FakeAgent, ended, event
from tests.unit.services.cli.conftest import Waystation


def text(sequence: int, piece: str, attempt: int = 1) -> agent_v1.RunEvent:
    produced = agent_v1.TextProduced(text=piece, step="respond", hop_index=-1, attempt=attempt, is_answer=True)
    return event(sequence, text_produced=produced)


def decision(sequence: int) -> agent_v1.RunEvent:
    made = agent_v1.Decision(
        action=agent_v1.Decision.ACTION_CALL,
        capability="rag",
        reason="It asks about a document.",
        source=agent_v1.Decision.SOURCE_MODEL,
    )
    return event(sequence, decision_made=agent_v1.DecisionMade(decision=made))


def whole_run() -> list[agent_v1.RunEvent]:
    recommendation = agent_v1.Recommendation(top="rag", router="embedding")
    recommendation.candidates.add(service="rag", confidence=0.91)
    return [
        event(1, route_recommended=agent_v1.RouteRecommended(recommendation=recommendation)),
        decision(2),
        event(3, hop_started=agent_v1.HopStarted(hop_index=0, capability="rag", task="look it up")),
        event(4, hop_ended=agent_v1.HopEnded(hop_index=0, capability="rag", outcome="answered")),
        text(5, "Forty-"),
        text(6, "two."),
        ended(
            7, answer="Forty-two.", hop_count=1, citations=[common_v1.Citation(source="a.md", start_line=3, end_line=4)]
        ),
    ]


def test_the_answer_is_shown_with_the_way_to_it(waystation: Waystation, agent: FakeAgent) -> None:
    agent.events = whole_run()
    result = waystation("ask", "what is it?")
    assert result.exit_code == 0, result.output
    for part in ("rag", "0.91", "call rag (by model", "It asks about a document.", "Forty-two.", "a.md:3-4", "1 hop "):
        assert part in result.stdout


def test_json_is_one_document(waystation: Waystation, agent: FakeAgent) -> None:
    agent.events = whole_run()
    document = json.loads(waystation("ask", "what is it?", "--json", "--effort", "low").stdout)
    assert document["answer"] == "Forty-two."
    assert document["state"] == "succeeded"
    assert document["decisions"][0]["source"] == "model"
    assert document["hops"][0]["outcome"] == "answered"
    assert document["citations"][0]["source"] == "a.md"
    request = agent.requests[0]
    assert isinstance(request, agent_v1.StartRunRequest)
    assert request.effort == common_v1.EFFORT_LOW
    assert request.request_id


def test_events_are_one_json_a_line(waystation: Waystation, agent: FakeAgent) -> None:
    agent.events = whole_run()
    lines = [json.loads(line) for line in waystation("ask", "what?", "--events").stdout.splitlines()]
    assert [line["sequence"] for line in lines] == [str(number) for number in range(1, 8)]


def test_a_broken_stream_is_taken_up_where_it_broke(waystation: Waystation, agent: FakeAgent) -> None:
    agent.events, agent.drop_after = whole_run(), [5]
    result = waystation("ask", "what is it?")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("Forty-") == 1 and "two." in result.stdout
    assert "The stream broke" in result.stdout and "The agent is back" in result.stdout
    watches = [request for request in agent.requests if isinstance(request, agent_v1.WatchRunRequest)]
    assert [request.after_sequence for request in watches] == [0, 5]


def test_a_stream_closed_before_the_end_is_not_taken_for_the_end(waystation: Waystation, agent: FakeAgent) -> None:
    agent.events, agent.close_after = whole_run(), 2
    assert json.loads(waystation("ask", "what?", "--json").stdout)["answer"] == "Forty-two."


def test_text_of_a_repeated_step_replaces_what_came_before(waystation: Waystation, agent: FakeAgent) -> None:
    agent.events = [text(1, "Forty-"), text(2, "Fifty", attempt=2), text(3, "late", attempt=1), ended(4)]
    assert json.loads(waystation("ask", "what?", "--json").stdout)["answer"] == "Fifty"


def test_the_start_is_sent_again_under_the_same_request_id(waystation: Waystation, agent: FakeAgent) -> None:
    agent.events, agent.failures = whole_run(), [Draining("The agent is draining.")]
    assert waystation("ask", "what?").exit_code == 0
    starts = [request for request in agent.requests if isinstance(request, agent_v1.StartRunRequest)]
    assert len(starts) == 2
    assert starts[0].request_id == starts[1].request_id


def test_a_failed_run_says_why_and_exits_with_1(waystation: Waystation, agent: FakeAgent) -> None:
    error = agent_v1.RunError(message="The model is gone.", remedy="waystation models pull")
    agent.events = [ended(1, state=agent_v1.Run.STATE_FAILED, error=error)]
    result = waystation("ask", "what?")
    assert result.exit_code == 1
    assert "The model is gone." in result.stdout and "waystation models pull" in result.stdout


def test_a_paused_run_is_left_with_the_way_back(waystation: Waystation, agent: FakeAgent) -> None:
    agent.events = [ended(1, state=agent_v1.Run.STATE_PAUSED)]
    result = waystation("ask", "what?")
    assert "waystation runs resume run-1" in result.stderr


def test_a_question_of_the_run_is_shown_when_nobody_can_be_asked(waystation: Waystation, agent: FakeAgent) -> None:
    question = agent_v1.Question(question_id="q1", text="Which one?")
    agent.events = [ended(1, state=agent_v1.Run.STATE_INPUT_REQUIRED, questions=[question])]
    assert "waystation runs answer run-1 q1" in waystation("ask", "what?").stderr


def test_a_refused_question_is_one_line_and_its_remedy(waystation: Waystation, agent: FakeAgent) -> None:
    agent.failures = [InvalidInput("The query is empty.", remedy="Ask something.", field="query")]
    result = waystation("ask", "")
    assert result.exit_code == 1
    assert result.stderr == "The query is empty.\nAsk something.\n"


def test_a_refused_question_is_json_when_json_was_asked_for(waystation: Waystation, agent: FakeAgent) -> None:
    agent.failures = [InvalidInput("The query is empty.", remedy="Ask something.", field="query")]
    error = json.loads(waystation("ask", "", "--json").stdout)["error"]
    assert error == {
        "reason": "INVALID_INPUT",
        "message": "The query is empty.",
        "remedy": "Ask something.",
        "metadata": {"field": "query"},
    }


def test_without_a_mesh_the_command_names_up(waystation: Waystation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYSTATION_AGENT_ADDRESS", "127.0.0.1:1")
    result = waystation("ask", "what?")
    assert result.exit_code == 1
    assert "waystation up" in result.stderr
    assert "Traceback" not in result.output


def test_an_unknown_effort_is_a_usage_error(waystation: Waystation) -> None:
    assert waystation("ask", "what?", "--effort", "heroic").exit_code == 2
