"""`waystation models`: pull, list and verify model files."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, ClassVar

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from services.cli.output import JsonOption, err, error_row, note, out, print_failure, print_json
from shared.errors import WaystationError
from shared.models import pull as pulling
from shared.models.manifest import ModelEntry, load_manifest
from shared.models.source import sources_of
from shared.models.store import ModelStore
from shared.settings import Settings

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

NamesArgument = Annotated[list[str] | None, typer.Argument(help="Names of models; all when none is given.")]


class ModelFileSettings(Settings):
    """What the command needs to know of model files."""

    section: ClassVar[str] = "models"

    model_source: str = ""
    """A folder, file or URL that is tried before the official sources."""


@app.command("pull")
def pull(
    names: NamesArgument = None,
    source: Annotated[str, typer.Option(help="Folder, file or URL to try first.")] = "",
    is_json: JsonOption = False,
) -> None:
    """Get the model files that are missing, and check their sums."""
    settings = ModelFileSettings.load(os.environ)
    store = ModelStore(settings.home / "models")
    sources = sources_of(source or settings.model_source)
    rows: list[dict[str, object]] = []
    for entry in _entries(names):
        try:
            with _bar(entry, is_shown=not is_json) as on_progress:
                pulled = pulling.pull_model(entry, store, sources, on_progress)
        except WaystationError as error:
            rows.append({"name": entry.name, "error": error_row(error)})
            if not is_json:
                print_failure(error.message, error.remedy)
            continue
        rows.append({"name": entry.name, "path": str(pulled.path), "source": pulled.source or "already there"})
        if not is_json:
            for refusal in pulled.refusals:
                note(f"{entry.name}: {refusal}")
            out().print(f"{entry.name}: {pulled.path} ({rows[-1]['source']})", soft_wrap=True)
    _finish(rows, is_json=is_json)


@app.command("list")
def list_models(is_json: JsonOption = False) -> None:
    """List the models of the manifest, and which are there."""
    store = _store()
    rows = [
        {
            "name": entry.name,
            "use": entry.use,
            "licence": entry.licence,
            "size": entry.size,
            "is_present": store.has(entry),
            "path": str(store.path(entry)),
            "sha256": entry.sha256,
        }
        for entry in load_manifest()
    ]
    if is_json:
        print_json(rows)
        return
    table = Table("model", "use", "licence", "MB", "there", box=None)
    for row, entry in zip(rows, load_manifest(), strict=True):
        table.add_row(
            entry.name, entry.use, entry.licence, f"{entry.size / 1e6:.0f}", "yes" if row["is_present"] else "no"
        )
    out().print(table)


@app.command("verify")
def verify(names: NamesArgument = None, is_json: JsonOption = False) -> None:
    """Read the model files again and compare their sums; a wrong one is set aside."""
    store = _store()
    rows: list[dict[str, object]] = []
    for entry in _entries(names):
        try:
            path = store.find(entry, is_thorough=True)
        except WaystationError as error:
            rows.append({"name": entry.name, "error": error_row(error)})
            if not is_json:
                print_failure(error.message, error.remedy)
            continue
        rows.append({"name": entry.name, "path": str(path), "sha256": entry.sha256})
        if not is_json:
            out().print(f"{entry.name}: right", soft_wrap=True)
    _finish(rows, is_json=is_json)


def _store() -> ModelStore:
    return ModelStore(ModelFileSettings.load(os.environ).home / "models")


def _entries(names: list[str] | None) -> list[ModelEntry]:
    manifest = load_manifest()
    return [manifest.entry(name) for name in names] if names else list(manifest)


def _finish(rows: list[dict[str, object]], *, is_json: bool) -> None:
    if is_json:
        print_json(rows)
    if any("error" in row for row in rows):
        raise typer.Exit(1)


@contextmanager
def _bar(entry: ModelEntry, *, is_shown: bool) -> Iterator[Callable[[pulling.Progress], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err(), transient=True, disable=not is_shown) as bar:
        task = bar.add_task(entry.name, total=entry.size)

        def show(progress: pulling.Progress) -> None:
            bar.update(task, completed=progress.done, description=f"{entry.name} from {progress.source}")

        yield show
