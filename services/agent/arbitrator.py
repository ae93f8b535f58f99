"""Decides the next step: by model, by policy, or by fallback when the model fails. The decision says which."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.agent.prompts import ANSWER_NOW, ASK_USER, arbitrate_messages, decision_schema
from services.agent.state import Decision, RunState, has_answered, remaining_hops
from shared.capability import Descriptor
from shared.errors import ModelNonsense, WaystationError
from shared.models.chat import ChatMessage, ChatModel, ChatUsage
from shared.pb import common_v1

MAX_DECISION_TOKENS = 120
TRIES = 2
VAGUE = "What exactly would you like me to do?"


class ModelDecision(BaseModel):
    """The model's reply."""

    model_config = ConfigDict(extra="ignore")

    reason: str = Field(default="", max_length=1_000)
    next: str
    question: str = Field(default="", max_length=1_000)


@dataclass(frozen=True)
class Arbitration:
    """A decision and what the model calls for it cost."""

    decision: Decision
    usages: tuple[ChatUsage, ...] = ()


@dataclass(frozen=True)
class Thresholds:
    """When the router is believed without a model."""

    policy_confidence: float
    safe_confidence: float


async def arbitrate(
    state: RunState,
    services: Sequence[Descriptor],
    model: ChatModel,
    thresholds: Thresholds,
    timeout_s: float,
    mail: Sequence[common_v1.A2aMessage] = (),
) -> Arbitration:
    """Decide. A model that fails or answers nonsense twice is replaced by the fallback; this never raises for it."""
    ruled = decide_by_policy(state, services, thresholds)
    if ruled:
        return Arbitration(ruled)
    messages = arbitrate_messages(state, services, mail)
    open_services = [item.name for item in services if not has_served(state, item.name)]
    # a confident router knows what is wanted, and after a result it is too late to ask
    is_open = not state["hops"] and not state.get("has_asked")
    may_ask = is_open and state["recommendation"]["confidence"] < thresholds.policy_confidence
    schema = decision_schema(open_services, may_ask)
    usages: list[ChatUsage] = []
    problem: WaystationError = ModelNonsense("The model was not asked.")
    for _ in range(TRIES):
        try:
            completion = await model.complete(
                messages, schema=schema, max_tokens=MAX_DECISION_TOKENS, timeout=timeout_s
            )
            usages.append(completion.usage)
            return Arbitration(decide_by_model(completion.text, state, services), tuple(usages))
        except ModelNonsense as error:
            problem = error
            messages = [*messages, ChatMessage("user", f"That was not possible: {error.message} Decide again.")]
        except WaystationError as error:
            problem = error
            break
    return Arbitration(decide_by_fallback(state, services, thresholds, problem), tuple(usages))


def has_served(state: RunState, capability: str) -> bool:
    """Whether the service has already answered this request."""
    return any(hop["capability"] == capability and has_answered(hop) for hop in state["hops"])


def decide_by_policy(state: RunState, services: Sequence[Descriptor], thresholds: Thresholds) -> Decision | None:
    """What needs no model: exhausted hops, nothing to call, and low-effort requests with a confident router."""
    if remaining_hops(state) <= 0:
        return _decision(state, "answer", "", "No hops remain.", "policy")
    if not services and not state["hops"]:
        return _decision(state, "answer", "", "No service is there to call.", "policy")
    if state["effort"] != "low":
        return None
    if state["hops"]:
        if has_answered(state["hops"][-1]):
            return _decision(state, "answer", "", "The service answered.", "policy")
        return None
    recommendation = state["recommendation"]
    if recommendation["confidence"] < thresholds.policy_confidence:
        return None
    if not recommendation["top"]:
        return _decision(state, "answer", "", "The router is confident that no service fits.", "policy")
    if recommendation["top"] not in {service.name for service in services}:
        return None
    return _decision(state, "call", recommendation["top"], "The router is confident.", "policy")


def decide_by_model(reply: str, state: RunState, services: Sequence[Descriptor]) -> Decision:
    """Read the model's reply. Raises `ModelNonsense` when it is no possible decision."""
    try:
        answer = ModelDecision.model_validate_json(reply)
    except ValidationError:
        raise ModelNonsense("the reply is not the JSON that was asked for.") from None
    reason = answer.reason.strip() or "The model gave no reason."
    if answer.next == ANSWER_NOW:
        return _decision(state, "answer", "", reason, "model")
    if answer.next == ASK_USER:
        return _decision(state, "clarify", "", reason, "model", answer.question.strip())
    if answer.next not in {service.name for service in services}:
        raise ModelNonsense(f"there is no service {answer.next!r}.")
    if has_served(state, answer.next):
        raise ModelNonsense(f"{answer.next} has already answered this request.")
    return _decision(state, "call", answer.next, reason, "model")


def decide_by_fallback(
    state: RunState, services: Sequence[Descriptor], thresholds: Thresholds, problem: WaystationError
) -> Decision:
    """The safe way when the model cannot be used: a confident router's service once, otherwise an answer."""
    recommendation = state["recommendation"]
    why = f"The model could not decide: {problem.message}"
    is_sure = recommendation["confidence"] >= thresholds.safe_confidence
    is_there = recommendation["top"] in {service.name for service in services}
    if not state["hops"] and is_sure and is_there:
        return _decision(state, "call", recommendation["top"], why, "fallback")
    return _decision(state, "answer", "", why, "fallback")


def _decision(
    state: RunState,
    action: Literal["call", "answer", "clarify"],
    capability: str,
    reason: str,
    source: Literal["model", "policy", "fallback"],
    question: str = "",
) -> Decision:
    recommended = state["recommendation"]["top"]
    return Decision(
        action=action,
        capability=capability,
        reason=reason,
        question=(question or VAGUE) if action == "clarify" else "",
        source=source,
        is_override=not state["hops"] and capability != recommended,
        role="",
        task=state["query"] if action == "call" else "",
    )
