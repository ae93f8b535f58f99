"""What the chat model is told. Fixed text first, so that the server's prompt cache holds it."""

import json
from collections.abc import Sequence
from typing import Any

from services.agent.state import Hop, Recommendation, RunState, Turn, remaining_hops
from services.agent.threads.conversation import is_kept, told
from shared.capability import Descriptor
from shared.capability.wire import json_value
from shared.models.chat import ChatMessage
from shared.pb import common_v1

MAX_TURNS = 4
MAX_TURN_CHARS = 300
MAX_RESULT_CHARS = 400
MAX_MESSAGES = 4
MAX_MESSAGE_CHARS = 200

ANSWER_NOW = "answer_now"
ASK_USER = "ask_user"
"""Next steps that are no service; a service's name cannot have an underscore."""

ARBITRATE = """You are the arbitrator of an agent mesh. Choose the next step for the user's request.
Next steps:
{services}
- answer_now: small talk, questions about you, or the results already answer the request.
- ask_user: only when nobody could tell what is wanted.
The router's recommendation is usually right when its confidence is above 0.5.
Reply as JSON: reason (at most 8 words), next, question (only with ask_user)."""

SURE = 0.9
"""From here on the router is right in about 98 of 100 cases (docs/router.md), which the model is told."""

MAX_SHOWN_SERVICES = 4
"""Services that the prompt shows an example of; the others are listed only."""

ANSWER = """You are Waystation, a friendly assistant that works through services: {services}.
Answer briefly, in the user's language. Say so when you do not know something. Never invent facts or sources."""

JUDGE = """You are the judge of proposals by several workers for one request. Choose the one that does what was asked
completely and correctly; a proposal that works counts more than one that is long.
Reply as JSON: reason (at most 15 words), proposal (its number)."""

MAX_PROPOSAL_CHARS = 2_000

COMPOSE = "Write the final answer to the request from the results below, and from nothing else. Be brief."


def decision_schema(names: Sequence[str], may_ask: bool) -> dict[str, Any]:
    """JSON Schema of a decision: one of the named services, an answer, or, if it may be, a question."""
    ends = [ANSWER_NOW, ASK_USER] if may_ask else [ANSWER_NOW]
    question = {"question": {"type": "string", "maxLength": 200}} if may_ask else {}
    return {
        "title": "decision",
        "type": "object",
        "properties": {"reason": {"type": "string", "maxLength": 90}, "next": {"enum": [*names, *ends]}, **question},
        "required": ["reason", "next"],
        "additionalProperties": False,
    }


def arbitrate_messages(
    state: RunState, services: Sequence[Descriptor], mail: Sequence[common_v1.A2aMessage] = ()
) -> list[ChatMessage]:
    """The prompt: services, an example of each step, conversation, request, router, results, messages, hops."""
    listed = "\n".join(f"- {service.name}: {service.description}" for service in services) or "- none"
    parts = [
        *_conversation(state.get("conversation", [])),
        _asked(state["query"], state["recommendation"]),
        *(_result(index, hop) for index, hop in enumerate(state["hops"], 1)),
        *map(_message, mail[-MAX_MESSAGES:]),
        f"Remaining hops: {remaining_hops(state)}",
        *([f"Remaining cycles: {state['max_cycles'] - state['current_cycle']}"] if state["max_cycles"] else []),
    ]
    if state["hops"]:
        parts.append("Choose answer_now unless a part of the request is still open.")
    elif state["recommendation"]["confidence"] >= SURE:
        step = state["recommendation"]["top"] or ANSWER_NOW
        parts.append(
            f"At this confidence the router is almost always right: choose {step} unless that is plainly wrong."
        )
    return [
        ChatMessage("system", ARBITRATE.format(services=listed)),
        *_examples(services),
        ChatMessage("user", "\n".join(parts)),
    ]


def _examples(services: Sequence[Descriptor]) -> list[ChatMessage]:
    """A request and its decision for each kind of next step, in the words of the services themselves."""
    shown = [service for service in services if service.examples][:MAX_SHOWN_SERVICES]
    turns = [(service.examples[0], service.name, f"{service.name} does this", service.name) for service in shown]
    turns += [
        ("thanks, that was great", ANSWER_NOW, "small talk", ANSWER_NOW),
        ("do it", ANSWER_NOW, "too vague", ASK_USER),
    ]
    messages = []
    for request, router, reason, following in turns:
        decision = {"reason": reason, "next": following}
        if following == ASK_USER:
            decision["question"] = "What would you like me to do?"
        asked = f'Request: {request}\nRouter: {{"recommended": "{router}"}}\nRemaining hops: 3'
        messages += [ChatMessage("user", asked), ChatMessage("assistant", json.dumps(decision))]
    return messages


def _asked(query: str, recommendation: Recommendation) -> str:
    router = {
        # a small model takes "none" for an open question, and the name of a step for an answer
        "recommended": recommendation["top"] or ANSWER_NOW,
        "confidence": round(recommendation["confidence"], 2),
        "others": {
            item["service"]: round(item["confidence"], 2)
            for item in recommendation["candidates"]
            if item["service"] != recommendation["top"]
        },
    }
    return f"Request: {query}\nRouter: {json.dumps(router)}"


def answer_messages(state: RunState, services: Sequence[Descriptor]) -> list[ChatMessage]:
    """The prompt for an answer without a hop, or after hops that failed."""
    names = ", ".join(service.name for service in services) or "none at the moment"
    turns = state.get("conversation", [])
    lines = [turn["summary"] for turn in turns if not is_kept(turn)]
    earlier = "\nEarlier in this conversation:\n" + "\n".join(lines) if lines else ""
    messages = [ChatMessage("system", ANSWER.format(services=names) + earlier)]
    for turn in filter(is_kept, turns):
        messages += [ChatMessage("user", turn["query"]), ChatMessage("assistant", turn["answer"])]
    return [*messages, ChatMessage("user", state["query"])]


def compose_messages(query: str, hops: Sequence[Hop]) -> list[ChatMessage]:
    """The prompt for an answer made of several results."""
    results = "\n\n".join(f"Result of {hop['capability']}:\n{hop['text'][: 3 * MAX_RESULT_CHARS]}" for hop in hops)
    return [ChatMessage("system", COMPOSE), ChatMessage("user", f"Request: {query}\n\n{results}")]


def _conversation(turns: Sequence[Turn]) -> list[str]:
    return [f"Earlier: {told(turn, MAX_TURN_CHARS)}" for turn in turns[-MAX_TURNS:]]


def _result(number: int, hop: Hop) -> str:
    if hop["error"]:
        return f"Result {number}, {hop['capability']} failed: {hop['message'][:MAX_RESULT_CHARS]}"
    return f"Result {number}, {hop['capability']} ({hop['outcome']}): {hop['text'][:MAX_RESULT_CHARS]}"


def _message(message: common_v1.A2aMessage) -> str:
    payload = json.dumps(json_value(message.payload), ensure_ascii=False)
    return f"Message from {message.sender_role} to {message.recipient_role}: {payload[:MAX_MESSAGE_CHARS]}"
