"""The step that asks the user what is meant, and goes on with the answer."""

from typing import Any

from langgraph.runtime import Runtime

from services.agent.ports import Node
from services.agent.question import ask
from services.agent.state import RunContext, RunState

MAX_ANSWER_CHARS = 4_000
SCHEMA: dict[str, Any] = {"type": "string", "pattern": r"\S", "maxLength": MAX_ANSWER_CHARS}


def ask_user() -> Node:
    """Build the node: it puts question and answer below the query, for everybody who reads that from then on."""

    async def node(state: RunState, runtime: Runtime[RunContext]) -> RunState:
        question = state["decision"]["question"]
        answer = ask(state, question, "arbitrator", SCHEMA)
        return RunState(query=f"{state['query']}\n\nAsked: {question}\nAnswered: {answer}", has_asked=True)

    return node
