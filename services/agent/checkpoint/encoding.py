"""How a state value becomes bytes: small ones inline, large ones as chunks named by their digest, long ones in slices.

An encoded value is a node, a plain list:

    [INLINE, type, bytes, crc32]               the serialized value itself
    [CHUNK, type, digest]                      the serialized value is a chunk
    [SLICES, is_dict, length, levels, last]    a list or dict in slices of `length` items: level 0 joins the digests of
                                               slices, level n those of chunks that join FAN_OUT digests of level n - 1
                                               each; `last` is the node of the items that fill no slice, or None

A list that grows at its end keeps its slices, and a step adds what is new in it: storage grows with the conversation
and not with its square. A chunk is shared by all values of its thread.

MessagePack writes a list as a header and its items, so slices without their headers, one after the other, are the
whole list without its header; that is how a list is compared with what it was, and read, in one go.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol

INLINE_BYTES = 1_024
FAN_OUT = 64
DIGEST_BYTES = 16
INLINE, CHUNK, SLICES = range(3)

_LONG_HEADERS = {0xDC: 3, 0xDD: 5, 0xDE: 3, 0xDF: 5}
"""Bytes of the headers of lists and dicts by their first byte; the headers of short ones are one byte."""

Node = list[Any]
Fetch = Callable[[bytes], bytes]
"""Returns the chunk of a digest. Raises `Damage` when it is not there or not what was stored."""


class Damage(Exception):
    """Stored bytes are not what was written; the text says which."""


@dataclass(frozen=True)
class Slices:
    """The full slices of a list or dict."""

    is_dict: bool
    length: int
    """Items in each."""
    digests: tuple[bytes, ...]
    levels: list[bytes]
    body: bytes
    """All of them without their headers."""

    def serialized(self) -> bytes:
        """The list or dict that they make."""
        return (b"\xdf" if self.is_dict else b"\xdd") + (len(self.digests) * self.length).to_bytes(4) + self.body


class Encoder:
    """Encodes values that are stored together, and collects their chunks."""

    def __init__(self, serde: SerializerProtocol, stored: Mapping[str, Slices]) -> None:
        """`stored` are slices, by channel, that are known to be there; a value that begins with them refers to them."""
        self.chunks: dict[bytes, bytes] = {}
        """What the nodes refer to, by digest, but for what was in `stored`."""
        self.slices: dict[str, Slices] = {}
        """The slices of what was encoded, by channel."""
        self.size = 0
        """Bytes of all values."""
        self._serde = serde
        self._stored = stored

    def node(self, channel: str, value: object) -> Node:
        """Encode one value. Raises what the serializer raises."""
        kind, data = self._serde.dumps_typed(value)
        self.size += len(data)
        if len(data) <= INLINE_BYTES or type(value) not in (list, dict) or len(value) < 2:  # type: ignore[arg-type]
            return self._whole(kind, data)
        return self._sliced(channel, value, data)

    @property
    def digests(self) -> frozenset[bytes]:
        """Of all chunks that the nodes refer to."""
        return frozenset(self.chunks).union(*(slices.digests for slices in self.slices.values()))

    def _whole(self, kind: str, data: bytes) -> Node:
        if len(data) <= INLINE_BYTES:
            return [INLINE, kind, data, zlib.crc32(data)]
        return [CHUNK, kind, self._chunk(data)]

    def _sliced(self, channel: str, value: Any, data: bytes) -> Node:
        is_dict, length, header = isinstance(value, dict), _slice_length(len(data) // len(value)), _header_of(data)
        stored = self._stored.get(channel)
        if (
            not stored
            or (stored.is_dict, stored.length) != (is_dict, length)
            or not data.startswith(stored.body, header)
        ):
            stored = Slices(is_dict, length, (), [], b"")
        digests, end = list(stored.digests), header + len(stored.body)
        full = len(value) // length
        for part in _parts(value, length, len(digests), full):
            _, part_data = self._serde.dumps_typed(part)
            digests.append(self._chunk(part_data))
            end += len(part_data) - _header_of(part_data)
        levels = self._levels(digests)
        self.slices[channel] = Slices(is_dict, length, tuple(digests), levels, data[header:end])
        rest = next(_parts(value, length, full, full + 1), None)
        return [SLICES, is_dict, length, levels, self._whole(*self._serde.dumps_typed(rest)) if rest else None]

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


class Decoder:
    """Decodes the values of one checkpoint, and collects their slices."""

    def __init__(self, serde: SerializerProtocol, fetch: Fetch, remembered: Mapping[str, Slices]) -> None:
        """`remembered` are slices, by channel, that need not be fetched."""
        self.slices: dict[str, Slices] = {}
        """The slices of what was decoded, by channel."""
        self._serde = serde
        self._fetch = fetch
        self._remembered = remembered

    def value(self, channel: str, node: Node) -> Any:
        """Decode one value. Raises `Damage`, and what the serializer raises."""
        if node[0] != SLICES:
            return self._serde.loads_typed((node[1], self._data(node)))
        slices = self._remembered.get(channel)
        if not slices or slices.levels != node[3]:
            slices = self._read(node)
        self.slices[channel] = slices
        found = self._serde.loads_typed(("msgpack", slices.serialized()))
        if node[4]:
            last = self._serde.loads_typed((node[4][1], self._data(node[4])))
            return {**found, **last} if slices.is_dict else found + last
        return found

    def _read(self, node: Node) -> Slices:
        _, is_dict, length, levels, _ = node
        digests, _ = _resolve(levels, self._fetch)
        parts = [self._fetch(digest) for digest in digests]
        return Slices(is_dict, length, tuple(digests), levels, b"".join([part[_header_of(part) :] for part in parts]))

    def _data(self, node: Node) -> bytes:
        if node[0] == CHUNK:
            return self._fetch(node[2])
        if is_damaged(node):
            raise Damage("the value is not what was stored")
        return bytes(node[2])


def digest_of(data: bytes) -> bytes:
    """The name of a chunk: the first half of its SHA-256."""
    return sha256(data).digest()[:DIGEST_BYTES]


def digests_of(node: Node, fetch: Fetch) -> Iterator[bytes]:
    """The digests of every chunk that the node needs. Raises `Damage`."""
    if node[0] == CHUNK:
        yield node[2]
    elif node[0] == SLICES:
        digests, groups = _resolve(node[3], fetch)
        yield from digests
        yield from groups
        if node[4]:
            yield from digests_of(node[4], fetch)


def is_damaged(node: Node) -> bool:
    """Whether an inline value is not what was stored."""
    return bool(node[0] == INLINE and zlib.crc32(node[2]) != node[3])


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


def _header_of(data: bytes) -> int:
    return _LONG_HEADERS.get(data[0], 1)


def _parts(value: Any, length: int, first: int, stop: int) -> Iterator[object]:
    """The slices from number `first` up to `stop`; the one after the full ones is what is left, if anything."""
    if isinstance(value, list):
        yield from (value[number * length : (number + 1) * length] for number in range(first, stop))
        return
    items = islice(value.items(), first * length, None)
    for _ in range(first, stop):
        yield dict(islice(items, length))
