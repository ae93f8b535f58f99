"""`waystation demo`: a tour of five minutes on the real mesh, made of commands that the guest can type as well."""

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.text import Text

from services.cli.doors import door_settings, ready_record
from services.cli.mesh import connect
from services.cli.output import note, out
from services.cli.run_session import CALL_TIMEOUT_S
from shared.errors import DeadlineExceeded, InternalError, NotFound
from shared.pb import agent_v1

POLL_S = 0.1
START_TIMEOUT_S = 60.0
STEP_TIMEOUT_S = 300.0

QUESTION = "what is 17 percent of 2450?"
CODE = "write a Python function that returns the n-th prime number"
REVIEWED = "write a Python function that turns an integer from 1 to 3999 into a Roman numeral"
PAUSED = "write a Python function that says whether a word is a palindrome"

app = typer.Typer()


@dataclass(frozen=True)
class Stop:
    """One stop of the tour."""

    title: str
    says: str
    visit: Callable[["agent_v1.AgentServiceAsyncStub"], Awaitable[None]]


@app.command()
def demo(
    is_hurried: Annotated[bool, typer.Option("--no-wait", help="Do not wait for Enter before each stop.")] = False,
) -> None:
    """A tour of the mesh that is up: a question, a crash in mid-hop, a review, a pause."""
    asyncio.run(_tour(waits=not is_hurried and sys.stdin.isatty()))


async def _tour(waits: bool) -> None:
    async with connect("agent") as channel:
        agent = agent_v1.AgentServiceStub(channel)
        await agent.ListRuns(agent_v1.ListRunsRequest(page_size=1), timeout=CALL_TIMEOUT_S)
        for number, stop in enumerate(STOPS, start=1):
            out().print(Text(f"\n{number} of {len(STOPS)}  {stop.title}", style="bold"))
            out().print(Text(stop.says))
            if waits:
                await asyncio.to_thread(input, "Enter goes on, Ctrl-C ends the tour. ")
            await stop.visit(agent)
    note("\nThat was all. `waystation --help` lists the commands, docs/ says how it works.")


async def _question(agent: "agent_v1.AgentServiceAsyncStub") -> None:
    await _waystation("route", QUESTION)
    await _waystation("ask", QUESTION)


async def _crash(agent: "agent_v1.AgentServiceAsyncStub") -> None:
    asking, run_id = await _ask(agent, CODE)
    await _happened(agent, run_id, {"hop_started"})
    pid = ready_record(door_settings("agent", os.environ).home, "agent").get("pid")
    if not isinstance(pid, int):
        raise NotFound("The agent does not say which process it is.", remedy="The tour needs a mesh on this machine.")
    out().print(Text(f"$ kill -9 {pid}    (the agent)", style="bold red"))
    os.kill(pid, signal.SIGKILL)
    await _ended(asking)
    await _waystation("trace", run_id)


async def _review(agent: "agent_v1.AgentServiceAsyncStub") -> None:
    asking, run_id = await _ask(agent, REVIEWED, "--workflow", "review")
    await _ended(asking)
    await _waystation("runs", "messages", run_id)


async def _pause(agent: "agent_v1.AgentServiceAsyncStub") -> None:
    asking, run_id = await _ask(agent, PAUSED)
    await _happened(agent, run_id, {"route_recommended"})
    # a process of its own could come too late
    _show("runs", "pause", run_id)
    await agent.PauseRun(agent_v1.PauseRunRequest(run_id=run_id), timeout=CALL_TIMEOUT_S)
    await _ended(asking)
    await _waystation("runs", "history", run_id)
    await _waystation("runs", "resume", run_id)
    await _waystation("runs", "watch", run_id)


STOPS = (
    Stop(
        "A question",
        "The router recommends a service, an embedding model in the agent's own process. The arbitrator decides, and"
        " says what decided: the model, a policy, or a fallback.",
        _question,
    ),
    Stop(
        "A crash",
        "The agent is killed in the middle of a hop. `waystation up` starts it again, the run goes on from its last"
        " committed step, and the trace shows the break and both lives in one tree.",
        _crash,
    ),
    Stop(
        "A review",
        "One role writes code, another runs it in the sandbox and sends its findings back, twice at most.",
        _review,
    ),
    Stop(
        "A pause",
        "A run stops at its next step boundary, shows its checkpoints, and goes on when it is told to.",
        _pause,
    ),
)


async def _waystation(*words: str) -> None:
    await _ended(await _started(*words))


def _show(*words: str) -> None:
    out().print(Text(f"\n$ waystation {shlex.join(words)}", style="bold cyan"), soft_wrap=True)
    sys.stdout.flush()


async def _started(*words: str) -> asyncio.subprocess.Process:
    _show(*words)
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "services.cli", *words)


async def _ended(command: asyncio.subprocess.Process) -> None:
    if code := await command.wait():
        raise InternalError(f"The command ended with exit code {code}.", remedy="Its own words are above.")


async def _ask(
    agent: "agent_v1.AgentServiceAsyncStub", query: str, *options: str
) -> tuple[asyncio.subprocess.Process, str]:
    """Ask in a process of its own; returns that, and the run it started."""
    request = agent_v1.ListRunsRequest(page_size=10, text=query)
    known = {run.run_id for run in (await agent.ListRuns(request, timeout=CALL_TIMEOUT_S)).runs}
    asking = await _started("ask", query, *options)
    async with asyncio.timeout(START_TIMEOUT_S):
        while True:
            runs = (await agent.ListRuns(request, timeout=CALL_TIMEOUT_S)).runs
            if started := next((run for run in runs if run.run_id not in known), None):
                return asking, started.run_id
            if asking.returncode is not None:
                await _ended(asking)
            await asyncio.sleep(POLL_S)


async def _happened(agent: "agent_v1.AgentServiceAsyncStub", run_id: str, payloads: Collection[str]) -> None:
    """Wait for an event of one of these kinds. Raises `DeadlineExceeded` when the run ends without."""
    request = agent_v1.WatchRunRequest(run_id=run_id)
    async for message in agent.WatchRun(request, timeout=STEP_TIMEOUT_S):
        if message.event.WhichOneof("payload") in payloads:
            return
    raise DeadlineExceeded(f"Run {run_id} was over before the tour could step in.", run_id=run_id)
