"""A run's checkpoints over HTTP: its history, forks of it, and edits of its state."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from services.control.gateway.agent_peer import ACT_TIMEOUT_S, AgentPeer
from services.control.gateway.contract_fields import json_object
from services.control.gateway.failures import FAILURES
from services.control.gateway.parameters import MAX_ID_CHARS, Id, JsonObject, PageSize, PageToken, RequestId, RunId
from services.control.gateway.run_views import CheckpointView, RunView
from services.control.gateway.view import RequestBody, View
from shared.pb import agent_v1


class CheckpointList(View):
    """Checkpoints, newest first."""

    checkpoints: list[CheckpointView]
    next_page_token: str


class Fork(RequestBody):
    """A run to start from a checkpoint."""

    checkpoint_id: str = Field(min_length=1, max_length=MAX_ID_CHARS)
    updates: JsonObject = Field(default_factory=dict)
    """State fields to change in the copy before it goes on."""
    request_id: RequestId = ""


class StateUpdate(RequestBody):
    """Changes of state fields."""

    updates: JsonObject
    checkpoint_id: Id = ""
    """The checkpoint that the changes were made for; refused when it is not the newest any more."""
    request_id: RequestId = ""


def checkpoint_routes(agent: AgentPeer) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/runs/{run_id}", responses=FAILURES, tags=["checkpoints"])

    @router.get("/checkpoints")
    async def list_checkpoints(
        run_id: RunId,
        has_state: Annotated[bool, Query(description="True to get each checkpoint's state too")] = False,
        page_size: PageSize = 0,
        page_token: PageToken = "",
    ) -> CheckpointList:
        """A run's checkpoints, newest first."""
        request = agent_v1.ListCheckpointsRequest(
            run_id=run_id, has_state=has_state, page_size=page_size, page_token=page_token
        )
        async with agent.runs() as stub:
            found = await stub.ListCheckpoints(request, timeout=ACT_TIMEOUT_S)
        checkpoints = [CheckpointView.of(each) for each in found.checkpoints]
        return CheckpointList(checkpoints=checkpoints, next_page_token=found.next_page_token)

    @router.post("/forks", status_code=201)
    async def fork_run(run_id: RunId, body: Fork) -> RunView:
        """Start a new run, in a new thread, from a checkpoint."""
        request = agent_v1.ForkRunRequest(
            run_id=run_id,
            checkpoint_id=body.checkpoint_id,
            request_id=body.request_id,
            updates=json_object(body.updates),
        )
        async with agent.runs() as stub:
            return RunView.of((await stub.ForkRun(request, timeout=ACT_TIMEOUT_S)).run)

    @router.patch("/state")
    async def update_state(run_id: RunId, body: StateUpdate) -> CheckpointView:
        """Change state fields of a run that is paused or waits for input; returns the new checkpoint."""
        request = agent_v1.UpdateStateRequest(
            run_id=run_id,
            updates=json_object(body.updates),
            request_id=body.request_id,
            checkpoint_id=body.checkpoint_id,
        )
        async with agent.runs() as stub:
            return CheckpointView.of((await stub.UpdateState(request, timeout=ACT_TIMEOUT_S)).checkpoint)

    return router
