"""A2A messages of a run over HTTP: read, and sent from outside."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import AwareDatetime, Field

from services.control.gateway.agent_peer import ACT_TIMEOUT_S, AgentPeer
from services.control.gateway.contract_fields import json_object, timestamp
from services.control.gateway.failures import FAILURES
from services.control.gateway.parameters import MAX_ID_CHARS, Id, JsonObject, PageSize, PageToken, RunId
from services.control.gateway.run_views import MessageView
from services.control.gateway.view import RequestBody, View
from shared.pb import agent_v1, common_v1

MessageId = Annotated[str, Field(max_length=256)]


class MessageList(View):
    """Messages in the order they were sent."""

    messages: list[MessageView]
    next_page_token: str


class MessageSend(RequestBody):
    """A message to put into the mailbox of a role."""

    recipient_role: str = Field(min_length=1, max_length=MAX_ID_CHARS)
    payload: JsonObject
    message_id: MessageId = ""
    """Chosen by the sender; the same id is the same message, so that it can be sent again safely."""
    sender_role: Id = ""
    """Who says it; empty means `user`."""
    in_reply_to: MessageId = ""
    expire_time: AwareDatetime | None = None
    """After this moment it goes to the dead letters instead of its recipient."""


def message_routes(agent: AgentPeer) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/runs/{run_id}/messages", responses=FAILURES, tags=["messages"])

    @router.get("")
    async def list_messages(run_id: RunId, page_size: PageSize = 0, page_token: PageToken = "") -> MessageList:
        """A run's messages with what became of them, in the order they were sent."""
        request = agent_v1.ListMessagesRequest(run_id=run_id, page_size=page_size, page_token=page_token)
        async with agent.runs() as stub:
            found = await stub.ListMessages(request, timeout=ACT_TIMEOUT_S)
        messages = [MessageView.of(each) for each in found.messages]
        return MessageList(messages=messages, next_page_token=found.next_page_token)

    @router.post("", status_code=201)
    async def send_message(run_id: RunId, body: MessageSend) -> MessageView:
        """Put a message into a role's mailbox; the role gets it on its next hop."""
        message = common_v1.A2aMessage(
            message_id=body.message_id,
            sender_role=body.sender_role,
            recipient_role=body.recipient_role,
            payload=json_object(body.payload),
            in_reply_to=body.in_reply_to,
            expire_time=timestamp(body.expire_time) if body.expire_time else None,
        )
        async with agent.runs() as stub:
            request = agent_v1.SendMessageRequest(run_id=run_id, message=message)
            return MessageView.of((await stub.SendMessage(request, timeout=ACT_TIMEOUT_S)).message)

    return router
