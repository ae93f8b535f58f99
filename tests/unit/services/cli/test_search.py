"""Searching for passages, and batches of questions for ranked documents."""

import json
from pathlib import Path

from shared.pb import rag_v1
from tests.fakes.rag_service import FakeRag
from tests.unit.services.cli.conftest import Waystation

HIT = rag_v1.Hit(document_id="d1", source="notes.md", start_line=3, end_line=9, text="It is\n so.", score=0.5)


def test_hits_are_shown_with_file_and_lines(waystation: Waystation, rag: FakeRag) -> None:
    rag.hits = [HIT]
    output = waystation("search", "what is so?").stdout
    assert "notes.md:3-9" in output and "It is so." in output


def test_no_hits_name_the_way_to_have_some(waystation: Waystation, rag: FakeRag) -> None:
    assert "waystation ingest" in waystation("search", "what?").stderr


def test_options_reach_the_service(waystation: Waystation, rag: FakeRag) -> None:
    waystation("search", "what?", "--method", "lexical", "--top-k", "3", "--collection", "c", "--json")
    request = rag.searches[0]
    assert (request.method, request.top_k, request.collection) == (rag_v1.SearchRequest.METHOD_LEXICAL, 3, "c")
    assert not request.is_by_document


def test_a_batch_ranks_documents(waystation: Waystation, rag: FakeRag, tmp_path: Path) -> None:
    rag.hits = [HIT]
    batch = tmp_path / "q.jsonl"
    batch.write_text('{"_id": "q1", "text": "what?"}\n{"_id": "q2"}\n')
    result = waystation("search", "--batch", batch)
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"_id": "q1", "results": [{"id": "d1", "score": 0.5}]}
    ]
    assert rag.searches[0].is_by_document
    assert "line 2:" in result.stderr.replace("\n", " ")
    assert result.exit_code == 1
