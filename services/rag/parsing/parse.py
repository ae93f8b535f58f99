"""Chooses the parser for a source by its media type, or else by its ending."""

from pathlib import PurePosixPath

from services.rag.document import ParsedDocument, ParsedSource, Segment
from services.rag.parsing.decoding import decode
from services.rag.parsing.html import declared_encoding, parse_html
from services.rag.parsing.jsonl import parse_jsonl
from services.rag.parsing.markdown import parse_markdown
from services.rag.parsing.pdf import parse_pdf
from services.rag.parsing.plain import parse_code, parse_text
from shared.errors import BadDocument

_MARKDOWN, _HTML, _PDF, _JSONL = "text/markdown", "text/html", "application/pdf", "application/jsonl"
_CODE, _TEXT = "text/x-source", "text/plain"

_ENDINGS = {
    ".md": _MARKDOWN,
    ".markdown": _MARKDOWN,
    ".mdx": _MARKDOWN,
    ".html": _HTML,
    ".htm": _HTML,
    ".xhtml": _HTML,
    ".pdf": _PDF,
    ".jsonl": _JSONL,
    ".ndjson": _JSONL,
}
_CODE_ENDINGS = """
    .bash .c .cc .cpp .cs .css .dart .ex .exs .go .h .hpp .hs .java .js .jsx .kt .lua .m .ml .php .pl .proto .py .pyi
    .r .rb .rs .scala .sh .sql .swift .ts .tsx .vue .zig
"""
_ALIASES = {
    "text/x-markdown": _MARKDOWN,
    "application/xhtml+xml": _HTML,
    "application/x-ndjson": _JSONL,
    "application/x-jsonlines": _JSONL,
    "application/jsonlines": _JSONL,
}


def media_type_of(source: str, declared: str = "") -> str:
    """The media type: what was declared when it says anything, else what the source's ending says."""
    declared = declared.split(";")[0].strip().lower()
    if declared and declared not in ("application/octet-stream", _TEXT):
        return _ALIASES.get(declared, declared)
    ending = PurePosixPath(source).suffix.lower()
    return _ENDINGS.get(ending, _CODE if ending in _CODE_ENDINGS.split() else _TEXT)


def parse(source: str, content: bytes, declared_type: str = "") -> ParsedSource:
    """Read a source. Blocks, for a PDF up to a minute. Raises `BadDocument` when it cannot be read or holds no text."""
    media_type = media_type_of(source, declared_type)
    if media_type == _JSONL:
        documents, problems = parse_jsonl(decode(content))
        return ParsedSource(media_type, documents, problems)
    title, segments = _read(media_type, content)
    if not any(segment.text.strip() for segment in segments):
        raise BadDocument("It holds no text.")
    document = ParsedDocument("", title.strip() or PurePosixPath(source).name, segments)
    return ParsedSource(media_type, (document,))


def _read(media_type: str, content: bytes) -> tuple[str, tuple[Segment, ...]]:
    if media_type == _PDF or content.startswith(b"%PDF-"):
        return parse_pdf(content)
    if media_type == _HTML:
        return parse_html(decode(content, declared_encoding(content)))
    text = decode(content)
    if media_type == _MARKDOWN:
        return parse_markdown(text)
    return "", parse_code(text) if media_type == _CODE or media_type.startswith("text/x-") else parse_text(text)
