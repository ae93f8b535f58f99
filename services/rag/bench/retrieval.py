"""Quality of retrieval: hybrid beside words only and meaning only; and whether evidence is told from its absence."""

from pathlib import Path
from statistics import fmean

from services.rag.bench.beir import DEPTH, LabelledSet, ndcg, read_folder
from services.rag.bench.measure import Measure, measured
from services.rag.bench.workbench import Workbench, workbench
from services.rag.retriever import Method

OWN_DATA = Path(__file__).with_name("data")


async def measure(data: Path | None) -> list[Measure]:
    """nDCG@10 on a BEIR folder, by default our own small one."""
    labelled = read_folder(data or OWN_DATA)
    async with workbench() as bench:
        await bench.ingestion.ingest(bench.scope, "corpus.jsonl", labelled.corpus)
        lexical = await _ndcg(bench, labelled, "lexical")
        dense = await _ndcg(bench, labelled, "dense")
        hybrid = await _ndcg(bench, labelled, "hybrid")
        count = len(labelled.queries)
        peer, peer_value = max(("bm25", lexical), ("dense", dense), key=lambda item: item[1])
        rows = [
            Measure("retrieval.ndcg10.bm25", round(lexical, 4), "nDCG@10", n=count),
            Measure("retrieval.ndcg10.dense", round(dense, 4), "nDCG@10", n=count),
            measured("retrieval.ndcg10.hybrid", hybrid, "nDCG@10", peer, peer_value, count),
        ]
        return rows + await _evidence(bench, labelled)


async def _ndcg(bench: Workbench, labelled: LabelledSet, method: Method) -> float:
    scores = []
    for key, text in labelled.queries.items():
        found = await bench.retriever.search(text, bench.scope, top_k=DEPTH, method=method, is_by_document=True)
        scores.append(ndcg([passage.stored.key for passage in found.passages], labelled.grades[key]))
    return fmean(scores)


async def _evidence(bench: Workbench, labelled: LabelledSet) -> list[Measure]:
    if not labelled.unanswerable:
        return []
    rows = []
    for name, queries, is_right in (
        ("retrieval.evidence.answerable_kept", list(labelled.queries.values()), True),
        ("retrieval.evidence.unanswerable_refused", list(labelled.unanswerable), False),
    ):
        verdicts = [(await bench.retriever.search(query, bench.scope)).has_evidence is is_right for query in queries]
        rows.append(Measure(name, round(fmean(verdicts), 4), "share", n=len(queries)))
    return rows
