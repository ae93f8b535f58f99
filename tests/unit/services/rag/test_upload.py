import hashlib
from collections.abc import AsyncIterator

import pytest

from services.rag import upload as module
from services.rag.upload import MAX_PIECE_BYTES, DocumentStart, Uploaded, assemble
from shared.errors import InvalidInput


async def collect(*parts: DocumentStart | bytes) -> list[Uploaded]:
    async def stream() -> AsyncIterator[DocumentStart | bytes]:
        for part in parts:
            yield part

    return [item async for item in assemble(stream())]


async def test_pieces_become_documents() -> None:
    found = await collect(DocumentStart("a"), b"one ", b"two", DocumentStart("b", size_bytes=5), b"three")
    assert [(item.start.source, item.content) for item in found] == [("a", b"one two"), ("b", b"three")]


async def test_a_damaged_document_is_a_problem_and_the_next_one_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DOCUMENT_BYTES", 10)
    right = hashlib.sha256(b"right").hexdigest().upper()
    found = await collect(
        DocumentStart("large"), b"123456", b"789012", b"3",
        DocumentStart("empty"),
        DocumentStart("short", size_bytes=9), b"1",
        DocumentStart("changed", sha256="0" * 64), b"1",
        DocumentStart("right", sha256=right), b"right",
    )  # fmt: skip
    says = [str(item.problem) for item in found]
    assert [item.start.source for item in found if item.problem is None] == ["right"]
    assert "13 bytes" in says[0] and "empty" in says[1] and "instead of 9" in says[2] and "SHA-256" in says[3]


@pytest.mark.parametrize(
    "parts",
    [(b"data",), (DocumentStart(" "),), (DocumentStart("a\0"),), (DocumentStart("a"), b"x" * (MAX_PIECE_BYTES + 1))],
)
async def test_a_malformed_stream_is_refused(parts: tuple[DocumentStart | bytes, ...]) -> None:
    with pytest.raises(InvalidInput):
        await collect(*parts)
