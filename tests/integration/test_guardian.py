"""A guardian's acts on a real agent process that is killed around them; only the chat model's server is a fake."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.agent.care.agent_store import SCHEMAS
from shared.pb import agent_v1
from shared.rpc.channel import open_channel
from shared.storage.database import Database
from tests.fakes.chat_server import ChatServer, chat_server, delta, sse

ROOT = Path(__file__).parents[2]
WAIT_S = 60


@dataclass
class Agent:
    """One life of the agent."""

    process: asyncio.subprocess.Process
    environ: dict[str, str]
    stub: agent_v1.AgentServiceStub
    guardian: agent_v1.GuardianServiceStub

    async def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        await asyncio.wait_for(self.process.wait(), WAIT_S)

    async def waystation(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Exit code and document of a command."""
        done = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.cli", *words, "--json", env=self.environ, cwd=ROOT, stdout=-1
        )
        output, _ = await asyncio.wait_for(done.communicate(), WAIT_S)
        return done.returncode or 0, json.loads(output)


@asynccontextmanager
async def agent(home: Path, chat: ChatServer, faults: str = "") -> AsyncIterator[Agent]:
    """An agent without a control plane and without services: its runs ask the chat model for an answer."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("WAYSTATION_")}
    environ = {
        **mine,
        "WAYSTATION_HOME": str(home),
        "WAYSTATION_AGENT_PORT": "0",
        "WAYSTATION_CONTROL_ADDRESS": "",
        "WAYSTATION_MODEL_URL": chat.url,
        "WAYSTATION_FAULTS": faults,
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.agent", env=environ, cwd=ROOT)
    try:
        async with asyncio.timeout(WAIT_S):
            while (record := _record(home)).get("pid") != process.pid:
                assert process.returncode is None
                await asyncio.sleep(0.02)
        async with open_channel(record["address"]) as channel:
            stubs = agent_v1.AgentServiceStub(channel), agent_v1.GuardianServiceStub(channel)
            yield Agent(process, {**environ, "WAYSTATION_AGENT_ADDRESS": record["address"]}, *stubs)
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), WAIT_S)


def _record(home: Path) -> dict[str, Any]:
    path = home / "run" / "agent.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


async def hanging(made: Agent, chat: ChatServer) -> str:
    """A run that waits for the chat model."""
    request = agent_v1.StartRunRequest(query="say hello", workflow="auto")
    run_id = str((await made.stub.StartRun(request, timeout=WAIT_S)).run.run_id)
    async with asyncio.timeout(WAIT_S):
        while not chat.bodies:
            await asyncio.sleep(0.02)
    return run_id


async def test_an_override_survives_two_kills_and_applies_once(tmp_path: Path) -> None:
    async with chat_server(is_hanging=True) as chat:
        async with agent(tmp_path, chat) as first:
            run_id = await hanging(first, chat)
            request = agent_v1.InterveneRequest(run_id=run_id, actor="anna", reason="too quiet", request_id="once")
            request.override.state.update({"query": "say hello loudly"})
            await first.guardian.Intervene(request, timeout=WAIT_S)
            await first.kill()
        chat.is_hanging, chat.pieces = False, sse(delta("HELLO"), delta("", "stop"), "[DONE]")
        # the act has taken effect, and the step's checkpoint is not there yet
        async with agent(tmp_path, chat, "before_checkpoint:kill") as second:
            await asyncio.wait_for(second.process.wait(), WAIT_S)
        async with agent(tmp_path, chat) as third:
            watched = third.stub.WatchRun(agent_v1.WatchRunRequest(run_id=run_id), timeout=WAIT_S)
            events = [message.event async for message in watched]
            again = await third.guardian.Intervene(request, timeout=WAIT_S)
            wanted = agent_v1.ListCheckpointsRequest(run_id=run_id, page_size=1, has_state=True)
            [checkpoint] = (await third.stub.ListCheckpoints(wanted, timeout=WAIT_S)).checkpoints
            log = await third.waystation("guardian", "log", run_id)
            verdict = await third.waystation("audit", "verify")
    assert events[-1].state_changed.run.answer == "HELLO"
    assert [event.guardian_acted.actor for event in events if event.HasField("guardian_acted")] == ["anna"]
    assert (checkpoint.state["query"], checkpoint.state["guardian_entry"]) == ("say hello loudly", 1)
    assert "loudly" in json.dumps(chat.bodies[-1]) and "loudly" not in json.dumps(chat.bodies[0])
    assert (again.intervention.entry, again.intervention.outcome) == (1, "applied")
    assert log[0] == 0 and [item["outcome"] for item in log[1]["interventions"]] == ["applied"]
    assert verdict[0] == 0 and (verdict[1]["is_intact"], verdict[1]["entry_count"]) == (True, "2")


async def test_a_cancelled_run_hangs_up_on_the_model_and_a_forged_log_is_named(tmp_path: Path) -> None:
    async with chat_server(is_hanging=True) as chat:
        async with agent(tmp_path, chat) as made:
            run_id = await hanging(made, chat)
            code, said = await made.waystation("guardian", "cancel", run_id, "--reason", "wrong customer")
            await asyncio.wait_for(chat.client_left.wait(), WAIT_S)
        assert (code, said["run"]["state"], said["intervention"]["outcome"]) == (0, "STATE_CANCELLED", "applied")
        database = Database(tmp_path / "agent" / "agent.db", *SCHEMAS)
        database.open()
        for sql in ("DROP TRIGGER audit_is_not_changed", "UPDATE audit SET record = replace(record, 'wrong', 'right')"):
            database.submit(lambda connection, sql=sql: connection.execute(sql).fetchall()).result()  # type: ignore[misc]
        database.close()
        async with agent(tmp_path, chat) as made:
            code, verdict = await made.waystation("audit", "verify")
    assert (code, verdict["is_intact"], verdict["first_broken_entry"]) == (1, False, "1")
