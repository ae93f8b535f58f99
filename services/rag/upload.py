"""Puts an ingest stream's parts together: a header, then documents in pieces, each within its limits."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from services.rag.ingestion import MAX_DOCUMENT_BYTES
from shared.errors import BadDocument, InvalidInput

MAX_PIECE_BYTES = 1024 * 1024
MAX_SOURCE_CHARACTERS = 4_096


@dataclass(frozen=True)
class DocumentStart:
    """A document begins."""

    source: str
    media_type: str = ""
    size_bytes: int = 0
    """What the sender announces; 0 when it does not know."""
    sha256: str = ""
    """Lower-case hex; empty when the sender did not compute it."""


@dataclass(frozen=True)
class Uploaded:
    """A document that arrived, or why it did not."""

    start: DocumentStart
    content: bytes = b""
    problem: BadDocument | None = None


async def assemble(parts: AsyncIterator[DocumentStart | bytes]) -> AsyncIterator[Uploaded]:
    """Yield each document when it is there. One that is too large or damaged is read over and reported.

    Raises `InvalidInput` when the stream itself is malformed.
    """
    upload: _Upload | None = None
    async for part in parts:
        if isinstance(part, DocumentStart):
            if upload:
                yield upload.finish()
            upload = _Upload(part)
        elif upload is None:
            raise InvalidInput("Data came before the first document's header.", field="data")
        else:
            upload.add(part)
    if upload:
        yield upload.finish()


class _Upload:
    """One document on its way."""

    def __init__(self, start: DocumentStart) -> None:
        if not start.source.strip() or len(start.source) > MAX_SOURCE_CHARACTERS or "\0" in start.source:
            raise InvalidInput(
                f"A document's source has {len(start.source)} characters; 1 to {MAX_SOURCE_CHARACTERS} are possible.",
                field="source",
            )
        self._start = start
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, piece: bytes) -> None:
        """Take a piece; beyond the limit only its size counts."""
        if len(piece) > MAX_PIECE_BYTES:
            raise InvalidInput(f"A piece has {len(piece):,} bytes; {MAX_PIECE_BYTES:,} are possible.", field="data")
        self._size += len(piece)
        if self._size <= MAX_DOCUMENT_BYTES:
            self._pieces.append(piece)
        else:
            self._pieces.clear()

    def finish(self) -> Uploaded:
        """The document, or what is wrong with it."""
        content = b"".join(self._pieces)
        problem = self._problem(content)
        return Uploaded(self._start, b"" if problem else content, problem)

    def _problem(self, content: bytes) -> BadDocument | None:
        if self._size > MAX_DOCUMENT_BYTES:
            return BadDocument(f"It has {self._size:,} bytes; {MAX_DOCUMENT_BYTES:,} are possible.", remedy="Split it.")
        if not content:
            return BadDocument("It is empty.")
        if self._start.size_bytes and self._start.size_bytes != self._size:
            return BadDocument(f"{self._size:,} bytes came instead of {self._start.size_bytes:,}.")
        if self._start.sha256 and hashlib.sha256(content).hexdigest() != self._start.sha256.lower():
            return BadDocument("Its SHA-256 is not the announced one.", remedy="Send it again.")
        return None
