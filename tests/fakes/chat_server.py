"""A chat server on loopback that sends, byte for byte, the answer it was given, and remembers what it was asked."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class ChatServer:
    """The dials: what to answer, and whether to hang or to drop the connection after it."""

    status: str = "200 OK"
    media_type: str = "text/event-stream"
    pieces: Sequence[str] = ()
    is_dropped: bool = False
    """Close the connection where the rest of the answer would be."""
    is_hanging: bool = False
    """Send the pieces, then nothing more, until the client leaves."""
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    client_left: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one request and close the connection."""
        try:
            await self._take(reader)
            head = f"HTTP/1.1 {self.status}\r\nContent-Type: {self.media_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
            writer.write(head.encode())
            for piece in self.pieces:
                writer.write(f"{len(piece.encode()):x}\r\n{piece}\r\n".encode())
            await writer.drain()
            if self.is_hanging:
                await reader.read()
                self.client_left.set()
            elif not self.is_dropped:
                writer.write(b"0\r\n\r\n")
        finally:
            writer.close()

    async def _take(self, reader: asyncio.StreamReader) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()[1:]
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head if line)}
        self.headers.append(headers)
        self.bodies.append(json.loads(await reader.readexactly(int(headers["content-length"]))))


@asynccontextmanager
async def chat_server(**dials: Any) -> AsyncIterator[ChatServer]:
    """Serve on a free port while the context lasts."""
    fake = ChatServer(**dials)
    server = await asyncio.start_server(fake.answer, "127.0.0.1", 0)
    fake.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with server:
        yield fake


def sse(*chunks: object) -> list[str]:
    """Server-sent events, one for each chunk; a string goes as it is."""
    return [f"data: {chunk if isinstance(chunk, str) else json.dumps(chunk)}\n\n" for chunk in chunks]


def delta(text: str, finish_reason: str | None = None) -> dict[str, Any]:
    """A chunk with a piece of the reply."""
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}]}
