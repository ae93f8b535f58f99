"""`waystation route`: what the router recommends for a question, or for a file of them."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from services.cli.batch import Batch
from services.cli.mesh import calling, connect
from services.cli.output import JsonOption, out, print_json, print_json_line
from services.cli.recommendation import recommendation_row, recommendation_table, recommendation_title
from shared.errors import InvalidInput, Unavailable, WaystationError
from shared.pb import agent_v1

TIMEOUT_S = 30.0

app = typer.Typer()


@app.command()
def route(
    query: Annotated[str, typer.Argument(help="The question.")] = "",
    tag: Annotated[list[str] | None, typer.Option(help="Only services that have this tag; may be repeated.")] = None,
    batch: Annotated[Path | None, typer.Option(help="A JSONL file with `query` a line.")] = None,
    is_json: JsonOption = False,
) -> None:
    """Say which service the router recommends for a question, without starting a run."""
    if (batch is None) == (not query):
        raise InvalidInput("Give either a question or --batch FILE.", field="query")
    if batch is None:
        _print_route(asyncio.run(_recommend(query, tag or [])), is_json=is_json)
    elif asyncio.run(_route_batch(Batch(batch, ("query",)), tag or [])):
        raise typer.Exit(1)


async def _recommend(query: str, tags: Sequence[str]) -> agent_v1.Recommendation:
    async with connect("agent") as channel:
        agent = agent_v1.AgentServiceStub(channel)
        request = agent_v1.RecommendRouteRequest(query=query, tags=tags)
        response = await agent.RecommendRoute(request, timeout=TIMEOUT_S)
        return response.recommendation


async def _route_batch(batch: Batch, tags: Sequence[str]) -> bool:
    """Print one JSON a line; returns whether a line failed. One query at a time, so that latencies are honest."""
    async with connect("agent") as channel:
        agent = agent_v1.AgentServiceStub(channel)
        for row in batch:
            query = row.fields["query"]
            try:
                with calling("agent"):
                    request = agent_v1.RecommendRouteRequest(query=query, tags=tags)
                    response = await agent.RecommendRoute(request, timeout=TIMEOUT_S)
            except Unavailable:
                raise
            except WaystationError as error:
                batch.report(row.number, error.message)
                continue
            print_json_line({"query": query, **recommendation_row(response.recommendation)})
    return batch.has_failures


def _print_route(recommendation: agent_v1.Recommendation, *, is_json: bool) -> None:
    if is_json:
        print_json(recommendation_row(recommendation))
        return
    console = out()
    console.print(recommendation_title(recommendation), style="bold")
    console.print(recommendation_table(recommendation, examples=1))
