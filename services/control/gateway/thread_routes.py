"""Threads over HTTP: a conversation, and what of it the next run's prompts hold."""

from datetime import datetime
from typing import Literal

from fastapi import APIRouter

from services.control.gateway.agent_peer import ACT_TIMEOUT_S, AgentPeer
from services.control.gateway.failures import FAILURES
from services.control.gateway.view import ContractView
from shared.pb import agent_v1


class TurnView(ContractView):
    """One question and its answer."""

    contract = agent_v1.Thread.Turn
    run_id: str
    query: str
    answer: str
    treatment: Literal["unspecified", "kept", "summarized", "dropped"]
    """What the turn is in the context of the next run."""
    summary: str
    """What stands for the turn when it is summarized."""


class ThreadView(ContractView):
    """A conversation."""

    contract = agent_v1.Thread
    thread_id: str
    tenant: str
    create_time: datetime | None
    update_time: datetime | None
    turns: list[TurnView]
    context_budget_tokens: int
    """Tokens of the conversation that the next run's prompts may hold."""


def thread_routes(agent: AgentPeer) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/threads", responses=FAILURES, tags=["threads"])

    @router.get("/{thread_id}")
    async def get_thread(thread_id: str) -> ThreadView:
        """A thread with its conversation and what of it is in the context."""
        async with agent.runs() as stub:
            found = await stub.GetThread(agent_v1.GetThreadRequest(thread_id=thread_id), timeout=ACT_TIMEOUT_S)
        return ThreadView.of(found.thread)

    return router
