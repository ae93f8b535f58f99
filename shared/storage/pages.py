"""Reads rows off the pages of a SQLite file by itself, for files that SQLite no longer reads.

After "Database File Format" of the SQLite documentation. Assumes what holds for our own files: UTF-8, no reserved
bytes, no auto-vacuum. Whatever makes no sense is passed over and counted.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

DEFAULT_PAGE_BYTES = 4096
HEADER_BYTES = 100

INDEX_INTERIOR, TABLE_INTERIOR, INDEX_LEAF, TABLE_LEAF = 2, 5, 10, 13
_LEAVES = (INDEX_LEAF, TABLE_LEAF)
_INTEGER_BYTES = (0, 1, 2, 3, 4, 6, 8)

Value = None | int | float | str | bytes


class _Nonsense(Exception):
    """Bytes that cannot be what they stand for."""


@dataclass(frozen=True)
class Record:
    """One row of a table, or one entry of an index (which is also how tables without rowid are stored)."""

    rowid: int | None
    values: tuple[Value, ...]


@dataclass(frozen=True)
class _Page:
    """The parts of a b-tree page."""

    kind: int
    body: bytes
    cells: tuple[int, ...]
    """Offsets into `body`."""
    right_child: int


class PageReader:
    """A whole file, page by page; pages are numbered from 1."""

    def __init__(self, content: bytes, page_bytes: int = DEFAULT_PAGE_BYTES) -> None:
        self._content = content
        self._page_bytes = page_bytes
        self.page_count = len(content) // page_bytes
        self.skipped = 0
        """Pages and cells that made no sense."""
        self.seen: set[int] = set()
        """Pages that `tree` and `free_pages` have accounted for."""

    def free_pages(self) -> None:
        """Account for the free list, whose pages hold what was deleted."""
        trunk = int.from_bytes(self._content[32:36], "big")
        while 0 < trunk <= self.page_count and trunk not in self.seen:
            body = self._body(trunk)
            following, count = struct.unpack_from(">II", body)
            self.seen.add(trunk)
            for number in struct.unpack_from(f">{min(count, self._page_bytes // 4 - 2)}I", body, 8):
                self.seen.add(number)
            trunk = following

    def tree(self, root: int) -> Iterator[Record]:
        """The records of one b-tree as far as it can be followed."""
        kinds: tuple[int, ...] = ()
        waiting = [root]
        while waiting:
            number = waiting.pop()
            page = self._page(number)
            if page is None or number in self.seen or (kinds and page.kind not in kinds):
                self.skipped += 1
                continue
            is_index = page.kind in (INDEX_INTERIOR, INDEX_LEAF)
            kinds = (INDEX_INTERIOR, INDEX_LEAF) if is_index else (TABLE_INTERIOR, TABLE_LEAF)
            self.seen.add(number)
            if page.kind not in _LEAVES:
                waiting += [page.right_child, *(int.from_bytes(page.body[at : at + 4], "big") for at in page.cells)]
            yield from self._records(page)

    def leftovers(self) -> Iterator[Record]:
        """The records on pages that no tree led to, because a page above them is damaged."""
        for number in range(1, self.page_count + 1):
            page = None if number in self.seen else self._page(number)
            if page:
                yield from self._records(page)

    def _body(self, number: int) -> bytes:
        start = (number - 1) * self._page_bytes
        return self._content[start : start + self._page_bytes]

    def _page(self, number: int) -> _Page | None:
        if not 0 < number <= self.page_count:
            return None
        body = self._body(number)
        start = HEADER_BYTES if number == 1 else 0
        kind, _, count = struct.unpack_from(">BHH", body, start)
        if kind not in (INDEX_INTERIOR, TABLE_INTERIOR, *_LEAVES):
            return None
        first = start + (8 if kind in _LEAVES else 12)
        if first + 2 * count > self._page_bytes:
            return None
        right_child = 0 if kind in _LEAVES else int.from_bytes(body[first - 4 : first], "big")
        cells = struct.unpack_from(f">{count}H", body, first)
        return _Page(kind, body, tuple(at for at in cells if first <= at < self._page_bytes - 3), right_child)

    def _records(self, page: _Page) -> Iterator[Record]:
        if page.kind == TABLE_INTERIOR:
            return
        for at in page.cells:
            try:
                yield self._record(page, at)
            except (_Nonsense, IndexError, struct.error, UnicodeDecodeError):
                self.skipped += 1

    def _record(self, page: _Page, at: int) -> Record:
        at += 4 if page.kind == INDEX_INTERIOR else 0
        size, at = _varint(page.body, at)
        rowid = None
        if page.kind == TABLE_LEAF:
            rowid, at = _varint(page.body, at)
        return Record(rowid, _values(self._payload(page, size, at)))

    def _payload(self, page: _Page, size: int, at: int) -> bytes:
        if size > len(self._content):
            raise _Nonsense
        usable = self._page_bytes
        most = usable - 35 if page.kind == TABLE_LEAF else (usable - 12) * 64 // 255 - 23
        if size <= most:
            return _slice(page.body, at, size)
        least = (usable - 12) * 32 // 255 - 23
        local = least + (size - least) % (usable - 4)
        local = local if local <= most else least
        payload = bytearray(_slice(page.body, at, local))
        following = int.from_bytes(_slice(page.body, at + local, 4), "big")
        while len(payload) < size:
            if not 0 < following <= self.page_count:
                raise _Nonsense
            self.seen.add(following)
            body = self._body(following)
            payload += body[4 : 4 + size - len(payload)]
            following = int.from_bytes(body[:4], "big")
        return bytes(payload)


def page_bytes_of(content: bytes) -> int:
    """The page size that the header names, or the usual one when that is no page size."""
    named = int.from_bytes(content[16:18], "big")
    named = 65536 if named == 1 else named
    return named if 512 <= named <= 65536 and not named & (named - 1) else DEFAULT_PAGE_BYTES


def _slice(body: bytes, at: int, size: int) -> bytes:
    piece = body[at : at + size]
    if len(piece) != size:
        raise _Nonsense
    return piece


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = 0
    for position in range(8):
        byte = body[at + position]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + position + 1
    value = value << 8 | body[at + 8]
    return value - (1 << 64) if value >= 1 << 63 else value, at + 9


def _values(payload: bytes) -> tuple[Value, ...]:
    header_end, at = _varint(payload, 0)
    if not at <= header_end <= len(payload):
        raise _Nonsense
    kinds = []
    while at < header_end:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    values, at = [], header_end
    for kind in kinds:
        size = _size(kind)
        values.append(_value(kind, _slice(payload, at, size)))
        at += size
    if at != len(payload):
        raise _Nonsense
    return tuple(values)


def _size(kind: int) -> int:
    if kind >= 12:
        return (kind - 12) // 2
    if kind in (10, 11) or kind < 0:
        raise _Nonsense
    return 8 if kind == 7 else 0 if kind in (8, 9) else _INTEGER_BYTES[kind]


def _value(kind: int, piece: bytes) -> Value:
    if kind >= 12:
        return piece.decode() if kind % 2 else piece
    if kind == 7:
        return float(struct.unpack(">d", piece)[0])
    if kind in (8, 9):
        return kind - 8
    return int.from_bytes(piece, "big", signed=True) if kind else None
