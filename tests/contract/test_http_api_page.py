"""The commands of docs/http_api.md, run as they stand there, against a control plane and an agent."""

import asyncio
import json
import re
import shutil
from pathlib import Path

import pytest

from services.control.gateway.openapi import document
from tests.fakes import agent_mesh
from tests.fakes.control_mesh import mesh_in, registering

PAGE = (Path(__file__).parents[2] / "docs" / "http_api.md").read_text()
WAIT_S = 60


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
async def test_the_pages_commands_do_what_they_say(tmp_path: Path) -> None:
    for name in ("agent", "control"):
        (tmp_path / name).mkdir()
    async with agent_mesh.mesh(tmp_path / "agent", hangs=True) as agent, mesh_in(tmp_path / "control") as control:
        await control.registry.Register(registering("agent", agent.address, kind="agent"))
        blocks = "\n".join(re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL))
        assert "127.0.0.1:7480" in blocks
        script = f"set -euo pipefail\n{blocks.replace('7480', str(control.http_port))}"
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(WAIT_S):
            told, complaints = await process.communicate()
        assert process.returncode == 0, (told[-2_000:], complaints)
    assert b'"is_replayed":false' in told and b"event: state_changed" in told and b"event: end" in told


async def test_the_page_names_every_route() -> None:
    named = PAGE.replace("…", "/api/runs/{id}")
    for path in (await document())["paths"]:
        parts = [re.escape(part) if not part.startswith("{") else r"\{\w+\}" for part in path.split("/")]
        assert re.search("/".join(parts) + r"(?![\w/])", named), path


def test_the_pages_bodies_are_json() -> None:
    bodies = re.findall(r"-d '([^']+)'", PAGE)
    assert len(bodies) >= 6
    assert all(isinstance(json.loads(body), dict) for body in bodies)
