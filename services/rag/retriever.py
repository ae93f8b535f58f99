"""Finds passages: by words, by meaning, or by both fused."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import apsw
from opentelemetry import trace

from services.rag.evidence import signal
from services.rag.fusion import Fused, fuse, meaning_weight
from services.rag.index import Scope, StoredChunk, Vectors, WordHits, document_rows, load_chunks, search_words
from services.rag.query_words import query_words
from services.rag.vector_memory import VectorMemory
from shared.query_text import check_query
from shared.storage.database import Database
from shared.telemetry import attributes

Method = Literal["hybrid", "lexical", "dense"]

MAX_QUERY_BYTES = 64 * 1024
MAX_TOP_K = 200
DEPTH = 100
"""Candidates of each method, at least."""
INLINE_PASSAGES = 20_000
"""Comparing so many vectors takes a millisecond or two: less than handing the work to a thread may."""
EVIDENCE_PASSAGES = 5
"""So many of the best passages are looked at for evidence."""

tracer = trace.get_tracer(__name__)


class TextEmbedder(Protocol):
    """What retrieval needs of the embedding model."""

    dimensions: int

    async def aembed(self, texts: Sequence[str]) -> Vectors:
        """One vector of length 1 per text."""
        ...


@dataclass(frozen=True)
class FoundPassage:
    """A passage that was found, and how."""

    stored: StoredChunk
    score: float
    lexical_rank: int
    """Place in the list by words, from 1; 0 when it was not there."""
    dense_rank: int
    similarity: float
    """Cosine with the query; 0 in a search by words only."""

    @property
    def titled_text(self) -> str:
        """What a question is compared with: title, heading and text."""
        return f"{self.stored.title}\n{self.stored.chunk.heading}\n{self.stored.chunk.text}"


@dataclass(frozen=True)
class Found:
    """What a search found, best first."""

    passages: tuple[FoundPassage, ...]
    has_evidence: bool
    latency_s: float


class Retriever:
    """Searches the index and the vectors in memory."""

    def __init__(self, database: Database, memory: VectorMemory, embedder: TextEmbedder) -> None:
        self._database, self._memory, self._embedder = database, memory, embedder

    def is_empty(self, scope: Scope) -> bool:
        """Whether the collection holds nothing."""
        return self._memory.of(scope) is None

    async def search(
        self, query: str, scope: Scope, *, top_k: int = 10, method: Method = "hybrid", is_by_document: bool = False
    ) -> Found:
        """The `top_k` best passages, or the best passage of each of the `top_k` best documents.

        Raises `InvalidInput` for an empty, oversized or binary query.
        """
        check_query(query, MAX_QUERY_BYTES)
        started = time.perf_counter()
        told = {attributes.OPERATION: attributes.RETRIEVAL, attributes.PROVIDER: attributes.OURS}
        with tracer.start_as_current_span(attributes.SPAN_SEARCH, attributes=told) as span:
            depth = max(DEPTH, 3 * top_k if is_by_document else top_k)
            ranked = [] if self.is_empty(scope) else await self._rank(query, scope, method, depth)

            def load(connection: apsw.Connection) -> list[StoredChunk]:
                chosen = _best_of_documents(connection, ranked) if is_by_document else ranked
                return load_chunks(connection, [item.chunk_id for item in chosen[:top_k]])

            stored = await self._database.read(load) if ranked else []
            by_id = {item.chunk_id: item for item in ranked}
            passages = tuple(_passage(chunk, by_id[chunk.chunk_id]) for chunk in stored)
            span.set_attribute(attributes.RETRIEVAL_HITS, len(passages))
        return Found(passages, has_evidence(query, passages, method), time.perf_counter() - started)

    async def _rank(self, query: str, scope: Scope, method: Method, depth: int) -> list[Fused]:
        if method == "lexical":
            by_words = await self._search_words(query, scope, depth)
            return [Fused(key, score, rank) for rank, (key, score) in enumerate(by_words.scored, 1)]
        if method == "dense":
            vectors, by_words = await self._embedder.aembed([query]), WordHits()
        else:
            vectors, by_words = await asyncio.gather(
                self._embedder.aembed([query]), self._search_words(query, scope, depth)
            )
        memory = self._memory.of(scope)
        if memory is None:  # deleted meanwhile
            return []
        if len(memory) <= INLINE_PASSAGES:
            dense = memory.search(vectors[0], depth)
        else:
            dense = await asyncio.to_thread(memory.search, vectors[0], depth)
        if method == "dense":
            return [Fused(key, score, 0, rank, score) for rank, (key, score) in enumerate(dense, 1)]
        similarities = {**memory.similarities(vectors[0], [key for key, _ in by_words.scored]), **dict(dense)}
        return fuse(by_words, dense, similarities, meaning_weight(query, by_words.english_share))

    async def _search_words(self, query: str, scope: Scope, depth: int) -> WordHits:
        words = query_words(query)
        return await self._database.read(lambda connection: search_words(connection, scope, words, depth))


def has_evidence(query: str, passages: Sequence[FoundPassage], method: Method = "hybrid") -> bool:
    """Whether any of the best passages looks like it answers the query. By words only, the words alone must tell."""
    signals = [signal(query, item.titled_text, item.similarity) for item in passages[:EVIDENCE_PASSAGES]]
    return any(item.is_covered if method == "lexical" else item.is_evidence for item in signals)


def _best_of_documents(connection: apsw.Connection, ranked: Sequence[Fused]) -> list[Fused]:
    rows = document_rows(connection, [item.chunk_id for item in ranked])
    best: dict[int, Fused] = {}
    for item in ranked:
        if item.chunk_id in rows:
            best.setdefault(rows[item.chunk_id], item)
    return list(best.values())


def _passage(stored: StoredChunk, fused: Fused) -> FoundPassage:
    return FoundPassage(stored, fused.score, fused.lexical_rank, fused.dense_rank, fused.similarity)
