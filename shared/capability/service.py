"""What a capability service is: a descriptor and an `invoke`."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from shared.call_context import CallContext
from shared.capability.outputs import Artifact, Yield

Effort = Literal["low", "medium", "high"]


@dataclass(frozen=True)
class Descriptor:
    """What a service is for: all that the router knows of it."""

    name: str
    """Unique in a mesh; lower-case letters, digits and hyphens."""
    description: str
    tags: tuple[str, ...]
    examples: tuple[str, ...] = ()
    """Requests it is good at, in users' words."""
    version: str = "0.1.0"
    roles: tuple[str, ...] = ()
    is_idempotent: bool = False
    """Whether a repeated call does no harm, under another key too."""
    is_transactional: bool = False
    """Whether all its effects are `Commit`s, so that without an outcome there was no effect.

    Known to the service only: to callers a repeated call with another key is a second effect.
    """


@dataclass(frozen=True)
class Message:
    """A message for the role that is invoked."""

    message_id: str
    sender_role: str
    """The role that sent it, or, from outside, a name such as "user"."""
    recipient_role: str
    payload: Mapping[str, Any]
    sequence: int = 0
    """Position among this sender's messages to this recipient, from 1."""
    hop_index: int = -1
    """The hop that sent it; -1 from outside."""
    in_reply_to: str = ""
    """The id of the message that it answers."""


@dataclass(frozen=True)
class Invocation:
    """One task."""

    task: str
    role: str = ""
    inbox: tuple[Message, ...] = ()
    """Messages for this role that it has not been given yet, in the order in which they were sent."""
    context: tuple[Artifact, ...] = ()
    """Work of earlier hops."""
    effort: Effort = "medium"
    max_output_tokens: int = 0
    """Tokens that may still be written; 0 means the service's own default."""
    remaining_hops: int = 0
    thread_id: str = ""
    run_id: str = ""
    tenant: str = "default"
    idempotency_key: str = ""
    hop_index: int = 0
    guarded_tools: tuple[str, ...] = ()
    """Tools that the SDK lets nobody call unapproved: see `shared.capability.guarded_tools`."""
    approved_tool_calls: tuple[str, ...] = ()
    """Digests of the calls of them that somebody approved."""


class Capability(Protocol):
    """A capability service's heart."""

    @property
    def descriptor(self) -> Descriptor:
        """What it is for."""
        ...

    def invoke(self, invocation: Invocation, call: CallContext) -> AsyncIterator[Yield]:
        """Do the task and yield what happens; the last output is the one `Result` or `Commit`.

        Raises anything of `shared.errors`, which ends the stream with a typed error.
        """
        ...
