"""`waystation guardian`: a hand on the brake of any run, and the log of who used it."""

import asyncio
import getpass
import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, TypeVar

import typer
from google.protobuf.message import Message
from rich.table import Table
from rich.text import Text

from services.cli.arguments import updates
from services.cli.mesh import connect
from services.cli.output import JsonOption, as_dict, note, out, print_json
from services.cli.run_session import CALL_TIMEOUT_S
from services.cli.transcript import state_name
from shared.pb import agent_v1

Response = TypeVar("Response", bound=Message)
RunId = Annotated[str, typer.Argument(help="The run's id.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stays in the audit log.")]
Actor = Annotated[str, typer.Option("--actor", help="Who acts; left out, the user of this system.")]
RequestId = Annotated[str, typer.Option("--request-id", help="Sent again with the same id it is the same act.")]

app = typer.Typer(no_args_is_help=True)


@app.command()
def pause(
    run_id: RunId, reason: Reason, actor: Actor = "", request_id: RequestId = "", is_json: JsonOption = False
) -> None:
    """Stop a run before its next hop."""
    _act(_request(run_id, reason, actor, request_id, pause=agent_v1.Pause()), is_json=is_json)


@app.command()
def resume(
    run_id: RunId, reason: Reason, actor: Actor = "", request_id: RequestId = "", is_json: JsonOption = False
) -> None:
    """Let a paused run go on, or take back a pause that has not taken effect."""
    _act(_request(run_id, reason, actor, request_id, resume=agent_v1.Resume()), is_json=is_json)


@app.command()
def cancel(
    run_id: RunId, reason: Reason, actor: Actor = "", request_id: RequestId = "", is_json: JsonOption = False
) -> None:
    """End a run and the calls it waits for; what was committed stays."""
    _act(_request(run_id, reason, actor, request_id, cancel=agent_v1.Cancel()), is_json=is_json)


@app.command()
def override(
    run_id: RunId,
    reason: Reason,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="A state field to change; JSON or text; may be repeated."),
    ] = None,
    force: Annotated[str, typer.Option(metavar="SERVICE", help="What the next decision must call.")] = "",
    veto: Annotated[str, typer.Option(metavar="SERVICE", help="What the next decision must not call.")] = "",
    skip: Annotated[str, typer.Option(metavar="STEP", help="The step whose next call is left out.")] = "",
    hops: Annotated[int | None, typer.Option(min=0, max=1_000, help="How many hops may follow.")] = None,
    actor: Actor = "",
    request_id: RequestId = "",
    is_json: JsonOption = False,
) -> None:
    """Change what a run does next, from its next step on."""
    if sum((bool(assignments), bool(force), bool(veto), bool(skip), hops is not None)) != 1:
        raise typer.BadParameter("Say one of --set, --force, --veto, --skip and --hops.")
    if assignments:
        change = agent_v1.Override(state=updates(assignments))
    elif hops is not None:
        change = agent_v1.Override(remaining_hops=hops)
    elif force:
        change = agent_v1.Override(force_capability=force)
    elif veto:
        change = agent_v1.Override(veto_capability=veto)
    else:
        change = agent_v1.Override(skip_step=skip)
    _act(_request(run_id, reason, actor, request_id, override=change), is_json=is_json)


@app.command()
def log(
    run_id: Annotated[str, typer.Argument(help="A run's id; left out, all runs.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many, newest first.")] = 50,
    is_json: JsonOption = False,
) -> None:
    """List what guardians did, newest first."""
    request = agent_v1.ListInterventionsRequest(run_id=run_id, page_size=limit)
    response = call(lambda guardian: guardian.ListInterventions(request, timeout=CALL_TIMEOUT_S))
    if is_json:
        print_json(as_dict(response))
    elif response.interventions:
        out().print(_table(response.interventions))
    else:
        note("No guardian has acted.")


def call(made: Callable[["agent_v1.GuardianServiceAsyncStub"], Awaitable[Response]]) -> Response:
    """Call the guardian of the agent."""

    async def connected() -> Response:
        async with connect("agent") as channel:
            return await made(agent_v1.GuardianServiceStub(channel))

    return asyncio.run(connected())


def _request(run_id: str, reason: str, actor: str, request_id: str, **action: Message) -> agent_v1.InterveneRequest:
    words = {"actor": actor or getpass.getuser(), "request_id": request_id or str(uuid.uuid4())}
    return agent_v1.InterveneRequest(run_id=run_id, reason=reason, **words, **action)  # type: ignore[arg-type]


def _act(request: agent_v1.InterveneRequest, *, is_json: bool) -> None:
    response = call(lambda guardian: guardian.Intervene(request, timeout=CALL_TIMEOUT_S))
    if is_json:
        print_json(as_dict(response))
        return
    act = response.intervention
    when = "takes effect at the run's next step" if act.outcome == "open" else f"is {act.outcome}"
    out().print(f"Entry {act.entry}: {act.action} {when}; run {act.run_id} is {state_name(response.run)}.")


def _table(acts: Iterable[agent_v1.Intervention]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("entry", "time", "who", "what", "run", "outcome", "why"):
        table.add_column(title, overflow="fold")
    for act in acts:
        when = act.create_time.ToDatetime().strftime("%Y-%m-%d %H:%M:%S")
        after = ", ".join(f"{name}: {value}" for name, value in sorted(as_dict(act)["after"].items()))
        words = (str(act.entry), when, act.actor, f"{act.action} {after}", act.run_id, act.outcome, act.reason)
        table.add_row(*map(Text, words))
    return table
