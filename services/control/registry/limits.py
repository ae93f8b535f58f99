"""What a registration may contain. Text is stored as it is: who shows it escapes it."""

import re
import unicodedata
from collections.abc import Sequence

from shared.errors import InvalidInput
from shared.pb import capability_v1, control_v1
from shared.query_text import PERMITTED_CONTROLS

KINDS = ("capability", "agent", "models")
MAX_DESCRIPTION_CHARS = 1_000
MAX_EXAMPLES = 1_000
MAX_EXAMPLE_CHARS = 500
MAX_TAGS = 16
MAX_WORD_CHARS = 63
MAX_ADDRESS_CHARS = 255
MAX_INSTANCE_ID_CHARS = 128
MAX_MESSAGE_CHARS = 1_000

_NAME = re.compile(r"[a-z0-9-]{1,63}")
_TURNS_TEXT_ROUND = frozenset(("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"))
"""Bidirectional classes of characters that make a text read as another one."""
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")


def check_instance_id(instance_id: str) -> None:
    """Raise `InvalidInput` unless the id is 1 to 128 printable characters."""
    if not instance_id.isprintable() or not 1 <= len(instance_id) <= MAX_INSTANCE_ID_CHARS:
        raise _bad("instance_id", f"1 to {MAX_INSTANCE_ID_CHARS} printable characters")


def check_address(address: str) -> None:
    """Raise `InvalidInput` unless the address is host:port."""
    match = _ADDRESS.fullmatch(address)
    if len(address) > MAX_ADDRESS_CHARS or not match or not 1 <= int(match[2]) <= 65535:
        raise _bad("address", f"host:port of at most {MAX_ADDRESS_CHARS} characters")


def check_kind(kind: str) -> None:
    """Raise `InvalidInput` unless the kind is one of `KINDS`."""
    if kind not in KINDS:
        raise _bad("kind", f"one of {', '.join(KINDS)}")


def check_descriptor(descriptor: capability_v1.Descriptor) -> None:
    """Raise `InvalidInput`, which names the field, when the descriptor exceeds what its contract allows."""
    if not _NAME.fullmatch(descriptor.name):
        raise _bad("descriptor.name", f"1 to {MAX_WORD_CHARS} lower-case letters, digits and hyphens")
    _check_texts("descriptor.description", [descriptor.description], 1, MAX_DESCRIPTION_CHARS, is_required=False)
    _check_texts("descriptor.version", [descriptor.version], 1, MAX_WORD_CHARS, is_required=False)
    _check_texts("descriptor.tags", descriptor.tags, MAX_TAGS, MAX_WORD_CHARS)
    _check_texts("descriptor.roles", descriptor.roles, MAX_TAGS, MAX_WORD_CHARS)
    _check_texts("descriptor.examples", descriptor.examples, MAX_EXAMPLES, MAX_EXAMPLE_CHARS)
    if any(tag != tag.lower() for tag in descriptor.tags):
        raise _bad("descriptor.tags", "lower-case")


def check_health(health: control_v1.Health) -> None:
    """Raise `InvalidInput` when what a process says of its health is too long or no text."""
    _check_texts("health.message", [health.message], 1, MAX_MESSAGE_CHARS, is_required=False)


def _check_texts(field: str, texts: Sequence[str], most: int, most_chars: int, *, is_required: bool = True) -> None:
    if len(texts) > most:
        raise _bad(field, f"at most {most}")
    if any(len(text) > most_chars or (is_required and not text.strip()) for text in texts):
        raise _bad(field, f"texts of {int(is_required)} to {most_chars} characters")
    if any(not _is_plain(character) for text in texts for character in text):
        raise _bad(field, "text without control characters other than tab and newlines")


def _is_plain(character: str) -> bool:
    if character.isascii():
        return character.isprintable() or character in PERMITTED_CONTROLS
    is_control = unicodedata.category(character) in ("Cc", "Cs")
    return not is_control and unicodedata.bidirectional(character) not in _TURNS_TEXT_ROUND


def _bad(field: str, limit: str) -> InvalidInput:
    return InvalidInput(
        f"{field} must be {limit}.", remedy="Register with a value that fits.", field=field, limit=limit
    )
