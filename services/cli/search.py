"""`waystation search`: passages for a question, or ranked documents for a file of them."""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from services.cli.batch import Batch
from services.cli.mesh import calling, connect
from services.cli.output import JsonOption, as_dict, note, out, print_json, print_json_line
from shared.errors import InvalidInput, Unavailable, WaystationError
from shared.pb import rag_v1

TIMEOUT_S = 30.0
SNIPPET_CHARS = 240

app = typer.Typer()


class Method(StrEnum):
    """How passages are found."""

    HYBRID = "hybrid"
    LEXICAL = "lexical"
    DENSE = "dense"


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="The question.")] = "",
    batch: Annotated[
        Path | None, typer.Option(help="A JSONL file with `_id` and `text` a line; prints one JSON a line.")
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, max=200, help="How many results.")] = 10,
    method: Annotated[Method, typer.Option(help="How to search.")] = Method.HYBRID,
    collection: Annotated[str, typer.Option(help="The collection; empty means the default one.")] = "",
    is_json: JsonOption = False,
) -> None:
    """Find passages in the index."""
    if (batch is None) == (not query):
        raise InvalidInput("Give either a question or --batch FILE.", field="query")
    wanted = rag_v1.SearchRequest.Method.Value(f"METHOD_{method.value.upper()}")
    request = rag_v1.SearchRequest(query=query, top_k=top_k, collection=collection, method=wanted)
    if batch is None:
        _print_hits(asyncio.run(_search(request)), is_json=is_json)
        return
    request.is_by_document = True
    if asyncio.run(_search_batch(Batch(batch, ("_id", "text")), request)):
        raise typer.Exit(1)


async def _search(request: rag_v1.SearchRequest) -> rag_v1.SearchResponse:
    async with connect("rag") as channel:
        rag = rag_v1.RagServiceStub(channel)
        return await rag.Search(request, timeout=TIMEOUT_S)


async def _search_batch(batch: Batch, template: rag_v1.SearchRequest) -> bool:
    """Print one JSON a line; returns whether a line failed."""
    request = rag_v1.SearchRequest()
    request.CopyFrom(template)
    async with connect("rag") as channel:
        rag = rag_v1.RagServiceStub(channel)
        for row in batch:
            request.query = row.fields["text"]
            try:
                with calling("rag"):
                    response = await rag.Search(request, timeout=TIMEOUT_S)
            except Unavailable:
                raise
            except WaystationError as error:
                batch.report(row.number, error.message)
                continue
            results = [{"id": hit.document_id, "score": hit.score} for hit in response.hits]
            print_json_line({"_id": row.fields["_id"], "results": results})
    return batch.has_failures


def _print_hits(response: rag_v1.SearchResponse, *, is_json: bool) -> None:
    if is_json:
        latency_ms = response.latency.ToMicroseconds() / 1000
        hits = [as_dict(hit) for hit in response.hits]
        print_json({"hits": hits, "has_evidence": response.has_evidence, "latency_ms": latency_ms})
        return
    if not response.hits:
        note("Nothing was found. `waystation ingest PATH` takes documents in.")
        return
    table = Table(box=None, padding=(0, 2, 1, 0))
    for title in ("score", "where", "passage"):
        table.add_column(title, style="cyan" if title == "where" else "", overflow="fold")
    for hit in response.hits:
        table.add_row(f"{hit.score:.3f}", Text(place_of(hit)), Text(_snippet(hit.text)))
    out().print(table)
    if not response.has_evidence:
        note("None of these looks like an answer.")


def place_of(hit: rag_v1.Hit) -> str:
    """Where the passage is, as people write it: file:lines, or file and page."""
    if hit.page:
        return f"{hit.source}, page {hit.page}"
    return f"{hit.source}:{hit.start_line}-{hit.end_line}" if hit.start_line else hit.source


def _snippet(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= SNIPPET_CHARS else flat[: SNIPPET_CHARS - 1] + "…"
