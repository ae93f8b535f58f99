"""Workflows at the command line."""

import json
from pathlib import Path
from typing import Any

from shared.pb import agent_v1
from tests.fakes.agent_service import FakeAgent
from tests.unit.services.cli.conftest import Waystation


def test_all_pages_are_listed_with_what_is_wrong(waystation: Waystation, agent: FakeAgent) -> None:
    lines = waystation("workflows", "list").stdout
    assert "[bold]Reviews" in lines
    assert "bad.yaml:4:7: steps.a: No way leads to a." in " ".join(lines.split())
    rows = json.loads(waystation("workflows", "list", "--json").stdout)
    assert [(row["name"], row["max_cycles"]) for row in rows] == [("review", 2), ("bad", 0)]


def test_one_is_shown_with_document_and_diagram(waystation: Waystation, agent: FakeAgent) -> None:
    shown = waystation("workflows", "show", "review").stdout
    assert all(part in shown for part in ("5 hops at most, 2 cycles at most", "name: review", "graph TD;"))
    assert json.loads(waystation("workflows", "show", "review", "--json").stdout)["origin"] == "shipped"


def test_a_check_points_at_the_place_and_fails(waystation: Waystation, agent: FakeAgent, home: Path) -> None:
    file = Path("mine.yaml")
    file.write_text("name: bad\n")
    result = waystation("workflows", "check", file)
    assert (result.exit_code, result.stdout) == (1, "mine.yaml:4:7: steps.a: No way leads to a.\n")
    asked: Any = agent.requests[-1]
    assert (asked.document, asked.file_name) == ("name: bad\n", "mine.yaml")
    assert json.loads(waystation("workflows", "check", file, "--json").stdout)["problems"][0]["line"] == 4
    file.write_text("name: good\n")
    result = waystation("workflows", "check", file)
    assert (result.exit_code, result.stdout) == (0, "")
    assert waystation("workflows", "check", "none.yaml").exit_code == 2
    file.write_bytes(b"\xff\xfe")
    assert "cannot be read" in waystation("workflows", "check", file).stderr


def test_a_question_names_its_workflow(waystation: Waystation, agent: FakeAgent) -> None:
    waystation("ask", "why?", "--workflow", "review")
    asked = next(request for request in agent.requests if isinstance(request, agent_v1.StartRunRequest))
    assert (asked.workflow, asked.effort) == ("review", 0)
