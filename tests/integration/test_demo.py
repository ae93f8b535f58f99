"""The tour, over real processes: it kills the agent, and all of its runs come to their ends."""

from pathlib import Path

import pytest

from services.cli import demo
from tests.mesh import scripted_mesh

CODE = "Here it is.\n```python\nprint(42)\n```"
SCRIPT = [
    {"match": "Result 1", "schema_name": "^decision$", "reply": {"reason": "scripted", "next": "answer_now"}},
    {"match": "", "schema_name": "^decision$", "reply": {"reason": "scripted", "next": "coding"}, "delay_ms": 600},
    {"match": "", "schema_name": "", "reply": CODE, "delay_ms": 50},
]


@pytest.mark.timeout(400)  # a score of processes, one after the other
def test_the_tour_comes_to_its_end(tmp_path: Path) -> None:
    with scripted_mesh(tmp_path, SCRIPT) as mesh:
        agent = mesh.record("agent")["pid"]
        done = mesh.run("demo", "--no-wait")
        assert done.returncode == 0, (done.stdout, done.stderr, mesh.logs())
        runs = mesh.answer("runs", "list")["runs"]
        after = mesh.record("agent")["pid"]
    assert agent != after
    assert [run["query"] for run in reversed(runs)] == [demo.QUESTION, demo.CODE, demo.REVIEWED, demo.PAUSED]
    assert {run["state"] for run in runs} == {"STATE_SUCCEEDED"}
    assert "resumed  after crash" in done.stdout
    assert "resumed  after pause" in done.stdout
    assert [line for line in done.stdout.splitlines() if line.startswith("$ kill -9")] == [
        f"$ kill -9 {agent}    (the agent)"
    ]
