"""`waystation doctor`: is this machine fit for the mesh, and if not, how to mend it."""

import os
from dataclasses import asdict

import typer
from rich.table import Table
from rich.text import Text

from services.cli.checks import Check, Verdict, all_checks
from services.cli.output import JsonOption, out, print_json

STYLES = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.BAD: "bold red"}

app = typer.Typer()


@app.command()
def doctor(is_json: JsonOption = False) -> None:
    """Check this machine, and say how to mend what is wrong. Exit code 1 when something needed is missing."""
    checks = all_checks(os.environ)
    if is_json:
        print_json([asdict(check) for check in checks])
    else:
        _print_checks(checks)
    if any(check.verdict is Verdict.BAD for check in checks):
        raise typer.Exit(1)


def _print_checks(checks: list[Check]) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for check in checks:
        found = Text(check.found)
        if check.remedy:
            found.append(f"\n→ {check.remedy}", style="dim")
        table.add_row(Text(check.verdict, style=STYLES[check.verdict]), Text(check.name, style="bold"), found)
    out().print(table)
