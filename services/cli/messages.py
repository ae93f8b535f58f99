"""`waystation runs message` and `runs messages`: writing to a role of a run, and what became of its messages."""

import asyncio
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from services.cli.arguments import duration
from services.cli.mesh import connect
from services.cli.output import JsonOption, as_dict, note, out, print_json
from services.cli.run_session import CALL_TIMEOUT_S
from shared.capability.wire import json_value
from shared.pb import agent_v1, common_v1

SHOWN_CHARS = 100
STATE_STYLES = {"acknowledged": "green", "dead lettered": "red"}
RunId = Annotated[str, typer.Argument(help="The run's id.")]


def message(
    run_id: RunId,
    text: Annotated[str, typer.Argument(help='What to say; it becomes {"text": TEXT}.')] = "",
    to: Annotated[str, typer.Option(metavar="ROLE", help="The role that gets it on its next hop.")] = "",
    payload: Annotated[str, typer.Option("--json-payload", metavar="JSON", help="An object instead of TEXT.")] = "",
    sender: Annotated[str, typer.Option("--from", metavar="NAME", help="Who says it.")] = "user",
    message_id: Annotated[str, typer.Option("--id", help="Sent again under one id, it is one message.")] = "",
    reply_to: Annotated[str, typer.Option(metavar="ID", help="The message that this one answers.")] = "",
    expires_in: Annotated[
        timedelta | None,
        typer.Option(parser=duration, metavar="TIME", help="Not to be delivered after this time, such as 10m."),
    ] = None,
    is_json: JsonOption = False,
) -> None:
    """Send a message to a role of a run that has not ended."""
    if not to:
        raise typer.BadParameter("Say to whom: --to ROLE.")
    sent = common_v1.A2aMessage(
        message_id=message_id or f"message-{uuid.uuid4().hex}",
        sender_role=sender,
        recipient_role=to,
        in_reply_to=reply_to,
    )
    sent.payload.update(_content(text, payload))
    if expires_in is not None:
        sent.expire_time.FromDatetime(datetime.now(UTC) + expires_in)
    stored = asyncio.run(_send(run_id, sent))
    if is_json:
        print_json(as_dict(stored))
    else:
        said = Text(f"Message {stored.message_id} waits for the next hop of {stored.recipient_role}.")
        out().print(said, soft_wrap=True)


def messages(
    run_id: RunId,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many, oldest first.")] = 500,
    is_json: JsonOption = False,
) -> None:
    """List a run's messages in the order they were sent, with what became of them."""
    response = asyncio.run(_list(run_id, limit))
    if is_json:
        print_json(as_dict(response))
    elif response.messages:
        out().print(_table(response))
    else:
        note("The run has no messages.")


def _content(text: str, payload: str) -> dict[str, Any]:
    if bool(text) == bool(payload):
        raise typer.BadParameter("Say what: TEXT, or --json-payload JSON.")
    if text:
        return {"text": text}
    try:
        content = json.loads(payload)
    except ValueError as error:
        raise typer.BadParameter(f"The payload is no JSON: {error}.") from None
    if not isinstance(content, dict):
        raise typer.BadParameter("The payload is no JSON object.")
    return content


async def _send(run_id: str, sent: common_v1.A2aMessage) -> common_v1.A2aMessage:
    async with connect("agent") as channel:
        request = agent_v1.SendMessageRequest(run_id=run_id, message=sent)
        return (await agent_v1.AgentServiceStub(channel).SendMessage(request, timeout=CALL_TIMEOUT_S)).message


async def _list(run_id: str, limit: int) -> agent_v1.ListMessagesResponse:
    async with connect("agent") as channel:
        request = agent_v1.ListMessagesRequest(run_id=run_id, page_size=limit)
        return await agent_v1.AgentServiceStub(channel).ListMessages(request, timeout=CALL_TIMEOUT_S)


def _table(response: agent_v1.ListMessagesResponse) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("from", "to", "no.", "hop", "state", "content"):
        table.add_column(title, overflow="fold")
    for item in response.messages:
        state = common_v1.A2aMessage.State.Name(item.state).removeprefix("STATE_").lower().replace("_", " ")
        content = json.dumps(json_value(item.payload), ensure_ascii=False)
        shown = content if len(content) <= SHOWN_CHARS else content[: SHOWN_CHARS - 1] + "…"
        table.add_row(
            Text(item.sender_role),
            Text(item.recipient_role),
            str(item.sequence),
            str(item.hop_index) if item.hop_index >= 0 else "outside",
            Text(
                f"{state}: {item.dead_letter_reason}" if item.dead_letter_reason else state, STATE_STYLES.get(state, "")
            ),
            Text(shown),
        )
    return table
