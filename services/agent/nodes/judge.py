"""The step that chooses one of several results for the answer."""

import json

from langgraph.runtime import Runtime

from services.agent.ports import Node, Ports
from services.agent.prompts import JUDGE, MAX_PROPOSAL_CHARS
from services.agent.spans import run_span
from services.agent.state import Hop, RunContext, RunState, has_answered
from shared.errors import ModelNonsense, WaystationError
from shared.models.chat import ChatMessage, ChatModel
from shared.pb import agent_v1
from shared.telemetry import attributes

MAX_TOKENS = 120


def judge(ports: Ports, timeout_s: float) -> Node:
    """Build the node: it writes `chosen_hop`. Without a usable word of the model the last one that works is chosen."""

    async def node(state: RunState, runtime: Runtime[RunContext]) -> RunState:
        proposals = [hop for hop in state["hops"] if has_answered(hop)]
        if not proposals:
            return RunState(chosen_hop=-1)
        with run_span(attributes.SPAN_ARBITRATE, runtime.context) as span:
            source = agent_v1.Decision.SOURCE_POLICY
            chosen, reason = _best(proposals), "There is one proposal only."
            if len(proposals) > 1:
                try:
                    chosen, reason = await _asked(ports.chat_models[state["effort"]], state, proposals, timeout_s)
                    source = agent_v1.Decision.SOURCE_MODEL
                except WaystationError as error:
                    source = agent_v1.Decision.SOURCE_FALLBACK
                    reason = f"The model could not choose: {error.message}"
            span.set_attributes(
                {attributes.DECISION_CAPABILITY: chosen["capability"], attributes.DECISION_REASON: reason}
            )
            decision = agent_v1.Decision(
                action=agent_v1.Decision.ACTION_ANSWER,
                capability=chosen["capability"],
                role=chosen["role"],
                reason=f"{chosen['step']}: {reason}",
                source=source,
            )
            ports.events.emit(runtime.context.run_id, agent_v1.DecisionMade(decision=decision))
        return RunState(chosen_hop=chosen["index"])

    return node


async def _asked(model: ChatModel, state: RunState, proposals: list[Hop], timeout_s: float) -> tuple[Hop, str]:
    """The model's choice and its reason. Raises `ModelNonsense` when it is none of the proposals."""
    shown = "\n\n".join(
        f"Proposal {number} ({hop['outcome']}):\n{hop['text'][:MAX_PROPOSAL_CHARS]}"
        for number, hop in enumerate(proposals, 1)
    )
    messages = [ChatMessage("system", JUDGE), ChatMessage("user", f"Request: {state['query']}\n\n{shown}")]
    numbers = list(range(1, len(proposals) + 1))
    schema = {
        "title": "choice",
        "type": "object",
        "properties": {"reason": {"type": "string", "maxLength": 200}, "proposal": {"enum": numbers}},
        "required": ["reason", "proposal"],
        "additionalProperties": False,
    }
    completion = await model.complete(messages, schema=schema, max_tokens=MAX_TOKENS, timeout=timeout_s)
    try:
        choice = json.loads(completion.text)
        return proposals[numbers.index(choice["proposal"])], str(choice["reason"])
    except (ValueError, KeyError, TypeError):
        raise ModelNonsense("the reply names no proposal.") from None


def _best(proposals: list[Hop]) -> Hop:
    return max(proposals, key=lambda hop: (hop["outcome"] == "answered", hop["index"]))
