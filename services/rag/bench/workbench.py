"""A retrieval service in this process, on an index of its own that is deleted afterwards."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from services.rag.index import SCHEMA, Scope
from services.rag.ingestion import Ingestion
from services.rag.retriever import Retriever, TextEmbedder
from services.rag.vector_memory import VectorMemory
from shared.models.embedder import Embedder
from shared.storage.database import Database


@dataclass(frozen=True)
class Workbench:
    """What benches work with."""

    database: Database
    memory: VectorMemory
    embedder: TextEmbedder
    ingestion: Ingestion
    retriever: Retriever
    scope: Scope


@asynccontextmanager
async def workbench() -> AsyncIterator[Workbench]:
    """Open one with the real embedding model."""
    with tempfile.TemporaryDirectory(prefix="waystation-bench-") as folder:
        database = Database(Path(folder) / "index.db", SCHEMA, synchronous="NORMAL")
        database.open()
        try:
            with Embedder(threads=1) as embedder:
                memory = VectorMemory(embedder.dimensions)
                ingestion = Ingestion(database, memory, embedder)
                yield Workbench(database, memory, embedder, ingestion, Retriever(database, memory, embedder), Scope())
        finally:
            database.close()
