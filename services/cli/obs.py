"""`waystation obs`: how much the mesh says of itself, shown and switched."""

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from datetime import UTC, timedelta
from typing import Annotated

import typer
from rich.text import Text

from services.cli.arguments import duration
from services.cli.mesh import connect
from services.cli.output import JsonOption, out, print_json
from shared.pb import control_v1

TIMEOUT_S = 10.0
MEANINGS = {"shipping": "spans only", "debug": "spans, metrics and logs, with prompts and outputs"}

app = typer.Typer(no_args_is_help=True)

For = Annotated[
    timedelta | None,
    typer.Option("--for", parser=duration, metavar="TIME", help="Only for a while, such as 10m; else until changed."),
]
Reason = Annotated[str, typer.Option(help="Why, for the log.")]


@app.command()
def show(is_json: JsonOption = False) -> None:
    """Show the mode in force."""

    async def get(control: "control_v1.ObservabilityServiceAsyncStub") -> control_v1.ModeState:
        return (await control.GetMode(control_v1.GetModeRequest(), timeout=TIMEOUT_S)).mode

    _say(_call(get), is_json=is_json)


@app.command()
def debug(for_: For = None, reason: Reason = "", is_json: JsonOption = False) -> None:
    """Export everything: spans with prompts and outputs, metrics and logs; secrets are taken out."""
    _set(control_v1.MODE_DEBUG, for_, reason, is_json=is_json)


@app.command()
def shipping(for_: For = None, reason: Reason = "", is_json: JsonOption = False) -> None:
    """Export spans only, without prompts and outputs. This is the default."""
    _set(control_v1.MODE_SHIPPING, for_, reason, is_json=is_json)


def _set(mode: control_v1.Mode.ValueType, length: timedelta | None, reason: str, *, is_json: bool) -> None:
    request = control_v1.SetModeRequest(mode=mode, actor=_user(), reason=reason)
    if length is not None:
        request.duration.FromTimedelta(length)

    async def put(control: "control_v1.ObservabilityServiceAsyncStub") -> control_v1.ModeState:
        return (await control.SetMode(request, timeout=TIMEOUT_S)).mode

    _say(_call(put), is_json=is_json)


def _call(
    call: Callable[["control_v1.ObservabilityServiceAsyncStub"], Awaitable[control_v1.ModeState]],
) -> control_v1.ModeState:
    async def connected() -> control_v1.ModeState:
        async with connect("control") as channel:
            return await call(control_v1.ObservabilityServiceStub(channel))

    return asyncio.run(connected())


def _say(state: control_v1.ModeState, *, is_json: bool) -> None:
    mode, set_mode = _name(state.mode), _name(state.set_mode)
    until = state.expire_time.ToDatetime(UTC) if state.HasField("expire_time") else None
    if is_json:
        expire = until.isoformat() if until else None
        print_json({"mode": mode, "set_mode": set_mode, "expire_time": expire, "cause": state.cause})
        return
    line = Text(mode, style="bold")
    line.append(f": {MEANINGS.get(mode, 'a mode of a newer build')}", style="default not bold")
    out().print(line)
    if state.cause:
        out().print(f"because of a {state.cause}; {set_mode} is set")
    if until:
        out().print(f"until {until.astimezone():%Y-%m-%d %H:%M:%S %Z}")


def _name(mode: int) -> str:
    known = control_v1.Mode.Name(mode) if mode in control_v1.Mode.values() else f"MODE_{mode}"  # type: ignore[arg-type]
    return known.removeprefix("MODE_").lower()


def _user() -> str:
    try:
        return getpass.getuser()
    except OSError:  # a container's user need not have a name
        return "somebody"
