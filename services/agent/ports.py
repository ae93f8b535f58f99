"""What the nodes need of the world."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from google.protobuf.message import Message
from langgraph.runtime import Runtime

from services.agent.approvals import Approvals
from services.agent.mailbox.delivery import Delivery, Recipient
from services.agent.state import Hop, Recommendation, RunContext, RunState
from shared.capability import Artifact, Descriptor, OutgoingMessage, Output
from shared.capability.service import Effort
from shared.models.chat import ChatModel
from shared.pb import common_v1


class Node(Protocol):
    """A step of the graph: state in, changed keys out."""

    async def __call__(self, state: RunState, *, runtime: Runtime[RunContext]) -> RunState:
        """Do one thing that can fail."""
        ...


class Router(Protocol):
    """Says which services fit a query."""

    async def recommend(self, query: str, tags: Collection[str] = ()) -> Recommendation:
        """Score the query against the services that are there, healthy and have all `tags`."""
        ...


class Directory(Protocol):
    """Knows the capability services that are there and healthy."""

    def services(self) -> Sequence[Descriptor]:
        """What can be called now."""
        ...

    def is_idempotent(self, capability: str) -> bool:
        """Whether a repeated call to it does no harm."""
        ...

    def address_of(self, capability: str) -> str:
        """Where the next call to it goes; "" when it is not there."""
        ...


class Capabilities(Protocol):
    """Calls capability services."""

    def invoke(self, capability: str, task: "HopTask", run_context: RunContext) -> "AsyncIterator[Output | Moved]":
        """Call it and stream its outputs. Raises from `shared.errors`, within `task.timeout_s`.

        `InDoubt` says that an effect may have happened and nobody knows: somebody must decide.
        """
        ...


@dataclass(frozen=True)
class Moved:
    """A call goes to another address than its task said, and nothing of it has happened yet."""

    address: str


@dataclass(frozen=True)
class HopTask:
    """What a hop is to do."""

    text: str
    effort: Effort
    idempotency_key: str
    hop_index: int
    remaining_hops: int
    timeout_s: float
    step: str
    """The step of the workflow that makes the hop."""
    role: str = ""
    """The role to act in; empty for the service's only or first one."""
    current_cycle: int = 0
    remaining_cycles: int = 0
    context: tuple[Artifact, ...] = ()
    earlier: tuple[Hop, ...] = ()
    """The hops before it."""
    inbox: tuple[common_v1.A2aMessage, ...] = ()
    address: str = ""
    """Where the call was said to go; one that may have been made before goes nowhere else without being asked."""
    may_have_run: bool = False
    """Whether an earlier attempt may have made this call already."""
    repeats_in_doubt: bool = False
    """Whether somebody decided that an attempt in doubt is made again."""
    guarded_tools: tuple[str, ...] = ()
    """Tools that the service must not call unapproved."""
    approved_tool_calls: tuple[str, ...] = ()
    """Digests of the calls of guarded tools that somebody approved."""


class Mail(Protocol):
    """Takes and hands out the messages between roles."""

    def deliver(self, recipient: Recipient, hops: Sequence[Hop]) -> "Future[Delivery]":
        """Give a hop that is about to be made the messages for its role; `hops` are those before it."""
        ...

    async def keep_sent(
        self, sender: Recipient, run_context: RunContext, outgoing: Sequence[OutgoingMessage], failure: str = ""
    ) -> None:
        """Store what a hop has sent; with a `failure`, as dead letters."""
        ...

    def recent(self, run_id: str, limit: int) -> Sequence[common_v1.A2aMessage]:
        """The run's last messages, oldest first."""
        ...


class Events(Protocol):
    """Takes what happens in a run."""

    def emit(self, run_id: str, payload: Message) -> "Future[None]":
        """Number, store and publish a payload of `RunEvent`. Never blocks; the future is done when it is stored."""
        ...

    def flush(self, run_id: str) -> None:
        """Number and store the text that still waits for more."""
        ...

    def emit_text(self, run_id: str, text: str, step: str, hop_index: int) -> None:
        """Publish a piece of text; small pieces in quick succession become one event."""
        ...


@dataclass(frozen=True)
class Ports:
    """Everything that the nodes are built with."""

    router: Router
    directory: Directory
    capabilities: Capabilities
    events: Events
    mail: Mail
    chat_models: Mapping[Effort, ChatModel]
    approvals: Approvals = field(default_factory=Approvals)
    """Which calls somebody must approve first."""
