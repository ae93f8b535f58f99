"""The SDK for writing a capability service: describe it, write `invoke`, and `serve` it."""

from shared.capability.outputs import (
    Artifact,
    Citation,
    Commit,
    OutgoingMessage,
    Output,
    Result,
    TextDelta,
    ToolCall,
    ToolResult,
    Usage,
    Yield,
)
from shared.capability.serve import serve
from shared.capability.service import Capability, Descriptor, Invocation, Message

__all__ = [
    "Artifact",
    "Capability",
    "Citation",
    "Commit",
    "Descriptor",
    "Invocation",
    "Message",
    "OutgoingMessage",
    "Output",
    "Result",
    "TextDelta",
    "ToolCall",
    "ToolResult",
    "Usage",
    "Yield",
    "serve",
]
