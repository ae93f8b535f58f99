"""Workflows over real processes: a review that ends by its bounds through a kill, and a document of the user's own."""

import json
import os
import signal
from pathlib import Path
from typing import Any

from tests.mesh import Mesh, scripted_mesh

BROKEN = "Here it is.\n```python\nprint(undefined_name)\n```"
GOOD = "Here it is.\n```python\ndef double(n):\n    return 2 * n\n\nprint(double(21))\n```"
SCRIPT: list[dict[str, Any]] = [
    {"match": "broken", "reply": BROKEN, "delay_ms": 20},
    {"match": "double", "reply": GOOD},
    {"match": "", "reply": "I do not know."},
]
MINE = """name: just-code
max_hops: 1
effort: low
steps:
  - {name: write, capability: coding, role: coder}
"""


def test_workflows_of_ours_and_of_the_user(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "workflows"
    folder.mkdir(parents=True)
    (folder / "just-code.yaml").write_text(MINE)
    (folder / "endless.yaml").write_text(MINE.replace("just-code", "endless").replace("coder}", "coder, then: write}"))
    with scripted_mesh(tmp_path, SCRIPT) as mesh:
        bad = mesh.run("workflows", "check", str(folder / "endless.yaml"))
        assert bad.returncode == 1 and "endless.yaml:5:5: steps.write: write leads back to itself" in bad.stdout
        listed = {row["name"]: row for row in json.loads(mesh.run("workflows", "list", "--json").stdout)}
        assert {"auto", "linear", "review", "debate", "just-code", "endless"} == set(listed)
        assert [name for name, row in listed.items() if row["problems"]] == ["endless"]
        answer = mesh.answer("ask", "double it", "--workflow", "just-code")
        assert [hop["role"] for hop in answer["hops"]] == ["coder"] and "42" in answer["answer"]
        _review_through_a_kill(mesh)


def _review_through_a_kill(mesh: Mesh) -> None:
    with mesh.start("ask", "broken on purpose", "--workflow", "review", "--events") as asking:
        assert asking.stdout
        events = []
        for line in asking.stdout:
            events.append(json.loads(line))
            if "cycle_changed" in line:
                break
        os.kill(mesh.record("agent")["pid"], signal.SIGKILL)
        events += [json.loads(line) for line in asking.stdout]
    run = events[-1]["state_changed"]["run"]
    assert run["state"] == "STATE_SUCCEEDED"
    assert (run["hop_count"], run["current_cycle"], run["max_cycles"]) == (5, 2, 2)
    assert run["has_unresolved_review"] is True
    started = [event["hop_started"] for event in events if "hop_started" in event]
    roles = {hop["hop_index"]: hop["role"] for hop in started}
    assert [roles[index] for index in sorted(roles)] == ["rag", "coder", "reviewer", "coder", "reviewer"]
    assert any("run_resumed" in event for event in events)
