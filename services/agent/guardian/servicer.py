"""`waystation.agent.v1.GuardianService`: proto in, domain call, proto out."""

from typing import Any, cast

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from services.agent.guardian.audit import Act, Action, Order
from services.agent.guardian.guardian import Guardian
from shared.capability.wire import json_value
from shared.errors import InvalidInput
from shared.pb import agent_v1

DEFAULT_PAGE = 50
MAX_PAGE = 500
NEWEST = 2**62
"""An entry that comes after all there can be."""

_Context = grpc.aio.ServicerContext[Any, Any]
_STATES = {"pause": "paused", "resume": "running", "cancel": "cancelled"}


class GuardianServicer(agent_v1.GuardianServiceServicer):
    """The guardian over gRPC."""

    def __init__(self, guardian: Guardian) -> None:
        self._guardian = guardian

    async def Intervene(self, request: agent_v1.InterveneRequest, context: _Context) -> agent_v1.InterveneResponse:
        """See the contract."""
        act, run = await self._guardian.intervene(order_of(request))
        return agent_v1.InterveneResponse(intervention=act_to_proto(act), run=run)

    async def ListInterventions(
        self, request: agent_v1.ListInterventionsRequest, context: _Context
    ) -> agent_v1.ListInterventionsResponse:
        """See the contract."""
        size = request.page_size or DEFAULT_PAGE
        if not 0 <= request.page_size <= MAX_PAGE:
            raise InvalidInput(f"page_size must be 0 to {MAX_PAGE}.", field="page_size", limit=MAX_PAGE)
        if request.page_token and not request.page_token.isdecimal():
            raise InvalidInput("page_token is none of ours.", field="page_token")
        before = min(int(request.page_token[:19]), NEWEST) if request.page_token else NEWEST
        acts = await self._guardian.page(request.run_id, before, size + 1)
        return agent_v1.ListInterventionsResponse(
            interventions=[act_to_proto(act) for act in acts[:size]],
            next_page_token=str(acts[size - 1].entry) if len(acts) > size else "",
        )

    async def VerifyAudit(
        self, request: agent_v1.VerifyAuditRequest, context: _Context
    ) -> agent_v1.VerifyAuditResponse:
        """See the contract."""
        verdict = await self._guardian.verify()
        return agent_v1.VerifyAuditResponse(
            is_intact=not verdict.first_broken,
            entry_count=verdict.entry_count,
            first_broken_entry=verdict.first_broken,
            head_sha256=verdict.head_sha256,
        )


def order_of(request: agent_v1.InterveneRequest) -> Order:
    """What a request asks for. Raises `InvalidInput` when it names no act."""
    action, change = _asked(request)
    return Order(request.run_id, request.actor, request.reason, action, change, request.request_id)


def _asked(request: agent_v1.InterveneRequest) -> tuple[Action, dict[str, Any]]:
    action = request.WhichOneof("action")
    if action in _STATES:
        return cast(Action, action), {"state": _STATES[action]}
    override = request.override
    match override.WhichOneof("change"):
        case "state":
            return "set_state", json_value(override.state)
        case "force_capability":
            return "force_capability", {"capability": override.force_capability}
        case "veto_capability":
            return "veto_capability", {"capability": override.veto_capability}
        case "skip_step":
            return "skip_step", {"step": override.skip_step}
        case "remaining_hops":
            return "set_state", {"remaining_hops": override.remaining_hops}
    raise InvalidInput(
        "The request says not what to do.", remedy="Set pause, resume, cancel or a change of override.", field="action"
    )


def act_to_proto(act: Act) -> agent_v1.Intervention:
    """The message for an act; what was asked for stands in `after` until it has taken effect."""
    order, effect = act.order, act.effect
    message = agent_v1.Intervention(
        intervention_id=act.act_id,
        run_id=order.run_id,
        actor=order.actor,
        reason=order.reason,
        action=order.action,
        create_time=_timestamp(act.time_ns),
        entry=act.entry,
        sha256=act.sha256,
        outcome=effect.outcome if effect else "open",
    )
    if effect and effect.outcome == "applied":
        message.apply_time.CopyFrom(_timestamp(effect.time_ns))
    message.before.update(dict(effect.before) if effect else {})
    message.after.update(dict(effect.after if effect else order.change))
    return message


def _timestamp(time_ns: int) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromNanoseconds(time_ns)
    return timestamp
