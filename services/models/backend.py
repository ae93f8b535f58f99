"""What the HTTP side needs of whatever writes the replies."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from services.models.chat_request import ChatRequest


@dataclass(frozen=True)
class Piece:
    """A part of a reply."""

    delta: Mapping[str, Any]
    """As in an OpenAI chunk: `content`, or `tool_calls`; empty in the last piece."""
    finish_reason: str = ""
    """Why the reply ended: `stop`, `length`, `tool_calls`; empty before the end."""
    usage: Mapping[str, Any] | None = None
    """Tokens, as OpenAI counts them; with the last piece."""


class Backend(Protocol):
    """Answers chat requests."""

    def running(self) -> AbstractAsyncContextManager[None]:
        """Hold what is needed while the context lasts."""
        ...

    def model_states(self) -> Mapping[str, str]:
        """Each model's name and state: `ready` or `absent`."""
        ...

    def resolve(self, name: str) -> str:
        """The proper name of a model or alias. Raises NotFound with the known names."""
        ...

    def chat(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Write a reply; closing the iterator stops the work.

        Raises InvalidInput, NotFound, LimitExceeded, ModelMissing, ModelCorrupt or ModelUnavailable.
        """
        ...
