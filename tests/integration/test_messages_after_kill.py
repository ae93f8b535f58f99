"""An agent that is killed around a message: it is applied once, whatever was stored by then, and none is lost."""

from collections.abc import AsyncIterator
from contextlib import suppress

import grpc
import pytest
import pytest_asyncio

from shared.pb import agent_v1, common_v1
from shared.rpc.channel import open_channel
from tests.chaos.counting import LETTERS, POSTED, posted, seen
from tests.chaos.load import Tracked
from tests.chaos.matrix import SIGKILLED
from tests.chaos.processes import Mesh, running_mesh
from tests.chaos.verdict import Evidence, judge

WAIT_S = 60
pytestmark = pytest.mark.timeout(300)
PROCESSES = ("control", "models", "tally", "post", "agent")
# the run's steps: recommend, decide, tally (which writes), decide, post (which reads), decide, respond
KILLS = {
    "before the hop that writes": "before_node:kill:3",
    "its letters are stored, its checkpoint is not": "before_checkpoint:kill:3",
    "before the hop that reads": "before_node:kill:5",
    "the hop that reads has begun, its answer is here": "during_call:kill:4",
    "it has read, its checkpoint is not written": "before_checkpoint:kill:5",
    "some message or reply has just been stored": "after_record:kill:2",
    "a later one has": "after_record:kill:4",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """Real processes, one of which writes to another."""
    async with running_mesh(tmp_path_factory.mktemp("mail"), PROCESSES) as made:
        yield made


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("kill", KILLS)
async def test_every_message_is_applied_once_and_none_is_lost(mesh: Mesh, kill: str) -> None:
    agent = mesh.processes["agent"]
    await agent.kill()
    await agent.start(KILLS[kill])
    async with open_channel(mesh.address) as channel:
        stub = agent_v1.AgentServiceStub(channel)
        request = agent_v1.StartRunRequest(query=f"{LETTERS}, {kill}", request_id=kill)
        sent: list[str] = []
        with suppress(grpc.aio.AioRpcError):  # it may die before it can say that it has the run
            run = (await stub.StartRun(request, timeout=WAIT_S)).run
            await send(stub, run.run_id, "at once", sent)
        assert await agent.wait_for_death(WAIT_S) == SIGKILLED
        await agent.start()
        run = (await stub.StartRun(request, timeout=WAIT_S, wait_for_ready=True)).run
        await send(stub, run.run_id, "at once", sent)
        await send(stub, run.run_id, "later", sent)
        watched = stub.WatchRun(agent_v1.WatchRunRequest(run_id=run.run_id), timeout=WAIT_S, wait_for_ready=True)
        events = [message.event async for message in watched]
        listed = await stub.ListMessages(agent_v1.ListMessagesRequest(run_id=run.run_id), timeout=WAIT_S)
    tracked = Tracked(run.run_id, "letters", request.query, events, sent)
    evidence = Evidence(
        tracked,
        events,
        [effect for effect in seen(mesh.home) if effect.run_id == run.run_id],
        [letter for letter in posted(mesh.home) if letter.run_id == run.run_id],
        list(listed.messages),
    )
    verdict = judge([evidence], is_service_killed=False)
    assert verdict.is_clean, verdict.findings
    assert tracked.run and tracked.run.answer == POSTED
    assert verdict.resumed == 1
    assert len(evidence.letters) == verdict.messages >= 2
    told = [event.message_sent.message.message_id for event in events if event.HasField("message_sent")]
    assert len(set(told)) == len(told)
    assert set(told) >= {letter.message_id for letter in evidence.letters}


async def send(stub: agent_v1.AgentServiceStub, run_id: str, name: str, sent: list[str]) -> None:
    """Send a message from outside and note that it was taken; the agent may die, or the run may have ended."""
    message = common_v1.A2aMessage(message_id=name, recipient_role="post")
    message.payload.update({"text": name})
    with suppress(grpc.aio.AioRpcError):
        request = agent_v1.SendMessageRequest(run_id=run_id, message=message)
        await stub.SendMessage(request, timeout=WAIT_S)
        sent.append(name)
