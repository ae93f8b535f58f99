"""The stored index: sources, their documents and passages, words in FTS5, vectors as blobs. One file, one transaction.

Each collection has a word table of its own: its word statistics are then its own too, whoever else stores documents.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import apsw
import numpy as np
from numpy.typing import NDArray

from services.rag.document import Chunk
from shared.storage.database import Schema

SCHEMA = Schema(
    "rag",
    (
        """
    CREATE TABLE collections (
        collection_id INTEGER PRIMARY KEY AUTOINCREMENT,
        tenant TEXT NOT NULL,
        name TEXT NOT NULL,
        UNIQUE (tenant, name)
    ) STRICT;
    CREATE TABLE sources (
        source_id INTEGER PRIMARY KEY AUTOINCREMENT,
        collection_id INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
        source TEXT NOT NULL,
        media_type TEXT NOT NULL,
        sha256 TEXT NOT NULL, -- empty until all documents of the source are stored
        size_bytes INTEGER NOT NULL,
        ingest_time_ms INTEGER NOT NULL,
        UNIQUE (collection_id, source)
    ) STRICT;
    CREATE TABLE documents (
        document_id INTEGER PRIMARY KEY AUTOINCREMENT,
        source_id INTEGER NOT NULL REFERENCES sources ON DELETE CASCADE,
        key TEXT NOT NULL, -- the `_id` of a JSONL row; empty for the source itself
        title TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        chunk_count INTEGER NOT NULL,
        UNIQUE (source_id, key)
    ) STRICT;
    CREATE TABLE chunks (
        chunk_id INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: the vectors in memory go by it
        document_id INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
        start_line INTEGER NOT NULL,
        end_line INTEGER NOT NULL,
        page INTEGER NOT NULL,
        heading TEXT NOT NULL,
        text TEXT NOT NULL,
        vector BLOB NOT NULL -- float32, little-endian, of length 1
    ) STRICT;
    CREATE INDEX chunks_by_document ON chunks (document_id);
        """,
    ),
)

TITLE_WEIGHT = 1.5
"""What a word in the title counts for, beside 1 in the text."""

Vectors = NDArray[np.float32]
Scored = tuple[int, float]
"""A chunk's id and its score, higher is better."""

_ENGLISH = '"the" OR "return"'
"""What nearly every passage of English text or code has, and nearly no other."""
_ASSUMED_ENGLISH = 5
"""So many English passages are added in thought, so that a few short notes do not decide."""

_SOURCES = (
    "SELECT s.source, d.key, d.title, s.media_type, d.sha256, d.size_bytes, d.chunk_count, s.ingest_time_ms "
    "FROM sources s JOIN documents d USING (source_id) JOIN collections c USING (collection_id) "
)


@dataclass(frozen=True)
class Scope:
    """Whose documents: nothing is ever found beyond it."""

    tenant: str = "default"
    collection: str = "default"


@dataclass(frozen=True)
class SourceRecord:
    """A source to store."""

    source: str
    media_type: str
    sha256: str
    size_bytes: int
    ingest_time_ms: int


@dataclass(frozen=True)
class DocumentRecord:
    """A document to store, with a vector (a row of `vectors`) for each of its passages."""

    key: str
    title: str
    sha256: str
    size_bytes: int
    chunks: tuple[Chunk, ...]
    vectors: Vectors


@dataclass(frozen=True)
class StoredDocument:
    """A document as it is listed."""

    source: str
    key: str
    title: str
    media_type: str
    sha256: str
    size_bytes: int
    chunk_count: int
    ingest_time_ms: int


@dataclass(frozen=True)
class StoredChunk:
    """A passage as it is found."""

    chunk_id: int
    document_row: int
    key: str
    source: str
    title: str
    chunk: Chunk


@dataclass(frozen=True)
class WordHits:
    """What a search by words found."""

    scored: tuple[Scored, ...] = ()
    """Best first, by BM25."""
    full_score: float = 0.0
    """About the score of a passage that has every word once."""
    english_share: float = 1.0
    """About the share of the collection's passages that are English, or code."""


@dataclass(frozen=True)
class Change:
    """What a write did to a collection's passages; the vectors in memory follow it."""

    scope: Scope
    removed: tuple[int, ...] = ()
    added: tuple[int, ...] = ()
    vectors: Vectors | None = None
    """A row for each of `added`."""
    document_count: int = 0
    """Documents that were stored, or deleted."""


def store_documents(
    connection: apsw.Connection, scope: Scope, record: SourceRecord, documents: Sequence[DocumentRecord]
) -> Change:
    """Store documents of a source in place of those with the same keys; the others stay.

    `record.sha256` empty means that more is to come: the source does not count as stored until it is given.
    """
    collection_id = _collection(connection, scope)
    connection.execute(
        "INSERT INTO sources (collection_id, source, media_type, sha256, size_bytes, ingest_time_ms) "
        "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (collection_id, source) DO UPDATE SET media_type = excluded.media_type, "
        "sha256 = excluded.sha256, size_bytes = excluded.size_bytes, ingest_time_ms = excluded.ingest_time_ms",
        (collection_id, record.source, record.media_type, record.sha256, record.size_bytes, record.ingest_time_ms),
    )
    source_id = connection.execute(
        "SELECT source_id FROM sources WHERE collection_id = ? AND source = ?", (collection_id, record.source)
    ).get
    removed: list[int] = []
    added: list[int] = []
    for document in documents:
        row = connection.execute(
            "SELECT document_id FROM documents WHERE source_id = ? AND key = ?", (source_id, document.key)
        ).get
        if row is not None:
            removed += _delete_documents(connection, collection_id, [row])
        added += _insert_document(connection, collection_id, source_id, document)
    vectors = np.concatenate([document.vectors for document in documents]) if documents else None
    return Change(scope, tuple(removed), tuple(added), vectors, len(documents))


def _insert_document(
    connection: apsw.Connection, collection_id: int, source_id: int, document: DocumentRecord
) -> list[int]:
    connection.execute(
        "INSERT INTO documents (source_id, key, title, sha256, size_bytes, chunk_count) VALUES (?, ?, ?, ?, ?, ?)",
        (source_id, document.key, document.title, document.sha256, document.size_bytes, len(document.chunks)),
    )
    document_id = connection.last_insert_rowid()
    added: list[int] = []
    for chunk, vector in zip(document.chunks, document.vectors, strict=True):
        connection.execute(
            "INSERT INTO chunks (document_id, start_line, end_line, page, heading, text, vector) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                document_id,
                chunk.start_line,
                chunk.end_line,
                chunk.page,
                chunk.heading,
                chunk.text,
                vector.astype("<f4").tobytes(),
            ),
        )
        added.append(connection.last_insert_rowid())
        connection.execute(
            f"INSERT INTO words_{collection_id} (rowid, title, text) VALUES (?, ?, ?)",
            (added[-1], document.title, chunk.text),
        )
    return added


def delete_keys(connection: apsw.Connection, scope: Scope, source: str, keys: Iterable[str]) -> Change:
    """Delete documents of one source by their keys; the source stays."""
    rows = [
        row[0]
        for key in keys
        for row in connection.execute(
            "SELECT d.document_id FROM documents d JOIN sources s USING (source_id) JOIN collections c "
            "USING (collection_id) WHERE c.tenant = ? AND c.name = ? AND s.source = ? AND d.key = ?",
            (scope.tenant, scope.collection, source, key),
        )
    ]
    removed = _delete_documents(connection, _collection(connection, scope), rows)
    return Change(scope, tuple(removed), document_count=len(rows))


def delete_sources(connection: apsw.Connection, scope: Scope, sources: Sequence[str], prefix: str) -> Change:
    """Delete sources by their names, and those whose name starts with `prefix` unless it is empty."""
    collection_id = _find_collection(connection, scope)
    if collection_id is None:
        return Change(scope)
    found = {
        row[0]
        for source in sources
        for row in connection.execute(
            "SELECT source_id FROM sources WHERE collection_id = ? AND source = ?", (collection_id, source)
        )
    }
    if prefix:
        found |= {
            row[0]
            for row in connection.execute(
                "SELECT source_id FROM sources WHERE collection_id = ? AND substr(source, 1, ?) = ?",
                (collection_id, len(prefix), prefix),
            )
        }
    rows = [
        row[0]
        for source_id in found
        for row in connection.execute("SELECT document_id FROM documents WHERE source_id = ?", (source_id,))
    ]
    removed = _delete_documents(connection, collection_id, rows)
    connection.executemany("DELETE FROM sources WHERE source_id = ?", [(source_id,) for source_id in found])
    return Change(scope, tuple(removed), document_count=len(rows))


def delete_collection(connection: apsw.Connection, scope: Scope) -> Change:
    """Delete a collection with all that is in it."""
    collection_id = _find_collection(connection, scope)
    if collection_id is None:
        return Change(scope)
    removed: list[Any] = connection.execute(
        "SELECT chunk_id FROM chunks JOIN documents USING (document_id) JOIN sources USING (source_id) "
        "WHERE collection_id = ?",
        (collection_id,),
    ).fetchall()
    count = connection.execute(
        "SELECT count(*) FROM documents JOIN sources USING (source_id) WHERE collection_id = ?", (collection_id,)
    ).get
    connection.execute(f"DROP TABLE words_{collection_id}")
    connection.execute("DELETE FROM collections WHERE collection_id = ?", (collection_id,))
    return Change(scope, tuple(row[0] for row in removed), document_count=count)


def _delete_documents(connection: apsw.Connection, collection_id: int, rows: Sequence[int]) -> list[int]:
    removed: list[int] = []
    for document_id in rows:
        chunks: list[Any] = connection.execute(
            "SELECT chunk_id FROM chunks WHERE document_id = ?", (document_id,)
        ).fetchall()
        connection.executemany(f"DELETE FROM words_{collection_id} WHERE rowid = ?", chunks)
        connection.execute("DELETE FROM documents WHERE document_id = ?", (document_id,))
        removed += (row[0] for row in chunks)
    return removed


def _find_collection(connection: apsw.Connection, scope: Scope) -> int | None:
    found: int | None = connection.execute(
        "SELECT collection_id FROM collections WHERE tenant = ? AND name = ?", (scope.tenant, scope.collection)
    ).get
    return found


def _collection(connection: apsw.Connection, scope: Scope) -> int:
    found = _find_collection(connection, scope)
    if found is not None:
        return found
    connection.execute("INSERT INTO collections (tenant, name) VALUES (?, ?)", (scope.tenant, scope.collection))
    collection_id = connection.last_insert_rowid()
    # The text is in `chunks` already: the word table holds the words only.
    connection.execute(
        f"CREATE VIRTUAL TABLE words_{collection_id} USING fts5(title, text, content='', contentless_delete=1, "
        "tokenize='porter unicode61')"
    )
    return collection_id


def digests(connection: apsw.Connection, scope: Scope, sources: Iterable[str]) -> dict[str, str]:
    """The SHA-256 of each of these sources that is stored completely."""
    query = (
        "SELECT source, sha256 FROM sources JOIN collections USING (collection_id) "
        "WHERE tenant = ? AND name = ? AND source = ? AND sha256 != ''"
    )
    return {
        row[0]: row[1]
        for source in sources
        for row in connection.execute(query, (scope.tenant, scope.collection, source))
    }


def key_digests(connection: apsw.Connection, scope: Scope, source: str) -> dict[str, str]:
    """The SHA-256 of each document of a source, by its key."""
    rows = connection.execute(
        "SELECT d.key, d.sha256 FROM documents d JOIN sources s USING (source_id) JOIN collections c "
        "USING (collection_id) WHERE c.tenant = ? AND c.name = ? AND s.source = ?",
        (scope.tenant, scope.collection, source),
    )
    return {row[0]: row[1] for row in rows}


def list_documents(
    connection: apsw.Connection, scope: Scope, prefix: str, after: tuple[str, str], limit: int
) -> list[StoredDocument]:
    """Documents by source and key, from behind `after` on."""
    rows = connection.execute(
        _SOURCES + "WHERE c.tenant = ? AND c.name = ? AND substr(s.source, 1, ?) = ? AND (s.source, d.key) > (?, ?) "
        "ORDER BY s.source, d.key LIMIT ?",
        (scope.tenant, scope.collection, len(prefix), prefix, *after, limit),
    )
    return [StoredDocument(*row) for row in rows]


def search_words(connection: apsw.Connection, scope: Scope, words: Sequence[str], limit: int) -> WordHits:
    """The passages that have any of these words, best first by BM25.

    Words are quoted one by one: what a user types is never FTS5 syntax. They hold no quotes (see `query_words`).
    """
    collection_id = _find_collection(connection, scope)
    if collection_id is None or not words:
        return WordHits()
    table = f"words_{collection_id}"
    rows: list[Any] = connection.execute(
        f"SELECT rowid, -rank FROM {table} WHERE {table} MATCH ? "
        f"AND rank MATCH 'bm25({TITLE_WEIGHT}, 1.0)' ORDER BY rank LIMIT ?",
        (" OR ".join(f'"{word}"' for word in words), limit),
    ).fetchall()
    total: Any = connection.execute(f"SELECT count(*) FROM {table}_docsize").get
    count_matches = f"SELECT count(*) FROM {table} WHERE {table} MATCH ?"
    counts: list[Any] = [connection.execute(count_matches, (f'"{word}"',)).get for word in words]
    english: Any = connection.execute(count_matches, (_ENGLISH,)).get
    return WordHits(
        tuple(rows),
        sum(_rarity(count, total) for count in counts),
        (english + _ASSUMED_ENGLISH) / (total + _ASSUMED_ENGLISH),
    )


def _rarity(count: int, total: int) -> float:
    """A word's weight in FTS5's BM25, when `count` of `total` passages have it."""
    return max(1e-6, math.log((total - count + 0.5) / (count + 0.5)))


def load_chunks(connection: apsw.Connection, chunk_ids: Sequence[int]) -> list[StoredChunk]:
    """The passages with these ids, in this order; those that are gone are left out."""
    found = []
    for chunk_id in chunk_ids:
        row = connection.execute(
            "SELECT d.document_id, d.key, s.source, d.title, c.text, c.start_line, c.end_line, c.page, c.heading "
            "FROM chunks c JOIN documents d USING (document_id) JOIN sources s USING (source_id) WHERE c.chunk_id = ?",
            (chunk_id,),
        ).fetchone()
        if row is not None:
            found.append(StoredChunk(chunk_id, row[0], row[1], row[2], row[3], Chunk(*row[4:])))
    return found


def document_rows(connection: apsw.Connection, chunk_ids: Iterable[int]) -> dict[int, int]:
    """The document of each passage, both by their ids."""
    query = "SELECT chunk_id, document_id FROM chunks WHERE chunk_id = ?"
    return {row[0]: row[1] for chunk_id in chunk_ids for row in connection.execute(query, (chunk_id,))}


def load_vectors(connection: apsw.Connection) -> list[Change]:
    """All vectors, a change for each collection, to fill the memory at the start."""
    changes = []
    for collection_id, tenant, name in connection.execute("SELECT collection_id, tenant, name FROM collections"):
        rows: list[Any] = connection.execute(
            "SELECT chunk_id, vector FROM chunks JOIN documents USING (document_id) JOIN sources USING (source_id) "
            "WHERE collection_id = ? ORDER BY chunk_id",
            (collection_id,),
        ).fetchall()
        if rows:
            vectors = np.frombuffer(b"".join(row[1] for row in rows), dtype="<f4").reshape(len(rows), -1)
            changes.append(Change(Scope(tenant, name), added=tuple(row[0] for row in rows), vectors=vectors))
    return changes
