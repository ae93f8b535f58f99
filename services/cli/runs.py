"""`waystation runs`: list, show, watch and steer runs."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, TypeVar

import typer
from google.protobuf.message import Message
from rich.table import Table
from rich.text import Text

from services.cli.arguments import duration, json_or_text, updates
from services.cli.mesh import connect
from services.cli.messages import message, messages
from services.cli.output import JsonOption, as_dict, note, out, print_json
from services.cli.run_session import CALL_TIMEOUT_S, RunSession, say_detached, user_asker
from services.cli.run_view import STATE_STYLES
from services.cli.transcript import state_name
from shared.pb import agent_v1
from shared.telemetry.cloud_events import cloud_event

INTERRUPTED = 130
PRUNE_TIMEOUT_S = 600.0
Response = TypeVar("Response", bound=Message)
RunId = Annotated[str, typer.Argument(help="The run's id.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="A state field to change; JSON or text; may be repeated."),
]

app = typer.Typer(no_args_is_help=True)
app.command()(message)
app.command()(messages)


class RunState(StrEnum):
    """States to list runs by."""

    PENDING = "pending"
    RUNNING = "running"
    INPUT_REQUIRED = "input-required"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"


@app.command("list")
def list_runs(
    state: Annotated[list[RunState] | None, typer.Option(help="Only runs in this state; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many, newest first.")] = 20,
    thread: Annotated[str, typer.Option(help="Only runs of this conversation.")] = "",
    workflow: Annotated[str, typer.Option(help="Only runs of this workflow.")] = "",
    text: Annotated[str, typer.Option(help="Only runs whose question or answer contains this.")] = "",
    is_json: JsonOption = False,
) -> None:
    """List runs, newest first."""
    names = [f"STATE_{wanted.value.upper().replace('-', '_')}" for wanted in state or ()]
    request = agent_v1.ListRunsRequest(
        page_size=limit, thread_id=thread, workflow=workflow, text=text, states=map(agent_v1.Run.State.Value, names)
    )
    response = _call(lambda agent: agent.ListRuns(request, timeout=CALL_TIMEOUT_S))
    if is_json:
        print_json(as_dict(response))
    elif response.runs:
        out().print(_table(list(response.runs)))
    else:
        note("There are no such runs.")


@app.command()
def show(run_id: RunId, is_json: JsonOption = False) -> None:
    """Show one run as it is now."""
    response = _call(lambda agent: agent.GetRun(agent_v1.GetRunRequest(run_id=run_id), timeout=CALL_TIMEOUT_S))
    if is_json:
        print_json(as_dict(response.run))
    else:
        _print_run(response.run)


@app.command()
def watch(
    run_id: RunId,
    after: Annotated[int, typer.Option(min=0, help="Only events after this sequence number.")] = 0,
    is_json: JsonOption = False,
    is_events: Annotated[bool, typer.Option("--events", help="Print each event as one line of JSON.")] = False,
    is_cloud_events: Annotated[
        bool, typer.Option("--cloud-events", help="The same, each as a CloudEvent: see docs/event_schema.md.")
    ] = False,
) -> None:
    """Watch a run, from its beginning or from an event on, until it ends."""
    session = RunSession(
        is_json=is_json,
        is_events=is_events or is_cloud_events,
        ask_user=user_asker(),
        event_row=cloud_event if is_cloud_events else as_dict,
    )
    try:
        asyncio.run(_watch(session, run_id, after))
    except KeyboardInterrupt:
        say_detached(run_id)
        raise typer.Exit(INTERRUPTED) from None


@app.command()
def resume(run_id: RunId, is_json: JsonOption = False) -> None:
    """Go on with a run that is paused, or whose process died."""
    request = agent_v1.ResumeRunRequest(run_id=run_id, request_id=str(uuid.uuid4()))
    response = _call(lambda agent: agent.ResumeRun(request, timeout=CALL_TIMEOUT_S))
    _say_run(response.run, is_json=is_json)


@app.command()
def pause(run_id: RunId, is_json: JsonOption = False) -> None:
    """Stop a run before its next hop."""
    request = agent_v1.PauseRunRequest(run_id=run_id, request_id=str(uuid.uuid4()))
    response = _call(lambda agent: agent.PauseRun(request, timeout=CALL_TIMEOUT_S))
    _say_run(response.run, is_json=is_json)


@app.command()
def cancel(
    run_id: RunId,
    message: Annotated[str, typer.Option(help="Why, for the run's events.")] = "",
    is_json: JsonOption = False,
) -> None:
    """Stop a run and the calls it waits for; what was committed is kept."""
    request = agent_v1.CancelRunRequest(run_id=run_id, request_id=str(uuid.uuid4()), message=message)
    response = _call(lambda agent: agent.CancelRun(request, timeout=CALL_TIMEOUT_S))
    _say_run(response.run, is_json=is_json)


@app.command()
def answer(
    run_id: RunId,
    question_id: Annotated[str, typer.Argument(help="The question's id.")],
    text: Annotated[str, typer.Argument(help="The answer: text, or a JSON object where the question wants one.")],
    is_json: JsonOption = False,
) -> None:
    """Answer the question a run waits for."""
    request = agent_v1.AnswerQuestionRequest(run_id=run_id, question_id=question_id, request_id=str(uuid.uuid4()))
    request.answer.CopyFrom(json_or_text(text))
    response = _call(lambda agent: agent.AnswerQuestion(request, timeout=CALL_TIMEOUT_S))
    _say_run(response.run, is_json=is_json)


@app.command()
def history(
    run_id: RunId,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many, newest first.")] = 50,
    has_state: Annotated[bool, typer.Option("--state", help="With each checkpoint's state; for --json.")] = False,
    is_json: JsonOption = False,
) -> None:
    """List a run's checkpoints, newest first."""
    request = agent_v1.ListCheckpointsRequest(run_id=run_id, page_size=limit, has_state=has_state)
    response = _call(lambda agent: agent.ListCheckpoints(request, timeout=CALL_TIMEOUT_S))
    if is_json:
        print_json(as_dict(response))
        return
    table = _headed("step", "checkpoint", "next", "bytes", "time")
    for checkpoint in response.checkpoints:
        following = ", ".join(checkpoint.next_nodes) or "end"
        size, when = str(checkpoint.size_bytes), checkpoint.create_time.ToJsonString()
        table.add_row(str(checkpoint.step), checkpoint.checkpoint_id, following, size, when)
    out().print(table)


@app.command()
def fork(
    run_id: RunId,
    checkpoint_id: Annotated[str, typer.Argument(help="Where to start from; `runs history` lists them.")],
    assignments: Assignments = None,
    is_json: JsonOption = False,
) -> None:
    """Start a new run, in a new thread, from a checkpoint."""
    request = agent_v1.ForkRunRequest(run_id=run_id, checkpoint_id=checkpoint_id, request_id=str(uuid.uuid4()))
    if assignments:
        request.updates.CopyFrom(updates(assignments))
    response = _call(lambda agent: agent.ForkRun(request, timeout=CALL_TIMEOUT_S))
    _say_run(response.run, is_json=is_json)


@app.command()
def edit(
    run_id: RunId,
    assignments: Assignments = None,
    checkpoint_id: Annotated[
        str, typer.Option("--checkpoint", help="Refuse when this is not the newest checkpoint any more.")
    ] = "",
    is_json: JsonOption = False,
) -> None:
    """Change the state of a run that is paused or waits for an answer; it goes on with `runs resume`."""
    if not assignments:
        raise typer.BadParameter("Say what to change: --set FIELD=VALUE.")
    request = agent_v1.UpdateStateRequest(
        run_id=run_id, updates=updates(assignments), request_id=str(uuid.uuid4()), checkpoint_id=checkpoint_id
    )
    response = _call(lambda agent: agent.UpdateState(request, timeout=CALL_TIMEOUT_S))
    if is_json:
        print_json(as_dict(response.checkpoint))
    else:
        out().print(f"Run {run_id} goes on from checkpoint {response.checkpoint.checkpoint_id}.")


@app.command()
def prune(
    older_than: Annotated[
        timedelta | None,
        typer.Option(parser=duration, metavar="TIME", help="Only runs that ended longer ago than this, such as 30d."),
    ] = None,
    keep: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Keep at least so many of the newest.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted, and delete nothing.")] = False,
    is_json: JsonOption = False,
) -> None:
    """Delete finished runs by age and count, with their events and checkpoints."""
    if older_than is None and not keep:
        raise typer.BadParameter("Say which: --older-than 30d, --keep 100, or both.")
    request = agent_v1.PruneRunsRequest(keep=keep, is_dry_run=dry_run)
    request.older_than.FromTimedelta(older_than or timedelta())
    response = _call(lambda agent: agent.PruneRuns(request, timeout=PRUNE_TIMEOUT_S))
    if is_json:
        print_json(as_dict(response))
        return
    runs = f"{response.deleted_runs} run{'' if response.deleted_runs == 1 else 's'}"
    if dry_run:
        out().print(f"{runs} would be deleted.")
    else:
        out().print(f"{runs} deleted, {response.freed_bytes / 1e6:.1f} MB freed.")


def _call(call: Callable[["agent_v1.AgentServiceAsyncStub"], Awaitable[Response]]) -> Response:
    async def connected() -> Response:
        async with connect("agent") as channel:
            agent = agent_v1.AgentServiceStub(channel)
            return await call(agent)

    return asyncio.run(connected())


async def _watch(session: RunSession, run_id: str, after: int) -> None:
    async with connect("agent") as channel:
        agent = agent_v1.AgentServiceStub(channel)
        response = await agent.GetRun(agent_v1.GetRunRequest(run_id=run_id), timeout=CALL_TIMEOUT_S)
        session.transcript.run.CopyFrom(response.run)
        await session.follow(agent, run_id, after_sequence=after)


def _say_run(run: agent_v1.Run, *, is_json: bool) -> None:
    if is_json:
        print_json(as_dict(run))
    else:
        out().print(f"Run {run.run_id} is {state_name(run)}.")


def _table(runs: list[agent_v1.Run]) -> Table:
    table = _headed("run", "state", "started", "workflow", "hops", "question")
    for run in runs:
        state = state_name(run)
        started = run.create_time.ToDatetime().strftime("%Y-%m-%d %H:%M:%S")
        query = Text(" ".join(run.query.split()), overflow="ellipsis", no_wrap=True)
        styled = Text(state, style=STATE_STYLES.get(state, ""))
        table.add_row(run.run_id, styled, started, run.workflow, str(run.hop_count), query)
    return table


def _print_run(run: agent_v1.Run) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    state = state_name(run)
    rows: dict[str, str | Text] = {
        "run": run.run_id,
        "thread": run.thread_id,
        "state": Text(state, style=STATE_STYLES.get(state, "")),
        "workflow": run.workflow,
        "question": run.query,
        "hops": f"{run.hop_count} done, {run.remaining_hops} left",
        "cycles": f"{run.current_cycle} of {run.max_cycles}" if run.max_cycles else "",
        "review": "unresolved: the last one still wants changes" if run.has_unresolved_review else "",
        "started": run.create_time.ToJsonString(),
        "ended": run.end_time.ToJsonString() if run.HasField("end_time") else "",
        "trace": run.trace_id,
        "error": f"{run.error.message} {run.error.remedy}".strip() if run.HasField("error") else "",
        "answer": run.answer,
    }
    for name, value in rows.items():
        if value:
            table.add_row(Text(name, style="dim"), Text(value) if isinstance(value, str) else value)
    for question in run.questions:
        table.add_row(Text("asks", style="dim"), Text(f"{question.text} (question {question.question_id})"))
    out().print(table)


def _headed(*titles: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in titles:
        table.add_column(title, overflow="fold")
    return table
