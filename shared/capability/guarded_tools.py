"""Tool calls that somebody must approve before they are made.

A capability yields a `ToolCall` before it calls, so that a call which is not approved ends the task there.
"""

import hashlib
import json
from collections import Counter

from shared.capability.outputs import ToolCall
from shared.capability.service import Invocation
from shared.errors import ApprovalRequired
from shared.telemetry.redaction import redacted

MAX_ARGUMENT_CHARS = 200
MAX_ARGUMENTS_CHARS = 2_000
"""Of an argument and of all of them, what whoever approves is shown."""


class ToolGuard:
    """Lets the calls of one invocation through: those of tools that nobody guards, and each approved one once."""

    def __init__(self, invocation: Invocation) -> None:
        self._guarded, self._approved = invocation.guarded_tools, invocation.approved_tool_calls
        self._seen: Counter[str] = Counter()

    def check(self, call: ToolCall) -> None:
        """Raise `ApprovalRequired` for a call of a guarded tool that nobody has approved with these arguments."""
        if call.name not in self._guarded:
            return
        asked = f"{call.name}\n{json.dumps(call.arguments, sort_keys=True, separators=(',', ':'), default=str)}"
        self._seen[asked] += 1
        digest = hashlib.sha256(f"{asked}\n{self._seen[asked]}".encode()).hexdigest()
        if digest not in self._approved:
            message = f"{call.name} is not called before somebody approves."
            raise ApprovalRequired(message, tool=call.name, arguments=_shown(call), digest=digest)


def _shown(call: ToolCall) -> str:
    """Every argument, none so long that it hides the others. What is cut has lost its secrets before."""
    parts = []
    for name, value in call.arguments.items():
        part = redacted(f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False, default=str)}")
        parts.append(_cut(part, MAX_ARGUMENT_CHARS))
    return _cut(f"{{{', '.join(parts)}}}", MAX_ARGUMENTS_CHARS)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"
