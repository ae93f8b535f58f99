"""What others told the coder: a reviewer's findings, and words from outside, as text for a prompt within bounds."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from shared.capability import Message

REVIEW = "review"
"""The kind of a message that holds a verdict."""
MAX_FINDINGS = 8
MAX_FINDING_CHARS = 600
MAX_WORDS_CHARS = 1_000


def findings_in(inbox: Sequence[Message]) -> str:
    """The findings of the newest review, a line each, the gravest first; empty when no review is there.

    The text is foreign: it is cut, and nothing in it can end the block or the line that it stands in.
    """
    reviews = [message.payload for message in inbox if message.payload.get("kind") == REVIEW]
    if not reviews:
        return ""
    listed = reviews[-1].get("findings")
    found = [item for item in listed if isinstance(item, Mapping)] if isinstance(listed, list) else []
    lines = [_line(item) for item in sorted(found, key=lambda item: item.get("severity") == "minor")[:MAX_FINDINGS]]
    return "\n".join(filter(None, lines)) or f"- {_tame(reviews[-1].get('summary'), MAX_FINDING_CHARS)}"


def words_in(inbox: Sequence[Message]) -> str:
    """What anybody else wrote, such as a person from outside, the newest first; empty when nobody did."""
    others = [message for message in reversed(inbox) if message.payload.get("kind") != REVIEW]
    lines = [f"Message of {_tame(item.sender_role, 60)}: {_tame(_words(item.payload))}" for item in others]
    return "\n".join(lines)[:MAX_WORDS_CHARS]


def _words(payload: Mapping[str, Any]) -> str:
    text = payload.get("text")
    return text if isinstance(text, str) else json.dumps(dict(payload), ensure_ascii=False)


def _line(finding: Mapping[str, Any]) -> str:
    message, evidence = (_tame(finding.get(name), MAX_FINDING_CHARS // 2) for name in ("message", "evidence"))
    line = finding.get("line")
    place = f"line {line}: " if isinstance(line, int) and line > 0 else ""
    return f"- {place}{message}" + (f" ({evidence})" if evidence else "") if message else ""


def _tame(text: object, limit: int = MAX_WORDS_CHARS) -> str:
    plain = " ".join(text.split()) if isinstance(text, str) else ""
    return plain.replace("```", "'''")[:limit]
