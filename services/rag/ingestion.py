"""Takes documents in: parse, embed, store. A document is stored whole or not at all; what is unchanged is skipped."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from services.rag.chunking import chunk_segments
from services.rag.document import ParsedDocument, ParsedSource
from services.rag.index import (
    Change,
    DocumentRecord,
    Scope,
    SourceRecord,
    delete_collection,
    delete_keys,
    delete_sources,
    digests,
    key_digests,
    store_documents,
)
from services.rag.parsing.parse import parse
from services.rag.retriever import TextEmbedder
from services.rag.vector_memory import VectorMemory
from shared.errors import BadDocument
from shared.storage.database import Database, Work

MAX_DOCUMENT_BYTES = 32 * 1024 * 1024
ROWS_PER_BATCH = 64
"""Rows of a JSONL file that are embedded and stored together."""

State = Literal["added", "replaced", "unchanged", "skipped"]


@dataclass(frozen=True)
class Outcome:
    """What became of a source."""

    source: str
    state: State
    chunk_count: int = 0
    document_count: int = 0
    message: str = ""
    is_bad: bool = False
    """Whether it, or a part of it, could not be read."""


class Ingestion:
    """Writes to the index, and lets the vectors in memory follow.

    Sources are taken in one after the other; searches go on meanwhile.
    """

    def __init__(
        self,
        database: Database,
        memory: VectorMemory,
        embedder: TextEmbedder,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._database, self._memory, self._embedder, self._now_s = database, memory, embedder, now_s
        self._lock = asyncio.Lock()

    async def ingest(self, scope: Scope, source: str, content: bytes, media_type: str = "") -> Outcome:
        """Take one source in. What cannot be read is an outcome, not an error."""
        digest = hashlib.sha256(content).hexdigest()
        async with self._lock:
            stored = await self._database.read(lambda connection: digests(connection, scope, [source]))
            if stored.get(source) == digest:
                return Outcome(source, "unchanged")
            try:
                parsed = await asyncio.to_thread(parse, source, content, media_type)
            except BadDocument as error:
                return Outcome(source, "skipped", message=str(error), is_bad=True)
            record = SourceRecord(source, parsed.media_type, digest, len(content), int(self._now_s() * 1000))
            return await self._store(scope, record, parsed)

    async def unchanged(self, scope: Scope, digest_by_source: dict[str, str]) -> list[str]:
        """Those of the sources that are stored with this digest."""
        stored = await self._database.read(lambda connection: digests(connection, scope, digest_by_source))
        return [source for source, digest in digest_by_source.items() if digest and stored.get(source) == digest]

    async def delete(self, scope: Scope, sources: Sequence[str], prefix: str = "") -> int:
        """Delete sources by name and prefix; returns how many documents went."""
        return await self._delete(lambda connection: delete_sources(connection, scope, sources, prefix))

    async def delete_collection(self, scope: Scope) -> int:
        """Delete a whole collection; returns how many documents went."""
        return await self._delete(lambda connection: delete_collection(connection, scope))

    async def _delete(self, work: Work[Change]) -> int:
        async with self._lock:
            return (await self._write(work)).document_count

    async def _store(self, scope: Scope, record: SourceRecord, parsed: ParsedSource) -> Outcome:
        stored = await self._database.read(lambda connection: key_digests(connection, scope, record.source))
        digest_by_key = {document.key: _digest(document) for document in parsed.documents}
        # Rows that are stored already, perhaps by an ingest that was interrupted, are not embedded again.
        fresh = [item for item in parsed.documents if stored.get(item.key) != digest_by_key[item.key]]
        gone = [key for key in stored if key not in digest_by_key]
        pending = SourceRecord(record.source, record.media_type, "", record.size_bytes, record.ingest_time_ms)
        chunk_count = 0
        for start in range(0, len(fresh), ROWS_PER_BATCH):
            batch = await self._prepare(fresh[start : start + ROWS_PER_BATCH], digest_by_key)
            chunk_count += sum(len(document.chunks) for document in batch)
            is_last = start + ROWS_PER_BATCH >= len(fresh) and not gone
            await self._write_documents(scope, record if is_last else pending, batch)
        if gone:
            await self._write(lambda connection: delete_keys(connection, scope, record.source, gone))
        if gone or not fresh:
            await self._write_documents(scope, record, [])
        return Outcome(
            record.source,
            "replaced" if stored else "added",
            chunk_count,
            len(parsed.documents),
            " ".join(parsed.problems),
            bool(parsed.problems),
        )

    async def _prepare(
        self, documents: Sequence[ParsedDocument], digest_by_key: dict[str, str]
    ) -> list[DocumentRecord]:
        chunked = await asyncio.to_thread(lambda: [chunk_segments(document.segments) for document in documents])
        texts = [
            f"{document.title}\n{chunk.heading}\n{chunk.text}" if chunk.heading else f"{document.title}\n{chunk.text}"
            for document, chunks in zip(documents, chunked, strict=True)
            for chunk in chunks
        ]
        vectors = await self._embedder.aembed(texts)
        records, start = [], 0
        for document, chunks in zip(documents, chunked, strict=True):
            end = start + len(chunks)
            size = sum(len(segment.text.encode()) for segment in document.segments)
            digest = digest_by_key[document.key]
            records.append(DocumentRecord(document.key, document.title, digest, size, chunks, vectors[start:end]))
            start = end
        return records

    async def _write_documents(self, scope: Scope, record: SourceRecord, batch: Sequence[DocumentRecord]) -> None:
        await self._write(lambda connection: store_documents(connection, scope, record, batch))

    async def _write(self, work: Work[Change]) -> Change:
        # Once queued the write will be committed: the memory must follow even when the caller leaves meanwhile.
        return await asyncio.shield(asyncio.ensure_future(self._write_and_follow(work)))

    async def _write_and_follow(self, work: Work[Change]) -> Change:
        change = await self._database.write(work)
        self._memory.apply(change)
        return change


def _digest(document: ParsedDocument) -> str:
    # With the lines: a text that moved within its file must be cited where it is now.
    parts = [document.title, *(f"{segment.start_line} {segment.text}" for segment in document.segments)]
    return hashlib.sha256("\0".join(parts).encode("utf-8", errors="surrogatepass")).hexdigest()
