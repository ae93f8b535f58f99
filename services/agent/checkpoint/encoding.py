"""How a state value becomes bytes: small ones inline, large ones as chunks named by their digest, long ones in slices.

An encoded value is a node, a plain list:

    [INLINE, type, bytes, crc32]     the serialized value itself
    [CHUNK, type, digest]            the serialized value is a chunk
    [SLICES, levels, last]           a list or dict in equal slices: level 0 joins the digests of slices, level n those
                                     of chunks that join FAN_OUT digests of level n - 1 each; `last` is the node of the
                                     rest, or None

A list that grows at its end keeps its slices, and a step adds what is new in it: storage grows with the conversation
and not with its square. A chunk is shared by all values of its thread.
"""

import zlib
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import islice
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol

INLINE_BYTES = 1_024
FAN_OUT = 64
DIGEST_BYTES = 16
INLINE, CHUNK, SLICES = range(3)

Node = list[Any]
Fetch = Callable[[bytes], bytes]
"""Returns the chunk of a digest. Raises `Damage` when it is not there or not what was stored."""


class Damage(Exception):
    """Stored bytes are not what was written; the text says which."""


def digest_of(data: bytes) -> bytes:
    """The name of a chunk: the first half of its SHA-256."""
    return sha256(data).digest()[:DIGEST_BYTES]


class Encoder:
    """Encodes values that are stored together, and collects their chunks."""

    def __init__(self, serde: SerializerProtocol) -> None:
        self.chunks: dict[bytes, bytes] = {}
        """What the nodes refer to, by digest."""
        self.size = 0
        """Bytes of all values."""
        self._serde = serde

    def node(self, value: object) -> Node:
        """Encode one value. Raises what the serializer raises."""
        kind, data = self._serde.dumps_typed(value)
        self.size += len(data)
        if len(data) > INLINE_BYTES and type(value) in (list, dict) and len(value) > 1:  # type: ignore[arg-type]
            return self._sliced(value, len(data))  # type: ignore[arg-type]
        return self._whole(kind, data)

    def _whole(self, kind: str, data: bytes) -> Node:
        if len(data) <= INLINE_BYTES:
            return [INLINE, kind, data, zlib.crc32(data)]
        return [CHUNK, kind, self._chunk(data)]

    def _sliced(self, value: list[object] | dict[object, object], size: int) -> Node:
        length = _slice_length(size // len(value))
        parts = [self._serde.dumps_typed(part) for part in _slices(value, length)]
        last = self._whole(*parts.pop()) if len(value) % length else None
        return [SLICES, self._levels([self._chunk(data) for _, data in parts]), last]

    def _levels(self, digests: list[bytes]) -> list[bytes]:
        levels = []
        while digests:
            full = len(digests) // FAN_OUT * FAN_OUT
            levels.append(b"".join(digests[full:]))
            digests = [self._chunk(b"".join(digests[start : start + FAN_OUT])) for start in range(0, full, FAN_OUT)]
        return levels

    def _chunk(self, data: bytes) -> bytes:
        digest = digest_of(data)
        self.chunks[digest] = data
        return digest


def decode(serde: SerializerProtocol, node: Node, fetch: Fetch) -> Any:
    """The value of a node. Raises `Damage`, and what the serializer raises."""
    if node[0] != SLICES:
        return serde.loads_typed((node[1], _data(node, fetch)))
    digests, _ = _resolve(node[1], fetch)
    parts = [serde.loads_typed(("msgpack", fetch(digest))) for digest in digests]
    if node[2]:
        parts.append(decode(serde, node[2], fetch))
    if isinstance(parts[0], list):
        return [item for part in parts for item in part]
    return {key: value for part in parts for key, value in part.items()}


def digests_of(node: Node, fetch: Fetch) -> Iterator[bytes]:
    """The digests of every chunk that the node needs. Raises `Damage`."""
    if node[0] == CHUNK:
        yield node[2]
    elif node[0] == SLICES:
        digests, groups = _resolve(node[1], fetch)
        yield from digests
        yield from groups
        if node[2]:
            yield from digests_of(node[2], fetch)


def is_damaged(node: Node) -> bool:
    """Whether an inline value is not what was stored."""
    return bool(node[0] == INLINE and zlib.crc32(node[2]) != node[3])


def _data(node: Node, fetch: Fetch) -> bytes:
    if node[0] == CHUNK:
        return fetch(node[2])
    if is_damaged(node):
        raise Damage("the value is not what was stored")
    return bytes(node[2])


def _resolve(levels: list[bytes], fetch: Fetch) -> tuple[list[bytes], list[bytes]]:
    """The digests of the slices in order, and those of the chunks that join digests."""
    digests: list[bytes] = []
    groups: list[bytes] = []
    for level in reversed(levels):
        groups += digests
        digests = [member for digest in digests for member in _split(fetch(digest))] + _split(level)
    return digests, groups


def _split(joined: bytes) -> list[bytes]:
    return [joined[start : start + DIGEST_BYTES] for start in range(0, len(joined), DIGEST_BYTES)]


def _slice_length(average: int) -> int:
    """Items a slice, by their average size: large ones are alone, small ones make about two kilobytes."""
    return 1 if average >= 256 else 8 if average >= 32 else 64


def _slices(value: list[object] | dict[object, object], length: int) -> Iterator[object]:
    if isinstance(value, list):
        yield from (value[start : start + length] for start in range(0, len(value), length))
    else:
        items = iter(value.items())
        while part := dict(islice(items, length)):
            yield part
