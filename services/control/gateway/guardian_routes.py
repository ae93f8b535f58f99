"""The guardian over HTTP: acts on any run at its next step boundary, and the log that proves them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field

from services.control.gateway.agent_peer import ACT_TIMEOUT_S, AgentPeer
from services.control.gateway.contract_fields import json_object
from services.control.gateway.failures import FAILURES
from services.control.gateway.parameters import MAX_ID_CHARS, JsonObject, PageSize, PageToken, RequestId, RunId, Text
from services.control.gateway.run_views import RunView
from services.control.gateway.view import ContractView, RequestBody, View
from shared.pb import agent_v1

Name = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARS)]


class Pause(RequestBody):
    """Stop the run before its next hop."""

    type: Literal["pause"]


class Resume(RequestBody):
    """Let the run go on."""

    type: Literal["resume"]


class Cancel(RequestBody):
    """End the run."""

    type: Literal["cancel"]


class SetState(RequestBody):
    """Set state fields; protected ones are refused."""

    type: Literal["set_state"]
    state: JsonObject


class ForceCapability(RequestBody):
    """The next decision must name this capability."""

    type: Literal["force_capability"]
    capability: Name


class VetoCapability(RequestBody):
    """The next decision must not name this capability."""

    type: Literal["veto_capability"]
    capability: Name


class SkipStep(RequestBody):
    """Skip a step."""

    type: Literal["skip_step"]
    step: Name


class SetRemainingHops(RequestBody):
    """Set how many hops may follow."""

    type: Literal["set_remaining_hops"]
    remaining_hops: int = Field(ge=0, le=10_000)


Action = Annotated[
    Pause | Resume | Cancel | SetState | ForceCapability | VetoCapability | SkipStep | SetRemainingHops,
    Field(discriminator="type"),
]


class Intervene(RequestBody):
    """An act on a run."""

    actor: Name
    """Who acts."""
    reason: str = Field(min_length=1, max_length=1_000)
    """Why."""
    action: Action
    request_id: RequestId = ""


class InterventionView(ContractView):
    """One act, as it is recorded."""

    contract = agent_v1.Intervention
    intervention_id: str
    run_id: str
    actor: str
    reason: str
    action: str
    create_time: datetime | None
    apply_time: datetime | None
    """When it took effect; None until the next step boundary."""
    before: dict[str, Any]
    after: dict[str, Any]
    entry: int
    """Position in the audit log, from 1."""
    sha256: str
    """Over this entry and the one before it."""
    outcome: str
    """`open` until the next boundary, then `applied`; or `superseded`, `failed`, `lapsed` (the run ended first)."""


class Intervened(View):
    """An act that was recorded, and the run as it is now."""

    intervention: InterventionView
    run: RunView


class Interventions(View):
    """Acts, newest first."""

    interventions: list[InterventionView]
    next_page_token: str


class AuditCheck(ContractView):
    """Whether the audit log is what was written."""

    contract = agent_v1.VerifyAuditResponse
    is_intact: bool
    entry_count: int
    first_broken_entry: int
    """0 when all entries fit their chain."""
    head_sha256: str


def guardian_routes(agent: AgentPeer) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api", responses=FAILURES, tags=["guardian"])

    @router.post("/runs/{run_id}/interventions", status_code=201)
    async def intervene(run_id: RunId, body: Intervene) -> Intervened:
        """Act on a run: pause, resume, cancel, or change what it will do next. Recorded before it is done."""
        request = agent_v1.InterveneRequest(
            run_id=run_id, request_id=body.request_id, actor=body.actor, reason=body.reason, **_action(body.action)
        )
        async with agent.guardian() as stub:
            done = await stub.Intervene(request, timeout=ACT_TIMEOUT_S)
        return Intervened(intervention=InterventionView.of(done.intervention), run=RunView.of(done.run))

    @router.get("/runs/{run_id}/interventions")
    async def list_interventions(run_id: RunId, page_size: PageSize = 0, page_token: PageToken = "") -> Interventions:
        """Acts on a run, newest first."""
        return await _list(agent, run_id, page_size, page_token)

    @router.get("/audit")
    async def list_audit(run_id: Text = "", page_size: PageSize = 0, page_token: PageToken = "") -> Interventions:
        """The audit log: acts on all runs, newest first."""
        return await _list(agent, run_id, page_size, page_token)

    @router.get("/audit/check")
    async def check_audit() -> AuditCheck:
        """Recompute the audit log's hash chain."""
        async with agent.guardian() as stub:
            return AuditCheck.of(await stub.VerifyAudit(agent_v1.VerifyAuditRequest(), timeout=ACT_TIMEOUT_S))

    return router


async def _list(agent: AgentPeer, run_id: str, page_size: int, page_token: str) -> Interventions:
    request = agent_v1.ListInterventionsRequest(run_id=run_id, page_size=page_size, page_token=page_token)
    async with agent.guardian() as stub:
        found = await stub.ListInterventions(request, timeout=ACT_TIMEOUT_S)
    interventions = [InterventionView.of(each) for each in found.interventions]
    return Interventions(interventions=interventions, next_page_token=found.next_page_token)


def _action(action: Action) -> dict[str, Any]:
    """The act as a field of `InterveneRequest`."""
    match action:
        case Pause():
            return {"pause": agent_v1.Pause()}
        case Resume():
            return {"resume": agent_v1.Resume()}
        case Cancel():
            return {"cancel": agent_v1.Cancel()}
        case SetState():
            return {"override": agent_v1.Override(state=json_object(action.state))}
        case ForceCapability():
            return {"override": agent_v1.Override(force_capability=action.capability)}
        case VetoCapability():
            return {"override": agent_v1.Override(veto_capability=action.capability)}
        case SkipStep():
            return {"override": agent_v1.Override(skip_step=action.step)}
        case SetRemainingHops():
            return {"override": agent_v1.Override(remaining_hops=action.remaining_hops)}
