"""The arbitrator: what the model, the policy and the fallback decide, and what the decision says of it."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from services.agent.arbitrator import Thresholds, arbitrate
from services.agent.state import Candidate, Hop, Recommendation, RunState, initial_state
from shared.capability import Descriptor
from shared.capability.service import Effort
from shared.errors import DeadlineExceeded, ModelUnavailable, WaystationError
from shared.models.chat import ChatDelta, ChatMessage, Completion

SERVICES = (Descriptor("coding", "Writes code.", ("python",)), Descriptor("rag", "Finds.", ("retrieval",)))
THRESHOLDS = Thresholds(policy_confidence=0.8, safe_confidence=0.5)


class Replies:
    """A chat model that gives these replies in turn and remembers what it was asked."""

    def __init__(self, *replies: str | WaystationError) -> None:
        self.replies = list(replies)
        self.asked: list[Sequence[ChatMessage]] = []

    async def complete(self, messages: Sequence[ChatMessage], **_: Any) -> Completion:
        self.asked.append(messages)
        reply = self.replies.pop(0)
        if isinstance(reply, WaystationError):
            raise reply
        return Completion(reply)

    def stream(self, messages: Sequence[ChatMessage], **_: Any) -> AsyncIterator[ChatDelta]:
        raise AssertionError("the arbitrator does not stream")


def reply(following: str, question: str = "") -> str:
    return json.dumps({"reason": "because", "next": following, "question": question})


def state(
    *, effort: Effort = "medium", top: str = "coding", confidence: float = 0.9, hops: Sequence[Hop] = (), left: int = 3
) -> RunState:
    made = initial_state("Write a sort.", effort, len(hops) + left)
    candidates = [Candidate(service=top, confidence=confidence, matched_tags=[], nearest_examples=[])] if top else []
    made["recommendation"] = Recommendation(
        top=top, confidence=confidence, candidates=candidates, router="embedding", latency_ms=1.0
    )
    made["hops"] = list(hops)
    return made


def hop(capability: str = "coding", error: str = "") -> Hop:
    return Hop(
        index=0,
        step="call_capability",
        role=capability,
        capability=capability,
        text="" if error else "done",
        outcome="failed" if error else "answered",
        error=error,
        message=error,
        artifacts=[],
        citations=[],
    )


async def decide(run_state: RunState, model: Replies, services: Sequence[Descriptor] = SERVICES) -> Any:
    return (await arbitrate(run_state, services, model, THRESHOLDS, 1.0)).decision


async def test_the_model_decides_and_its_override_is_marked() -> None:
    decision = await decide(state(), Replies(reply("rag")))
    assert (decision["action"], decision["capability"], decision["source"]) == ("call", "rag", "model")
    assert decision["is_override"]


async def test_agreement_with_the_router_is_no_override() -> None:
    assert not (await decide(state(), Replies(reply("coding"))))["is_override"]


async def test_the_model_sees_router_results_and_remaining_hops() -> None:
    model = Replies(reply("answer_now"))
    await decide(state(hops=[hop("rag", "PEER_UNAVAILABLE")], left=2), model)
    prompt = model.asked[0][-1].content
    assert '"recommended": "coding"' in prompt
    assert "rag failed: PEER_UNAVAILABLE" in prompt
    assert "Remaining hops: 2" in prompt


@pytest.mark.parametrize("nonsense", ["not json", reply("teleport"), '{"next": 7}', "", "[]"])
async def test_nonsense_is_told_once_and_then_replaced(nonsense: str) -> None:
    model = Replies(nonsense, nonsense)
    decision = await decide(state(), model)
    assert (decision["source"], decision["capability"]) == ("fallback", "coding")
    assert "not possible" in model.asked[1][-1].content


async def test_a_good_second_try_counts_as_the_model() -> None:
    decision = await decide(state(), Replies("nonsense", reply("rag")))
    assert (decision["source"], decision["capability"]) == ("model", "rag")


@pytest.mark.parametrize("failure", [ModelUnavailable("down"), DeadlineExceeded("late")])
async def test_a_failing_model_is_asked_once_and_named(failure: WaystationError) -> None:
    model = Replies(failure)
    decision = await decide(state(), model)
    assert decision["source"] == "fallback"
    assert failure.message in decision["reason"]
    assert not model.replies


async def test_a_fallback_with_low_confidence_calls_nobody() -> None:
    decision = await decide(state(confidence=0.4), Replies(ModelUnavailable("down")))
    assert (decision["action"], decision["source"]) == ("answer", "fallback")


async def test_a_fallback_after_a_hop_answers() -> None:
    decision = await decide(state(hops=[hop()]), Replies(ModelUnavailable("down")))
    assert decision["action"] == "answer"


async def test_calling_a_service_that_has_answered_is_nonsense() -> None:
    decision = await decide(state(hops=[hop()]), Replies(reply("coding"), reply("coding")))
    assert (decision["action"], decision["source"]) == ("answer", "fallback")


async def test_a_failed_service_may_be_called_again() -> None:
    decision = await decide(state(hops=[hop(error="DEADLINE")]), Replies(reply("coding")))
    assert (decision["action"], decision["source"]) == ("call", "model")


@pytest.mark.parametrize(
    ("run_state", "action", "capability"),
    [
        (state(effort="low"), "call", "coding"),
        (state(effort="low", top=""), "answer", ""),
        (state(effort="low", hops=[hop()]), "answer", ""),
        (state(left=0, hops=[hop(error="DEADLINE")]), "answer", ""),
    ],
)
async def test_policy_needs_no_model(run_state: RunState, action: str, capability: str) -> None:
    decision = await decide(run_state, Replies())
    assert (decision["action"], decision["capability"], decision["source"]) == (action, capability, "policy")


async def test_low_effort_with_an_unsure_router_asks_the_model() -> None:
    decision = await decide(state(effort="low", confidence=0.6), Replies(reply("ask_user", question="Which sort?")))
    assert (decision["action"], decision["question"], decision["source"]) == ("clarify", "Which sort?", "model")


async def test_without_any_service_the_answer_needs_no_model() -> None:
    assert (await decide(state(), Replies(), services=()))["source"] == "policy"


async def test_a_recommended_service_that_left_is_not_called() -> None:
    decision = await decide(state(top="gone"), Replies(ModelUnavailable("down")))
    assert (decision["action"], decision["capability"]) == ("answer", "")
