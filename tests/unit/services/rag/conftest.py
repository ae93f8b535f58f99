"""An index on disk with an embedder that needs no model: texts are alike when they share words."""

import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from services.rag.index import SCHEMA, Scope, load_vectors
from services.rag.ingestion import Ingestion
from services.rag.query_words import content_stems
from services.rag.retriever import Retriever
from services.rag.vector_memory import VectorMemory
from shared.storage.database import Database


class WordEmbedder:
    """Each word is a direction; remembers what it was asked."""

    dimensions = 384

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def aembed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts += texts
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in content_stems(text):
                vectors[row, zlib.crc32(word.encode()) % self.dimensions] += 1
            vectors[row, 0] += 0.01
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@dataclass(frozen=True)
class Library:
    """Everything below the servicer."""

    database: Database
    memory: VectorMemory
    embedder: WordEmbedder
    ingestion: Ingestion
    retriever: Retriever
    scope: Scope

    async def add(self, source: str, text: str | bytes, scope: Scope | None = None):  # type: ignore[no-untyped-def]
        content = text.encode() if isinstance(text, str) else text
        return await self.ingestion.ingest(scope or self.scope, source, content)

    async def sources(self, query: str, **options: object) -> list[str]:
        found = await self.retriever.search(query, self.scope, **options)  # type: ignore[arg-type]
        return [passage.stored.key or passage.stored.source for passage in found.passages]

    async def reloaded(self) -> VectorMemory:
        """The memory as a restart would fill it."""
        memory = VectorMemory(self.embedder.dimensions)
        for change in await self.database.read(load_vectors):
            memory.apply(change)
        return memory


@pytest.fixture
async def library(tmp_path: Path) -> AsyncIterator[Library]:
    database = Database(tmp_path / "index.db", SCHEMA, synchronous="NORMAL")
    database.open()
    embedder = WordEmbedder()
    memory = VectorMemory(embedder.dimensions)
    ingestion = Ingestion(database, memory, embedder, lambda: 1_700_000_000.0)
    yield Library(database, memory, embedder, ingestion, Retriever(database, memory, embedder), Scope())
    database.close()
