"""The guardian's word on what comes next: what the decision must name, what it must not, and which call is left out."""

from collections.abc import Sequence

from services.agent.state import Decision, Recommendation, RunState, remaining_hops
from shared.capability import Descriptor


def forced_decision(state: RunState) -> Decision | None:
    """The decision that a guardian has made already; None when there is none, or no hop remains for it."""
    capability = state.get("forced_capability", "")
    if not capability or remaining_hops(state) <= 0:
        return None
    return Decision(
        action="call",
        capability=capability,
        reason="A guardian forced it.",
        question="",
        source="guardian",
        is_override=not state["hops"] and capability != state["recommendation"]["top"],
        role="",
        task=state["query"],
    )


def without_vetoed(state: RunState, services: Sequence[Descriptor]) -> tuple[RunState, list[Descriptor]]:
    """The state and the services as the arbitrator is to see them: without what a guardian vetoed."""
    vetoed = state.get("vetoed_capabilities", [])
    if not vetoed:
        return state, list(services)
    left = [service for service in services if service.name not in vetoed]
    return state | RunState(recommendation=_without(state["recommendation"], vetoed)), left


def is_skipped(state: RunState, step: str) -> bool:
    """Whether the step's next call is to be left out: it was ordered, and the step has made no hop since."""
    since = state.get("skipped_steps", {}).get(step)
    return since is not None and not any(hop["step"] == step and hop["index"] >= since for hop in state["hops"])


def _without(recommendation: Recommendation, vetoed: Sequence[str]) -> Recommendation:
    candidates = [item for item in recommendation["candidates"] if item["service"] not in vetoed]
    if recommendation["top"] not in vetoed:
        return Recommendation(**{**recommendation, "candidates": candidates})
    best = candidates[0] if candidates else None
    return Recommendation(
        top=best["service"] if best else "",
        confidence=best["confidence"] if best else 0.0,
        candidates=candidates,
        router=recommendation["router"],
        latency_ms=recommendation["latency_ms"],
    )
