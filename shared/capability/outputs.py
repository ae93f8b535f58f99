"""What a capability yields while it works. A stream ends with one `Result` or `Commit`, or with an exception."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from shared.storage.database import Work

if TYPE_CHECKING:
    from shared.models.chat import ChatUsage

Outcome = Literal["answered", "no_answer", "incomplete", "degraded"]


@dataclass(frozen=True)
class TextDelta:
    """A piece of the answer's text."""

    text: str


@dataclass(frozen=True)
class ToolCall:
    """A tool is about to be called."""

    id: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ToolResult:
    """A tool answered, or failed in a way that the model can act on."""

    id: str
    name: str
    content: str
    """The result as text; JSON when it has a structure."""
    is_error: bool = False


@dataclass(frozen=True)
class OutgoingMessage:
    """A message for another role of the run, which gets it on its next hop once this one is committed."""

    recipient_role: str
    payload: Mapping[str, Any]
    """JSON, at most 64 KiB."""
    in_reply_to: str = ""
    """The id of the message that this one answers."""
    expire_time: datetime | None = None
    """After this moment it is not delivered any more; None for never."""


@dataclass(frozen=True)
class Artifact:
    """A named piece of work that outlives the call: code, a program's output, a report."""

    id: str
    """Unique within the run."""
    kind: str
    name: str
    media_type: str
    text: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Citation:
    """Where a statement of the answer comes from."""

    number: int
    """The number used in the text, from 1."""
    source: str
    title: str = ""
    start_line: int = 0
    """From 1; 0 when the document has no lines."""
    end_line: int = 0
    page: int = 0
    """From 1; 0 when the document has no pages."""
    quote: str = ""
    chunk_id: str = ""
    score: float = 0.0


@dataclass(frozen=True)
class Usage:
    """What model calls cost."""

    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    calls: int = 1
    time_to_first_token_s: float = 0.0
    duration_s: float = 0.0

    @classmethod
    def of(cls, usage: "ChatUsage") -> "Usage":
        """What one call of a chat model cost."""
        return cls(**vars(usage))


@dataclass(frozen=True)
class Result:
    """The end: the whole answer, and whether it is one."""

    text: str
    outcome: Outcome = "answered"
    is_replayed: bool = False
    """Whether an earlier call with the same key did the work; set by the ledger, not by capabilities."""


@dataclass(frozen=True)
class Commit:
    """The end of a task whose effect is in the service's own file: effect and outcome become one transaction.

    `work` gets the connection to that file (the tables of `serve`'s schemas), does the effect and returns the result.
    It runs in the writer's thread, at most once for a key, and is undone when it raises.
    """

    work: Work[Result]


Output = TextDelta | ToolCall | ToolResult | OutgoingMessage | Artifact | Citation | Usage | Result
"""What a caller gets."""
Yield = Output | Commit
"""What a capability may yield."""
