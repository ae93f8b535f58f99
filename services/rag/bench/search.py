"""Latency of one search, the query's embedding included, at 5,000 passages; beside words only and brute force."""

import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import numpy as np

from services.rag.bench.beir import read_folder
from services.rag.bench.measure import Measure, measured, percentile
from services.rag.bench.retrieval import OWN_DATA
from services.rag.bench.workbench import Workbench, workbench
from services.rag.document import Chunk
from services.rag.index import DocumentRecord, SourceRecord, store_documents

PASSAGES = 5_000
WORDS_PER_PASSAGE = 150
ROUNDS = 4
_BATCH = 500


async def measure(data: Path | None) -> list[Measure]:
    """p50 and p95 of hybrid search. The passages are made up: their words follow Zipf's law, their vectors chance."""
    queries = list(read_folder(OWN_DATA).queries.values()) * ROUNDS
    async with workbench() as bench:
        await _fill(bench, queries)
        hybrid = await _times(queries, lambda query: bench.retriever.search(query, bench.scope))
        lexical = await _times(queries, lambda query: bench.retriever.search(query, bench.scope, method="lexical"))
        dense = await _times(queries, lambda query: bench.retriever.search(query, bench.scope, method="dense"))
    rows = []
    for label, share in (("p50", 0.5), ("p95", 0.95)):
        value = percentile(hybrid, share)
        for peer, times in (("bm25 only", lexical), ("brute force only", dense)):
            name = f"retrieval.search.{label}.vs_{peer.split()[0]}"
            rows.append(measured(name, value, "ms", peer, percentile(times, share), len(queries)))
    return rows


async def _times(queries: Sequence[str], search: Callable[[str], Awaitable[object]]) -> list[float]:
    await search(queries[0])
    times = []
    for query in queries:
        started = time.perf_counter()
        await search(query)
        times.append((time.perf_counter() - started) * 1000)
    return times


async def _fill(bench: Workbench, queries: Sequence[str]) -> None:
    generator = np.random.default_rng(7)
    words = list(dict.fromkeys(word for query in queries for word in query.lower().split()))
    words += [f"w{number}" for number in range(20_000)]
    vectors = generator.standard_normal((PASSAGES, bench.embedder.dimensions)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for start in range(0, PASSAGES, _BATCH):
        documents = []
        for number in range(start, start + _BATCH):
            picks = np.minimum(generator.zipf(1.2, WORDS_PER_PASSAGE) - 1, len(words) - 1)
            text = " ".join(words[pick] for pick in picks)
            documents.append(
                DocumentRecord(str(number), "", "", len(text), (Chunk(text),), vectors[number : number + 1])
            )
        record = SourceRecord("made-up.jsonl", "application/jsonl", "", 0, 0)
        change = await bench.database.write(
            lambda connection, record=record, documents=documents: store_documents(  # type: ignore[misc]
                connection, bench.scope, record, documents
            )
        )
        bench.memory.apply(change)
