"""The step that answers: with a hop's own words, with several results put together, or without any hop."""

from collections.abc import Sequence

from langgraph.runtime import Runtime

from services.agent.ports import Node, Ports
from services.agent.prompts import answer_messages, compose_messages
from services.agent.spans import run_span
from services.agent.state import RunContext, RunState, has_answered
from services.agent.threads.conversation import remember
from shared.models.chat import ChatMessage
from shared.telemetry import attributes

MAX_ANSWER_TOKENS = {"low": 200, "medium": 400, "high": 800}


def respond(ports: Ports, timeout_s: float, context_budget_tokens: int) -> Node:
    """Build the node: it writes `answer` and adds the turn to `conversation`."""

    async def write(messages: Sequence[ChatMessage], state: RunState, run_context: RunContext) -> str:
        texts = []
        model = ports.chat_models[state["effort"]]
        async for delta in model.stream(messages, max_tokens=MAX_ANSWER_TOKENS[state["effort"]], timeout=timeout_s):
            if delta.text:
                texts.append(delta.text)
                ports.events.emit_text(run_context.run_id, delta.text, "respond", -1)
        return "".join(texts).strip()

    async def answer(state: RunState, run_context: RunContext) -> str:
        decision, answered = state["decision"], [hop for hop in state["hops"] if has_answered(hop)]
        if decision["action"] == "clarify" and not answered:
            ports.events.emit_text(run_context.run_id, decision["question"], "respond", -1)
            return decision["question"]
        if len(answered) == 1:
            return answered[0]["text"]  # its text was streamed while the hop ran
        if answered:
            return await write(compose_messages(state["query"], answered), state, run_context)
        apology = "".join(f"({hop['capability']} could not help: {hop['message']})\n\n" for hop in state["hops"])
        if apology:
            ports.events.emit_text(run_context.run_id, apology, "respond", -1)
        return apology + await write(answer_messages(state, ports.directory.services()), state, run_context)

    async def node(state: RunState, runtime: Runtime[RunContext]) -> RunState:
        with run_span(attributes.SPAN_RESPOND, runtime.context):
            text = await answer(state, runtime.context)
        ids, former = runtime.context, state.get("conversation", [])
        conversation = remember(former, ids.run_id, state["query"], text, context_budget_tokens)
        return RunState(answer=text, conversation=conversation)

    return node
