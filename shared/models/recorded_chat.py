"""A chat model whose finished replies are in the effect ledger: a step done again does not pay for them twice."""

import dataclasses
import hashlib
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, cast

import orjson
from opentelemetry import trace

from shared.call_context import current_call
from shared.errors import WaystationError
from shared.fault_points import fault_point
from shared.models.chat import ChatDelta, ChatMessage, ChatModel, ChatUsage, Completion
from shared.storage.ledger import Ledger
from shared.telemetry import attributes

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class _Slot:
    """Where one generation's reply belongs."""

    key: str
    digest: bytes


class RecordedChatModel:
    """`model`, with `ledger` before it; outside work that has effect keys it is just `model`.

    A reply is recorded when it is complete, and the caller does not wait for the commit: lost in a crash, it is made
    again. A ledger that fails costs a generation, never a reply. A recorded reply brings the usage it once cost, which
    counts now: that of the attempt which paid was lost with it.
    """

    def __init__(self, model: ChatModel, ledger: Ledger) -> None:
        self._model, self._ledger = model, ledger

    async def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        schema: dict[str, Any] | None = None,
        max_tokens: int = 512,
        temperature: float = 0.0,
        timeout: float | None = None,
    ) -> Completion:
        """See `ChatModel.complete`."""
        slot = _slot(messages, schema, max_tokens, temperature)
        recorded = await self._recall(slot)
        if recorded:
            return recorded
        completion = await self._model.complete(
            messages, schema=schema, max_tokens=max_tokens, temperature=temperature, timeout=timeout
        )
        self._record(slot, completion)
        return completion

    async def stream(
        self,
        messages: Sequence[ChatMessage],
        *,
        schema: dict[str, Any] | None = None,
        max_tokens: int = 512,
        temperature: float = 0.0,
        timeout: float | None = None,
    ) -> AsyncIterator[ChatDelta]:
        """See `ChatModel.stream`; a recorded reply comes as one piece."""
        slot = _slot(messages, schema, max_tokens, temperature)
        recorded = await self._recall(slot)
        if recorded:
            yield ChatDelta(recorded.text)
            yield ChatDelta(usage=recorded.usage)
            return
        texts, usage = [], ChatUsage()
        deltas = self._model.stream(
            messages, schema=schema, max_tokens=max_tokens, temperature=temperature, timeout=timeout
        )
        async with aclosing(cast(Any, deltas)):
            async for delta in deltas:
                texts.append(delta.text)
                usage = delta.usage or usage
                yield delta
        self._record(slot, Completion("".join(texts), usage))

    async def _recall(self, slot: _Slot | None) -> Completion | None:
        if not slot:
            return None
        try:
            found = await self._ledger.look_up(slot.key, slot.digest)
        except WaystationError as error:
            logger.error("the reply %s cannot be looked up: %s", slot.key, error)
            return None
        if not found:
            return None
        trace.get_current_span().set_attribute(attributes.REPLAYED, True)
        try:
            document = orjson.loads(found.outcome)
            return Completion(document["text"], ChatUsage(**document["usage"]))
        except (ValueError, TypeError, KeyError) as error:  # another version's
            logger.warning("the reply %s is not one of ours and is made again: %s", slot.key, error)
            return None

    def _record(self, slot: _Slot | None, completion: Completion) -> None:
        if not slot:
            return
        fault_point("after_effect")
        outcome = orjson.dumps(completion)
        self._ledger.note(slot.key, slot.digest, outcome)
        fault_point("after_record")


def _slot(
    messages: Sequence[ChatMessage], schema: dict[str, Any] | None, max_tokens: int, temperature: float
) -> _Slot | None:
    """The place of the next reply to this request in the current work; equal requests count up."""
    call_context = current_call()
    if not call_context or not call_context.effect_keys:
        return None
    request = [list(messages), schema, max_tokens, temperature]
    digest = hashlib.sha256(orjson.dumps(request, option=orjson.OPT_SORT_KEYS))
    return _Slot(call_context.effect_keys.next(f"chat/{digest.hexdigest()[:16]}"), digest.digest())
