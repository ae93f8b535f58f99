"""Routing one question and a file of them."""

import json
from pathlib import Path

from shared.errors import InvalidInput
from shared.pb import agent_v1
from tests.fakes.agent_service import FakeAgent
from tests.unit.services.cli.conftest import Waystation


def test_a_recommendation_is_shown_with_its_confidence(waystation: Waystation, agent: FakeAgent) -> None:
    output = waystation("route", "where is it written?").stdout
    assert "rag" in output and "0.90" in output and "4.5 ms" in output


def test_tags_narrow_the_choice(waystation: Waystation, agent: FakeAgent) -> None:
    waystation("route", "where is it written?", "--tag", "retrieval", "--tag", "docs")
    assert [
        list(request.tags) for request in agent.requests if isinstance(request, agent_v1.RecommendRouteRequest)
    ] == [["retrieval", "docs"]]


def test_an_abstaining_router_is_none(waystation: Waystation, agent: FakeAgent) -> None:
    row = json.loads(waystation("route", "hi there", "--json").stdout)
    assert row == {"top": "none", "router": "embedding", "latency_ms": 4.5, "candidates": []}


def test_a_batch_gives_a_line_for_each_query_and_names_bad_lines(
    waystation: Waystation, agent: FakeAgent, tmp_path: Path
) -> None:
    batch = tmp_path / "queries.jsonl"
    batch.write_text('{"query": "where?"}\nnot json\n\n{"text": "no query"}\n[1]\n{"query": "hi"}\n')
    result = waystation("route", "--batch", batch)
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(row["query"], row["top"]) for row in rows] == [("where?", "rag"), ("hi", "none")]
    assert {"query", "top", "candidates", "latency_ms"} <= rows[0].keys()
    errors = result.stderr.replace("\n", " ")
    assert all(f"line {number}:" in errors for number in (2, 4, 5))
    assert result.exit_code == 1


def test_a_refused_line_does_not_end_the_batch(waystation: Waystation, agent: FakeAgent, tmp_path: Path) -> None:
    batch = tmp_path / "queries.jsonl"
    batch.write_text('{"query": "too long"}\n{"query": "where?"}\n')
    agent.failures = [InvalidInput("The query is too long.")]
    result = waystation("route", "--batch", batch)
    assert len(result.stdout.splitlines()) == 1
    assert "line 1: The query is too long." in result.stderr.replace("\n", " ")


def test_neither_question_nor_batch_is_refused(waystation: Waystation) -> None:
    assert "--batch FILE" in waystation("route").stderr


def test_a_batch_that_is_not_there_is_named(waystation: Waystation, tmp_path: Path) -> None:
    result = waystation("route", "--batch", tmp_path / "absent.jsonl")
    assert result.exit_code == 1
    assert "absent.jsonl" in result.stderr.replace("\n", "")
