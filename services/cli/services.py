"""`waystation services`: what is registered with the control plane, and how it is."""

import asyncio

import typer
from rich.table import Table
from rich.text import Text

from services.cli.mesh import connect
from services.cli.output import JsonOption, as_dict, note, out, print_json
from shared.pb import control_v1

TIMEOUT_S = 10.0
STYLES = {"serving": "green", "degraded": "yellow"}

app = typer.Typer()


@app.command()
def services(is_json: JsonOption = False) -> None:
    """List the services that are registered, and how they are."""
    instances = asyncio.run(_list_services())
    if is_json:
        print_json([as_dict(instance) for instance in instances])
    elif not instances:
        note("No service is registered.")
    else:
        out().print(_table(instances))


async def _list_services() -> list[control_v1.ServiceInstance]:
    async with connect("control") as channel:
        registry = control_v1.RegistryServiceStub(channel)
        response = await registry.ListServices(control_v1.ListServicesRequest(), timeout=TIMEOUT_S)
        return list(response.instances)


def _table(instances: list[control_v1.ServiceInstance]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("service", "kind", "address", "state", "cpu", "memory", "tags"):
        table.add_column(title, justify="right" if title in ("cpu", "memory") else "left", overflow="fold")
    for instance in instances:
        health = instance.health
        state = control_v1.Health.State.Name(health.state).removeprefix("STATE_").lower().replace("_", " ")
        said = f"{state}: {health.message}" if health.message else state
        table.add_row(
            Text(instance.descriptor.name, style="bold"),
            instance.kind,
            instance.address,
            Text(said, style=STYLES.get(state, "red")),
            f"{health.cpu:.0%}",
            f"{health.rss_bytes / 1e6:.0f} MB",
            Text(", ".join(instance.descriptor.tags), style="dim"),
        )
    return table
