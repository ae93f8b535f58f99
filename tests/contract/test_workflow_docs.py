"""docs/workflows.md is true: its documents run, its bad one is refused as it says, its program is a workflow."""

import re
from pathlib import Path
from typing import Any

import pytest

from services.agent.workflows.checks import check
from services.agent.workflows.predicates import PREDICATES
from shared.pb import agent_v1
from tests.contract.test_workflows import Mill, roles
from tests.fakes.agent_mesh import mesh

PAGE = (Path(__file__).parents[2] / "docs" / "workflows.md").read_text()
BLOCKS = re.findall(r"^```([a-z]*)( bad)?\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
DOCUMENTS = [(kind, text) for kind, bad, text in BLOCKS if kind in ("yaml", "toml") and not bad]
CALLS = {
    "explain-and-code": ["rag", "coder"],
    "look-up-or-write": ["rag"],
    "write-and-review": ["coder", "reviewer", "coder", "reviewer"],
    "two-minds": ["coder", "coder"],
}


@pytest.mark.parametrize(("kind", "text"), DOCUMENTS)
async def test_documents_of_the_page_run_as_they_are(tmp_path: Path, kind: str, text: str) -> None:
    document = check(text, f"it.{kind}").document
    assert document
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / f"it.{kind}").write_text(text)
    mill = Mill([False])
    async with mesh(tmp_path, service=mill) as made:
        made.model.decisions = [{"proposal": 1, "reason": "better"}]
        run = await made.finish(workflow=document.name)
    assert run.state == agent_v1.Run.STATE_SUCCEEDED and run.answer
    assert roles(mill) == CALLS[document.name]


def test_the_page_has_each_of_them() -> None:
    assert len(DOCUMENTS) == len(CALLS)
    assert re.findall(r"^\| `([a-z_]+)` \|", PAGE.split("## Conditions")[1].split("## ")[0], re.M) == list(PREDICATES)


def test_the_bad_document_is_refused_in_these_words() -> None:
    [bad] = [text for _, bad, text in BLOCKS if bad]
    [said] = [text for kind, _, text in BLOCKS if not kind]
    found = check(bad, "endless.yaml", {"coding": ("coder", "reviewer")}).problems
    lines = [f"endless.yaml:{item.line}:{item.column}: {item.path}: {item.message}" for item in found]
    assert lines == said.splitlines()


async def test_the_program_is_a_workflow(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    [program] = [text for kind, _, text in BLOCKS if kind == "python"]
    exec(compile(program, "docs/workflows.md", "exec"), names)
    async with mesh(tmp_path, service=Mill(), registered=[names["workflow"]]) as made:
        run = await made.finish(workflow="just-look")
        shown = (await made.stub.GetWorkflow(agent_v1.GetWorkflowRequest(name="just-look"))).workflow
    assert (run.state, run.answer, shown.origin) == (agent_v1.Run.STATE_SUCCEEDED, "evidence", "python")
