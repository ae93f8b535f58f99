"""Reads a BEIR folder, and scores rankings by nDCG@10."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import InvalidInput

DEPTH = 10
HEADER = "query-id\tcorpus-id\tscore"
"""First in qrels as BEIR publishes them; others leave it out."""


@dataclass(frozen=True)
class LabelledSet:
    """Documents, queries, and which documents answer which query how well."""

    corpus: bytes
    """JSONL with `_id`, `title`, `text`."""
    queries: Mapping[str, str]
    grades: Mapping[str, Mapping[str, int]]
    """By query and document; absent means 0."""
    unanswerable: tuple[str, ...] = ()
    """Queries that no document answers, where the folder has an `unanswerable.txt`."""


def read_folder(folder: Path) -> LabelledSet:
    """Read corpus.jsonl, queries.jsonl and qrels/test.tsv. Raises `InvalidInput` when one is missing or malformed."""
    try:
        corpus = (folder / "corpus.jsonl").read_bytes()
        rows: list[Any] = [json.loads(line) for line in (folder / "queries.jsonl").read_bytes().splitlines()]
        queries = {str(row["_id"]): str(row["text"]) for row in rows}
        grades: dict[str, dict[str, int]] = {}
        lines = (folder / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()
        for line in lines[1:] if lines and lines[0] == HEADER else lines:
            query, document, grade = line.split("\t")
            grades.setdefault(query, {})[document] = int(grade)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"{folder} is not a BEIR folder: {error}.",
            remedy="It holds corpus.jsonl, queries.jsonl and qrels/test.tsv.",
            field="data",
        ) from None
    extra = folder / "unanswerable.txt"
    unanswerable = tuple(extra.read_text(encoding="utf-8").splitlines()) if extra.exists() else ()
    return LabelledSet(corpus, {key: text for key, text in queries.items() if key in grades}, grades, unanswerable)


def ndcg(ranking: Sequence[str], grades: Mapping[str, int]) -> float:
    """nDCG@10 of one ranking, with linear gains as trec_eval has them; 0 to 1."""
    ideal = sorted((grade for grade in grades.values() if grade > 0), reverse=True)[:DEPTH]
    best = sum(grade / math.log2(place + 2) for place, grade in enumerate(ideal))
    got = sum(grades.get(key, 0) / math.log2(place + 2) for place, key in enumerate(ranking[:DEPTH]))
    return got / best if best else 0.0
