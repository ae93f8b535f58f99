"""`waystation models`: get, list and check the model files."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from services.cli.output import JsonOption, err, error_row, out, print_json
from shared.errors import WaystationError
from shared.models.manifest import ModelEntry, load_manifest
from shared.models.pull import Puller
from shared.models.store import ModelStore
from shared.settings import Settings

SOURCE_VARIABLE = "WAYSTATION_MODEL_SOURCE"

app = typer.Typer(no_args_is_help=True)
Names = Annotated[list[str] | None, typer.Argument(help="Models; none means all.", metavar="[MODEL]…")]


@app.command("list")
def list_models(is_json: JsonOption = False) -> None:
    """List the models of the manifest and whether their files are there."""
    store = _store()
    rows = [_row(store, entry) for entry in load_manifest()]
    if is_json:
        print_json(rows)
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("model", "use", "size", "licence", "file"):
        table.add_column(title, overflow="fold")
    for row in rows:
        there = f"[green]{row['path']}[/]" if row["state"] == "present" else f"[red]{row['state']}[/]"
        table.add_row(str(row["name"]), str(row["use"]), f"{_size(row)} MB", str(row["licence"]), there)
    out().print(table)


@app.command()
def pull(names: Names = None, is_json: JsonOption = False) -> None:
    """Get the files that are missing, and check their sums before they are used."""
    store = _store()
    puller = Puller(store, os.environ.get(SOURCE_VARIABLE, ""))
    with _progress(is_json) as bars:
        for entry in _entries(names):
            task = bars.add_task(entry.name, total=entry.size)
            path = puller.pull(entry, lambda done, task=task: bars.advance(task, done))  # type: ignore[misc]
            bars.update(task, completed=entry.size)
            if not is_json:
                bars.console.print(f"{entry.name} is there: {path}", highlight=False)
    if is_json:
        print_json([_row(store, entry) for entry in _entries(names)])


@app.command()
def verify(names: Names = None, is_json: JsonOption = False) -> None:
    """Compute every sum again; a file with a wrong one is put aside."""
    store = _store()
    rows: list[dict[str, object]] = []
    with _progress(is_json) as bars:
        for entry in _entries(names):
            task = bars.add_task(entry.name, total=entry.size)
            try:
                store.verified(entry, lambda done, task=task: bars.advance(task, done), again=True)  # type: ignore[misc]
                rows.append({"name": entry.name, "verified": True})
                said = "the sum is right."
            except WaystationError as error:
                rows.append({"name": entry.name, "verified": False, "error": error_row(error)})
                said = str(error)
            if not is_json:
                bars.console.print(f"{entry.name}: {said}", highlight=False)
    if is_json:
        print_json(rows)
    if not all(row["verified"] for row in rows):
        raise typer.Exit(1)


def _store() -> ModelStore:
    return ModelStore(Settings.load(os.environ).home)


def _entries(names: Sequence[str] | None) -> list[ModelEntry]:
    manifest = load_manifest()
    return [manifest.entry(name) for name in names] if names else list(manifest)


def _row(store: ModelStore, entry: ModelEntry) -> dict[str, object]:
    return {
        "name": entry.name,
        "use": entry.use,
        "size": entry.size,
        "sha256": entry.sha256,
        "licence": entry.licence,
        "state": store.state(entry),
        "path": str(store.path(entry)),
    }


def _size(row: dict[str, object]) -> int:
    return round(int(str(row["size"])) / 1e6)


@contextmanager
def _progress(is_quiet: bool) -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=err(), disable=is_quiet) as bars:
        yield bars
