"""`waystation bench`: runs the services' own measurements as processes, and merges their rows into one table."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

import services
from services.cli.output import JsonOption, err, out, print_failure, print_json
from shared.errors import InternalError, NotFound

COLUMNS = ("name", "value", "unit", "peer", "peer_value", "ratio", "n")

app = typer.Typer()


@dataclass(frozen=True)
class BenchModule:
    """The measurements of one service."""

    service: str
    names: tuple[str, ...]
    """Measurements that can be asked for one by one; empty when there is only the whole."""

    def command(self, names: list[str], data: Path | None) -> list[str]:
        """How to run it: JSON rows on standard output, progress on standard error."""
        arguments = [name for name in names if name in self.names]
        source = ["--data", str(data)] if data else []
        return [sys.executable, "-m", f"services.{self.service}.bench", *arguments, "--json", *source]


@app.command()
def bench(
    names: Annotated[list[str] | None, typer.Argument(help="Services or measurements; none means all.")] = None,
    data: Annotated[Path | None, typer.Option(exists=True, help="Measure on this file or folder.")] = None,
    is_json: JsonOption = False,
) -> None:
    """Measure, and print one table."""
    wanted = names or []
    rows: list[dict[str, Any]] = []
    failures = 0
    for module in chosen(find_modules(Path(services.__path__[0])), wanted):
        try:
            rows += _run(module, wanted, data)
        except InternalError as error:
            failures += 1
            print_failure(error.message, error.remedy)
    if is_json:
        print_json(rows)
    else:
        _print_rows(rows)
    if failures:
        raise typer.Exit(1)


def find_modules(folder: Path) -> list[BenchModule]:
    """The services under `folder` that bring measurements: a package `bench` with `__main__`, or a module `bench`."""
    modules = [
        BenchModule(main.parent.parent.name, tuple(sorted(path.stem for path in main.parent.glob("[!_]*.py"))))
        for main in folder.glob("*/bench/__main__.py")
    ]
    modules += [BenchModule(path.parent.name, ()) for path in folder.glob("*/bench.py") if path.parent.name != "cli"]
    return sorted(modules, key=lambda module: module.service)


def chosen(modules: list[BenchModule], names: list[str]) -> list[BenchModule]:
    """The modules that the names ask for. Raises `NotFound` for a name that nobody has."""
    known = {name for module in modules for name in (module.service, *module.names)}
    for name in names:
        if name not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise NotFound(f"There is no measurement {name!r}.", remedy=f"Known: {listed}.", known=listed)
    return [module for module in modules if not names or {module.service, *module.names} & set(names)]


def _run(module: BenchModule, names: list[str], data: Path | None) -> list[dict[str, Any]]:
    command = module.command(names, data)
    err().print(f"measuring {module.service} …", style="dim")
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise InternalError(
            f"The measurement of {module.service} ended with exit code {done.returncode}.",
            remedy=f"Run it by itself: {' '.join(command[1:])}",
        )
    try:
        rows = json.loads(done.stdout)
    except ValueError:
        rows = None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "name" in row for row in rows):
        raise InternalError(f"The measurement of {module.service} did not print a JSON list of rows.")
    return rows


def _print_rows(rows: list[dict[str, Any]]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in COLUMNS:
        is_text = column in ("name", "unit", "peer")
        table.add_column(column, justify="left" if is_text else "right", no_wrap=column == "name")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in COLUMNS))
    out().print(table)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
