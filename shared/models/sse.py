"""Reads server-sent events: the data of each, as the HTML standard's section 9.2.6 has it."""

from collections.abc import AsyncIterator

MAX_EVENT_BYTES = 4 * 1024 * 1024


async def event_data(pieces: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Yield the data of each event in a stream that arrives in any pieces; other fields and comments do not count.

    Raises `ValueError` when an event is longer than 4 MiB, or no UTF-8.
    """
    rest = b""
    data: list[bytes] = []
    async for piece in pieces:
        # a carriage return at the very end may be half of a line end
        text = (rest + piece).replace(b"\r\n", b"\n")
        held = b"\r" if text.endswith(b"\r") else b""
        *lines, rest = text.removesuffix(held).replace(b"\r", b"\n").split(b"\n")
        rest += held
        if len(rest) + sum(map(len, data)) > MAX_EVENT_BYTES:
            raise ValueError("an event of the stream is too long")
        for line in lines:
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif not line and data:
                yield b"\n".join(data).decode()
                data = []
