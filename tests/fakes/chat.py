"""A chat model that follows a script: for tests of what is around the model."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.models.chat import ChatDelta, ChatMessage, ChatUsage, Completion


@dataclass(frozen=True)
class ChatRequest:
    """What the model was asked."""

    messages: tuple[ChatMessage, ...]
    schema: dict[str, Any] | None
    max_tokens: int
    temperature: float
    timeout: float | None

    @property
    def text(self) -> str:
        """The contents of all messages."""
        return "\n".join(message.content for message in self.messages)


@dataclass
class ScriptedChatModel:
    """Gives its replies one after the other, a line a piece; a reply that is an exception is raised."""

    replies: list[str | Exception]
    requests: list[ChatRequest] = field(default_factory=list)

    async def stream(
        self,
        messages: Sequence[ChatMessage],
        *,
        schema: dict[str, Any] | None = None,
        max_tokens: int = 512,
        temperature: float = 0.0,
        timeout: float | None = None,
    ) -> AsyncIterator[ChatDelta]:
        """See `ChatModel.stream`."""
        self.requests.append(ChatRequest(tuple(messages), schema, max_tokens, temperature, timeout))
        reply = self.replies[len(self.requests) - 1]
        if isinstance(reply, Exception):
            raise reply
        pieces = reply.splitlines(keepends=True)
        for piece in pieces:
            yield ChatDelta(piece)
        yield ChatDelta(usage=ChatUsage("scripted", input_tokens=len(messages), output_tokens=len(pieces)))

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
        deltas = self.stream(messages, schema=schema, max_tokens=max_tokens, temperature=temperature, timeout=timeout)
        text, usage = "", ChatUsage()
        async for delta in deltas:
            text, usage = text + delta.text, delta.usage or usage
        return Completion(text, usage)
