"""`waystation ask`: starts a run and follows it."""

import asyncio
import uuid
from enum import StrEnum
from typing import Annotated

import typer

from services.cli.mesh import calling, connect
from services.cli.output import JsonOption
from services.cli.run_session import CALL_TIMEOUT_S, RunSession, say_detached, user_asker
from shared.errors import Unavailable
from shared.pb import agent_v1, common_v1

START_ATTEMPTS = 3
START_PAUSE_S = 0.3
INTERRUPTED = 130

app = typer.Typer()


class Effort(StrEnum):
    """How much work the question is worth."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@app.command()
def ask(
    query: Annotated[str, typer.Argument(help="The question.")],
    workflow: Annotated[str, typer.Option(help="The workflow; empty means auto.")] = "",
    effort: Annotated[
        Effort | None, typer.Option(help="How much work the question is worth; the workflow's, or medium.")
    ] = None,
    thread: Annotated[str, typer.Option(help="The conversation to go on with; empty starts a new one.")] = "",
    is_json: JsonOption = False,
    is_events: Annotated[bool, typer.Option("--events", help="Print each event as one line of JSON.")] = False,
) -> None:
    """Ask a question and watch its answer come. Ctrl-C leaves the run going."""
    request = agent_v1.StartRunRequest(
        query=query,
        workflow=workflow,
        thread_id=thread,
        effort=common_v1.Effort.Value(f"EFFORT_{effort.value.upper() if effort else 'UNSPECIFIED'}"),
        request_id=str(uuid.uuid4()),
        correlation_id=str(uuid.uuid4()),
    )
    session = RunSession(is_json=is_json, is_events=is_events, ask_user=user_asker())
    try:
        asyncio.run(_ask(session, request))
    except KeyboardInterrupt:
        say_detached(session.run_id)
        raise typer.Exit(INTERRUPTED) from None


async def _ask(session: RunSession, request: agent_v1.StartRunRequest) -> None:
    async with connect("agent") as channel:
        agent = agent_v1.AgentServiceStub(channel)
        run = await start_run(agent, request)
        session.transcript.run.CopyFrom(run)
        await session.follow(agent, run.run_id)


async def start_run(agent: "agent_v1.AgentServiceAsyncStub", request: agent_v1.StartRunRequest) -> agent_v1.Run:
    """Start the run; its `request_id` makes it safe to send the request again when the answer was lost."""
    for _ in range(START_ATTEMPTS - 1):
        try:
            with calling("agent"):
                return (await agent.StartRun(request, timeout=CALL_TIMEOUT_S)).run
        except Unavailable:
            await asyncio.sleep(START_PAUSE_S)
    return (await agent.StartRun(request, timeout=CALL_TIMEOUT_S)).run
