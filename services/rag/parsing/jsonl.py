"""JSONL in the BEIR shape: each row with `_id`, `title` and `text` is a document of its own."""

import json

from services.rag.document import ParsedDocument, Segment
from services.rag.parsing.plain import paragraphs
from shared.errors import BadDocument

MAX_KEY_CHARACTERS = 500
MAX_PROBLEMS = 20


def parse_jsonl(text: str) -> tuple[tuple[ParsedDocument, ...], tuple[str, ...]]:
    """The documents, and what was wrong with the lines that are none. Raises `BadDocument` when no line is good."""
    documents: dict[str, ParsedDocument] = {}
    problems: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            document = _document(number, line)
            if document.key in documents:
                raise BadDocument(f"`_id` {document.key!r} was there before")
            documents[document.key] = document
        except BadDocument as error:
            problems.append(f"Line {number}: {error.message}.")
    if not documents:
        first = problems[0] if problems else "It is empty."
        raise BadDocument(f"No line holds a document with `_id` and `text`. {first}")
    if len(problems) > MAX_PROBLEMS:
        problems[MAX_PROBLEMS:] = [f"And {len(problems) - MAX_PROBLEMS} more."]
    return tuple(documents.values()), tuple(problems)


def _document(number: int, line: str) -> ParsedDocument:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise BadDocument("not JSON") from None
    if not isinstance(row, dict):
        raise BadDocument("not a JSON object")
    key, title, text = row.get("_id"), row.get("title") or "", row.get("text")
    if isinstance(key, int) and not isinstance(key, bool):
        key = str(key)
    if not isinstance(key, str) or not key or len(key) > MAX_KEY_CHARACTERS:
        raise BadDocument(f"`_id` is not a string of 1 to {MAX_KEY_CHARACTERS} characters")
    if not isinstance(text, str) or not isinstance(title, str) or not (text.strip() or title.strip()):
        raise BadDocument("`text` or `title` is not text")
    body = "\n\n".join("\n".join(lines) for _, lines in paragraphs(_clean(text) or _clean(title)))
    return ParsedDocument(_clean(key), _clean(title).strip(), (Segment(body, number, number),))


def _clean(text: str) -> str:
    """Without NUL and lone surrogates, which neither SQLite nor protobuf takes."""
    return text.replace("\0", " ").encode("utf-8", errors="replace").decode()
