"""The step that answers: with a hop's own words, with several results put together, or without any hop."""

from collections.abc import Sequence

from langgraph.runtime import Runtime

from services.agent.ports import Node, Ports
from services.agent.prompts import answer_messages, compose_messages
from services.agent.spans import run_span
from services.agent.state import Hop, RunContext, RunState, has_answered
from services.agent.threads.conversation import remember
from services.agent.verdicts import is_unresolved
from shared.models.chat import ChatMessage
from shared.pb import agent_v1
from shared.telemetry import attributes

MAX_ANSWER_TOKENS = {"low": 200, "medium": 400, "high": 800}


def respond(ports: Ports, timeout_s: float, context_budget_tokens: int, answer_from: Sequence[str] = ()) -> Node:
    """Build the node: it writes `answer`, adds the turn to `conversation`, and says whether a review is unresolved.

    The answer is the result that a judge chose, or the best of the first of the steps `answer_from` that has one;
    what the other steps brought, such as a review, is then never the answer.
    """

    async def write(messages: Sequence[ChatMessage], state: RunState, run_context: RunContext) -> str:
        texts = []
        model = ports.chat_models[state["effort"]]
        async for delta in model.stream(messages, max_tokens=MAX_ANSWER_TOKENS[state["effort"]], timeout=timeout_s):
            if delta.text:
                texts.append(delta.text)
                ports.events.emit_text(run_context.run_id, delta.text, "respond", -1)
        return "".join(texts).strip()

    async def answer(state: RunState, run_context: RunContext) -> str:
        decision, answered = state.get("decision"), _answered(state, answer_from)
        if decision and decision["action"] == "clarify" and not state["hops"]:
            ports.events.emit_text(run_context.run_id, decision["question"], "respond", -1)
            return decision["question"]
        best = _best(answered, state["chosen_hop"], answer_from)
        if best:
            return best["text"]  # it was streamed while the hop ran
        if answered:
            return await write(compose_messages(state["query"], answered), state, run_context)
        failed = [hop for hop in state["hops"] if not has_answered(hop)]
        apology = "".join(f"({hop['capability']} could not help: {hop['message']})\n\n" for hop in failed)
        if apology:
            ports.events.emit_text(run_context.run_id, apology, "respond", -1)
        return apology + await write(answer_messages(state, ports.directory.services()), state, run_context)

    async def node(state: RunState, runtime: Runtime[RunContext]) -> RunState:
        with run_span(attributes.SPAN_RESPOND, runtime.context):
            text = await answer(state, runtime.context)
        ids, former = runtime.context, state.get("conversation", [])
        conversation = remember(former, ids.run_id, state["query"], text, context_budget_tokens)
        update = RunState(answer=text, conversation=conversation)
        if is_unresolved(state):
            update["has_unresolved_review"] = True
            changed = agent_v1.CycleChanged(
                current_cycle=state["current_cycle"], max_cycles=state["max_cycles"], has_unresolved_review=True
            )
            ports.events.emit(ids.run_id, changed)
        return update

    return node


def _answered(state: RunState, answer_from: Sequence[str]) -> list[Hop]:
    """The hops that the answer may come from."""
    return [
        hop
        for hop in state["hops"]
        if has_answered(hop) and (not answer_from or hop["step"] in answer_from or hop["index"] == state["chosen_hop"])
    ]


def _best(answered: Sequence[Hop], chosen: int, answer_from: Sequence[str]) -> Hop | None:
    """The hop whose text is the answer; None when several have to be put together."""
    if len(answered) == 1:
        return answered[0]
    for hop in answered:
        if hop["index"] == chosen:
            return hop
    for name in answer_from:
        made = [hop for hop in answered if hop["step"] == name]
        if made:
            return max(made, key=lambda hop: (hop["outcome"] == "answered", hop["index"]))
    return None
