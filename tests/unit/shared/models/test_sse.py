from collections.abc import AsyncIterator

import pytest

from shared.models import sse
from shared.models.sse import event_data


async def read(*pieces: bytes) -> list[str]:
    async def stream() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return [data async for data in event_data(stream())]


STREAM = b": hello\r\ndata: one\r\n\r\nevent: x\ndata:two\ndata: lines\n\nid: 7\n\ndata: \xc3\xa9\r\rdata: unfinished"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_events_are_the_same_in_whatever_pieces_they_come(size: int) -> None:
    pieces = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]
    assert await read(*pieces) == ["one", "two\nlines", "é"]


async def test_an_empty_stream_has_no_events() -> None:
    assert await read() == await read(b"\n\n\n") == []


async def test_an_endless_event_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 10)
    with pytest.raises(ValueError, match="too long"):
        await read(b"data: ", b"x" * 10)


async def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(UnicodeDecodeError):
        await read(b"data: \xff\n\n")
