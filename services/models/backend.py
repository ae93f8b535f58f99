"""What answers chat requests: an interface, so that llama.cpp and the script are interchangeable."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Reply:
    """An HTTP reply on its way: status, media type, and a body that is streamed."""

    status: int
    media_type: str
    body: AsyncIterator[bytes]


class Refused(Exception):
    """A request that is not done; `status` and `code` go to the client in OpenAI's error format."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class Backend(Protocol):
    """Answers OpenAI chat completions."""

    def models(self) -> Sequence[str]:
        """The models that can be asked, the default one first."""
        ...

    def chat(self, body: Mapping[str, Any]) -> AbstractAsyncContextManager[Reply]:
        """Begin to answer a checked request body. Leaving the context early frees what the request holds.

        Raises `Refused`.
        """
        ...
