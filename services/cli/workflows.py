"""`waystation workflows`: lists, shows and checks workflows."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from services.cli.mesh import connect
from services.cli.output import JsonOption, as_dict, note, out, print_json
from shared.errors import InvalidInput
from shared.pb import agent_v1

TIMEOUT_S = 10.0
MAX_BYTES = 1_000_000

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_workflows(is_json: JsonOption = False) -> None:
    """List the workflows: shipped ones, those in the data folder's `workflows`, and graphs defined in Python."""
    workflows = asyncio.run(_list())
    if is_json:
        print_json([as_dict(workflow) for workflow in workflows])
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("workflow", "origin", "hops", "cycles", "description"):
        table.add_column(title, justify="right" if title in ("hops", "cycles") else "left", overflow="fold")
    for workflow in workflows:
        if workflow.problems:
            said = Text("; ".join(_line(workflow.file_name, problem) for problem in workflow.problems), style="red")
            table.add_row(Text(workflow.name, style="bold"), workflow.origin, "", "", said)
        else:
            table.add_row(
                Text(workflow.name, style="bold"),
                workflow.origin,
                str(workflow.max_hops),
                str(workflow.max_cycles or ""),
                Text(workflow.description),
            )
    out().print(table)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The workflow.")],
    is_json: JsonOption = False,
) -> None:
    """Show a workflow: its document, and its graph as a Mermaid diagram."""
    workflow = asyncio.run(_get(name))
    if is_json:
        print_json(as_dict(workflow))
        return
    console = out()
    bounds = f"{workflow.max_hops} hops at most"
    bounds += f", {workflow.max_cycles} cycles at most" if workflow.max_cycles else ""
    console.print(Text(f"{workflow.name} ({workflow.origin}): {bounds}", style="bold"), soft_wrap=True)
    for problem in workflow.problems:
        console.print(Text(_line(workflow.file_name, problem), style="red"), soft_wrap=True)
    if workflow.document:
        language = "toml" if workflow.file_name.endswith(".toml") else "yaml"
        console.print(Syntax(workflow.document.rstrip(), language, background_color="default", word_wrap=True))
    if workflow.diagram:
        console.print(Text("\n" + workflow.diagram.rstrip()), soft_wrap=True)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="The document, YAML or TOML.", exists=True, dir_okay=False)],
    is_json: JsonOption = False,
) -> None:
    """Check a document as the agent would; exit code 1 when something is wrong with it."""
    checked = asyncio.run(_check(file))
    if is_json:
        print_json(as_dict(checked))
    else:
        for problem in checked.problems:
            out().print(Text(_line(str(file), problem)), soft_wrap=True)
        if not checked.problems:
            note(f"{file} is a good workflow. Put it into the data folder's `workflows` and restart the agent.")
    if checked.problems:
        raise typer.Exit(1)


async def _list() -> list[agent_v1.Workflow]:
    workflows: list[agent_v1.Workflow] = []
    async with connect("agent") as channel:
        agent = agent_v1.AgentServiceStub(channel)
        token = ""
        while True:
            request = agent_v1.ListWorkflowsRequest(page_token=token)
            page = await agent.ListWorkflows(request, timeout=TIMEOUT_S)
            workflows += page.workflows
            token = page.next_page_token
            if not token:
                return workflows


async def _get(name: str) -> agent_v1.Workflow:
    async with connect("agent") as channel:
        request = agent_v1.GetWorkflowRequest(name=name)
        return (await agent_v1.AgentServiceStub(channel).GetWorkflow(request, timeout=TIMEOUT_S)).workflow


async def _check(file: Path) -> agent_v1.CheckWorkflowResponse:
    try:
        with file.open(encoding="utf-8") as opened:
            document = opened.read(MAX_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file} cannot be read: {error}.", field="file") from None
    async with connect("agent") as channel:
        request = agent_v1.CheckWorkflowRequest(document=document, file_name=file.name)
        return await agent_v1.AgentServiceStub(channel).CheckWorkflow(request, timeout=TIMEOUT_S)


def _line(file_name: str, problem: agent_v1.WorkflowProblem) -> str:
    """`file:line:column: path: message`, as editors know it."""
    place = f":{problem.line}:{problem.column}" if problem.line else ""
    path = f"{problem.path}: " if problem.path else ""
    return f"{file_name}{place}: {path}{problem.message}"
