"""What can be done with runs over HTTP: start, pause, resume, cancel, answer, prune."""

from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from services.control.gateway.agent_peer import ACT_TIMEOUT_S, WAIT_TIMEOUT_S, AgentPeer
from services.control.gateway.contract_fields import duration, json_value
from services.control.gateway.failures import FAILURES
from services.control.gateway.parameters import MAX_ID_CHARS, Id, JsonValue, RequestId, RunId
from services.control.gateway.run_views import RunView
from services.control.gateway.view import ContractView, RequestBody, View
from shared.pb import agent_v1, common_v1

MAX_TIMEOUT_S = 30 * 24 * 3600


class RunStart(RequestBody):
    """A run to start."""

    query: str = Field(min_length=1, max_length=32_768)
    workflow: Id = ""
    """Empty means `auto`."""
    effort: Literal["low", "medium", "high"] | None = None
    thread_id: Id = ""
    """The conversation to go on with; empty starts a new one."""
    tenant: Id = ""
    request_id: RequestId = ""
    run_timeout_s: float | None = Field(None, gt=0, le=MAX_TIMEOUT_S)
    """How long the run may take; without it the agent's default."""


class RunStarted(View):
    """A run that was started."""

    run: RunView
    is_replayed: bool
    """True when the request id was known, so that nothing new was started."""


class RunAction(RequestBody):
    """A wish to pause or resume a run."""

    request_id: RequestId = ""


class RunCancel(RequestBody):
    """A wish to cancel a run."""

    request_id: RequestId = ""
    message: str = Field("", max_length=1_000)
    """Why, for the run's events."""


class Answer(RequestBody):
    """The answer to a run's question."""

    question_id: str = Field(min_length=1, max_length=MAX_ID_CHARS)
    answer: JsonValue
    """It must fit the question's `response_schema`."""
    request_id: RequestId = ""


class RunPrune(RequestBody):
    """Which finished runs to delete."""

    older_than_s: float = Field(ge=0, le=100 * 365 * 24 * 3600)
    """Those that ended longer ago than this."""
    keep: int = Field(0, ge=0, le=1_000_000_000)
    """At least so many of the newest stay."""
    is_dry_run: bool
    """True to say what would be deleted and delete nothing."""


class RunsPruned(ContractView):
    """What was deleted, or would be."""

    contract = agent_v1.PruneRunsResponse
    deleted_runs: int
    freed_bytes: int


def run_actions(agent: AgentPeer) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/runs", responses=FAILURES, tags=["runs"])

    @router.post("", status_code=201)
    async def start_run(body: RunStart) -> RunStarted:
        """Start a run. It goes on when the caller leaves; follow it at `/api/runs/{run_id}/events`."""
        request = agent_v1.StartRunRequest(
            query=body.query,
            workflow=body.workflow,
            thread_id=body.thread_id,
            effort=common_v1.Effort.Value(f"EFFORT_{(body.effort or 'unspecified').upper()}"),
            tenant=body.tenant,
            request_id=body.request_id,
            run_timeout=None if body.run_timeout_s is None else duration(body.run_timeout_s),
        )
        async with agent.runs() as stub:
            started = await stub.StartRun(request, timeout=WAIT_TIMEOUT_S)
        return RunStarted(run=RunView.of(started.run), is_replayed=started.is_replayed)

    @router.post("/prune")
    async def prune_runs(body: RunPrune) -> RunsPruned:
        """Delete finished runs with all that belongs to them, or say what that would be."""
        request = agent_v1.PruneRunsRequest(
            older_than=duration(body.older_than_s), keep=body.keep, is_dry_run=body.is_dry_run
        )
        async with agent.runs() as stub:
            return RunsPruned.of(await stub.PruneRuns(request, timeout=WAIT_TIMEOUT_S))

    _add_brakes(router, agent)
    return router


def _add_brakes(router: APIRouter, agent: AgentPeer) -> None:
    @router.post("/{run_id}/pause")
    async def pause_run(run_id: RunId, body: RunAction) -> RunView:
        """Stop a run before its next hop."""
        request = agent_v1.PauseRunRequest(run_id=run_id, request_id=body.request_id)
        async with agent.runs() as stub:
            return RunView.of((await stub.PauseRun(request, timeout=ACT_TIMEOUT_S)).run)

    @router.post("/{run_id}/resume")
    async def resume_run(run_id: RunId, body: RunAction) -> RunView:
        """Go on with a run that is paused, or whose process died, from its last committed step."""
        request = agent_v1.ResumeRunRequest(run_id=run_id, request_id=body.request_id)
        async with agent.runs() as stub:
            return RunView.of((await stub.ResumeRun(request, timeout=ACT_TIMEOUT_S)).run)

    @router.post("/{run_id}/cancel")
    async def cancel_run(run_id: RunId, body: RunCancel) -> RunView:
        """Stop a run and the calls it is waiting for; what was committed is kept."""
        request = agent_v1.CancelRunRequest(run_id=run_id, request_id=body.request_id, message=body.message)
        async with agent.runs() as stub:
            return RunView.of((await stub.CancelRun(request, timeout=ACT_TIMEOUT_S)).run)

    @router.post("/{run_id}/answers")
    async def answer_question(run_id: RunId, body: Answer) -> RunView:
        """Answer a question which a run is waiting for. Each question is answered once."""
        request = agent_v1.AnswerQuestionRequest(
            run_id=run_id, question_id=body.question_id, answer=json_value(body.answer), request_id=body.request_id
        )
        async with agent.runs() as stub:
            return RunView.of((await stub.AnswerQuestion(request, timeout=ACT_TIMEOUT_S)).run)
