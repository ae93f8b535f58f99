"""Asks a generative model which service fits: slower than examples, and its confidence is only its own word."""

import json
import time
from collections.abc import Collection, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.agent.router.example_router import ExampleRouter, check_query
from services.agent.router.recommendation import Candidate, Recommendation
from shared.capability import Descriptor
from shared.errors import InvalidInput, WaystationError
from shared.models.chat import ChatMessage, ChatModel

NOBODY = "none"
MAX_QUERY_CHARACTERS = 2_000
MAX_DESCRIPTION_CHARACTERS = 200

_INSTRUCTION = (
    "You route requests to services. Pick the one service that should handle the user's request. "
    f'Pick "{NOBODY}" for small talk, thanks, feelings, questions about yourself, and whatever no service is for. '
    "Say from 0 to 100 how sure you are.\n\nServices:\n"
)


class _Choice(BaseModel):
    """What the model may answer."""

    model_config = ConfigDict(extra="forbid")

    service: str
    confidence: int = Field(ge=0, le=100)


class GenerativeRouter:
    """A router that lets a chat model choose among what another router shortlists.

    The shortlist keeps the prompt short with a hundred services, supplies the reasons, and is the answer when the model
    fails, takes longer than `timeout_s` seconds or answers nonsense: then `Recommendation.router` names the other one.
    """

    def __init__(self, chat: ChatModel, shortlist: ExampleRouter, timeout_s: float = 10.0) -> None:
        self._chat = chat
        self._shortlist = shortlist
        self._timeout_s = timeout_s
        self._services: dict[str, Descriptor] = {}

    async def update(self, services: Sequence[Descriptor]) -> tuple[InvalidInput, ...]:
        """See `Router.update`."""
        errors = await self._shortlist.update(services)
        self._services = {service.name: service for service in services}
        return errors

    def expect(self, query: str) -> None:
        """See `Router.expect`. The model is asked when its answer is needed."""

    async def recommend(self, query: str, allowed: Collection[str] | None = None) -> Recommendation:
        """See `Router.recommend`."""
        started = time.perf_counter()
        check_query(query)
        short = await self._shortlist.recommend(query, allowed)
        if not short.candidates:
            return short
        try:
            choice = await self._ask(query, short.candidates)
        except (WaystationError, ValidationError):
            return short.model_copy(update={"latency_ms": (time.perf_counter() - started) * 1e3})
        return _answer(choice, short.candidates, started)

    async def _ask(self, query: str, candidates: Sequence[Candidate]) -> _Choice:
        names = [candidate.service for candidate in candidates]
        messages = (
            ChatMessage("system", _INSTRUCTION + "\n".join(self._describe(candidate) for candidate in candidates)),
            # As JSON, so that a query cannot pass for a part of the instruction.
            ChatMessage("user", json.dumps({"request": query[:MAX_QUERY_CHARACTERS]}, ensure_ascii=False)),
        )
        completion = await self._chat.complete(
            messages, schema=_schema(names), max_tokens=60, temperature=0.0, timeout=self._timeout_s
        )
        choice = _Choice.model_validate(completion.json())
        if choice.service not in (*names, NOBODY):
            raise InvalidInput(f"The model chose a service that was not offered: {choice.service[:80]!r}.")
        return choice

    def _describe(self, candidate: Candidate) -> str:
        service = self._services[candidate.service]
        line = {
            "name": service.name,
            "description": service.description[:MAX_DESCRIPTION_CHARACTERS],
            "examples": candidate.nearest_examples,
        }
        return json.dumps(line, ensure_ascii=False)


def _schema(names: Sequence[str]) -> dict[str, Any]:
    return {
        "title": "route",
        "type": "object",
        "properties": {
            "service": {"type": "string", "enum": [*names, NOBODY]},
            "confidence": {"type": "integer", "minimum": 0, "maximum": 100},
        },
        "required": ["service", "confidence"],
        "additionalProperties": False,
    }


def _answer(choice: _Choice, short: Sequence[Candidate], started: float) -> Recommendation:
    """Put the choice first and share what confidence is left among the others as the shortlist does."""
    confidence = choice.confidence / 100
    others = [candidate for candidate in short if candidate.service != choice.service]
    rest = sum(candidate.confidence for candidate in others) or 1.0
    ceiling = confidence if choice.service != NOBODY else 1.0
    scale = min(1.0, (1 - confidence) / rest)
    shared = [
        candidate.model_copy(update={"confidence": min(ceiling, candidate.confidence * scale)}) for candidate in others
    ]
    chosen = [
        candidate.model_copy(update={"confidence": confidence})
        for candidate in short
        if candidate.service == choice.service
    ]
    return Recommendation(
        top=choice.service if chosen else None,
        confidence=confidence,
        candidates=(*chosen, *shared),
        router="generative",
        latency_ms=(time.perf_counter() - started) * 1e3,
    )
