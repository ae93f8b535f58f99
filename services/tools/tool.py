"""What a tool is: a name, a description, a JSON schema of its arguments and one asynchronous call."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class ToolOutput:
    """What one call gave. It has the parts of an MCP tool result: text, structured content, an error flag."""

    text: str
    """One or more plain lines, fit for a model and for a person."""
    content: JsonObject = field(default_factory=dict)
    """The same, JSON-able, for programs."""
    values: tuple[str, ...] = ()
    """Spellings of the value that an answer built on this call has to state (any one will do), such as "409.5";
    none for a listing or a page."""
    is_error: bool = False
    """True when the call failed; `text` then says why and what to do instead."""


class ToolError(Exception):
    """A call that cannot be answered, in words its caller can act on: a result for the model, never a crash."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        """Stable machine-readable cause, such as "DIVISION_BY_ZERO"."""
        self.message = message
        """One sentence naming what is wrong and, where there is one, the remedy."""


class Tool(Protocol):
    """One tool. What an MCP server lists (name, description, input schema) and calls fits it as it is."""

    @property
    def name(self) -> str:
        """Unique in a registry; letters, digits and underscores."""
        ...

    @property
    def description(self) -> str:
        """What it does; the first sentence alone must be enough to choose it."""
        ...

    @property
    def input_schema(self) -> JsonObject:
        """JSON schema of the arguments, always of type object."""
        ...

    @property
    def timeout(self) -> timedelta:
        """The longest a call may take."""
        ...

    @property
    def origin(self) -> str:
        """Where it comes from: "builtin", or the name of the server that offers it."""
        ...

    @property
    def is_idempotent(self) -> bool:
        """Whether a repeated call does no further harm."""
        ...

    async def call(self, arguments: Mapping[str, Any]) -> ToolOutput:
        """Run once. Raises ToolError for what the caller can act on, invalid arguments included."""
        ...


class Arguments(BaseModel):
    """Base of every built-in tool's arguments: unknown fields are refused, so that a model hears of its typo."""

    model_config = ConfigDict(extra="forbid", frozen=True)


ArgumentsT = TypeVar("ArgumentsT", bound=Arguments)


class TypedTool(ABC, Generic[ArgumentsT]):
    """A tool written in this process: its arguments are a pydantic model, checked before `run` sees them."""

    name: ClassVar[str]
    description: ClassVar[str]
    arguments: type[ArgumentsT]
    timeout: timedelta = timedelta(seconds=5)
    origin: str = "builtin"
    is_idempotent: bool = True

    @property
    def input_schema(self) -> JsonObject:
        """JSON schema made from the argument model."""
        return self.arguments.model_json_schema()

    async def call(self, arguments: Mapping[str, Any]) -> ToolOutput:
        """Check the arguments and run. Raises ToolError; reason INVALID_ARGUMENTS names each bad field."""
        try:
            checked = self.arguments.model_validate(dict(arguments))
        except ValidationError as error:
            raise ToolError("INVALID_ARGUMENTS", _describe(self.name, error)) from error
        return await self.run(checked)

    @abstractmethod
    async def run(self, arguments: ArgumentsT) -> ToolOutput:
        """Do the work with checked arguments. Raises ToolError."""


def _describe(name: str, error: ValidationError) -> str:
    parts = (f"{'.'.join(map(str, item['loc'])) or 'arguments'}: {item['msg']}" for item in error.errors()[:5])
    return f"Arguments of {name} are not valid: " + "; ".join(parts)
