"""Tool calls that somebody must approve before they are made.

A capability yields a `ToolCall` before it calls, so that a call which is not approved ends the task there.
"""

import hashlib
import json

from shared.capability.outputs import ToolCall
from shared.capability.service import Invocation
from shared.errors import ApprovalRequired

MAX_ARGUMENTS_CHARS = 500
"""Of the arguments, what whoever approves is shown."""


def check_approved(call: ToolCall, invocation: Invocation) -> None:
    """Raise `ApprovalRequired` for a call of a guarded tool that nobody has approved with these arguments."""
    if call.name not in invocation.guarded_tools or (digest := call_digest(call)) in invocation.approved_tool_calls:
        return
    shown = _canonical(call.arguments)
    raise ApprovalRequired(
        f"{call.name} is not called before somebody approves.",
        tool=call.name,
        arguments=shown if len(shown) <= MAX_ARGUMENTS_CHARS else f"{shown[:MAX_ARGUMENTS_CHARS]}…",
        digest=digest,
    )


def call_digest(call: ToolCall) -> str:
    """SHA-256, in hexadecimal, over the tool's name, a newline and its arguments as canonical JSON."""
    return hashlib.sha256(f"{call.name}\n{_canonical(call.arguments)}".encode()).hexdigest()


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
