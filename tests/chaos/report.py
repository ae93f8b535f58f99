"""The matrix as a table and as JSON."""

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.chaos.matrix import Outcome
from tests.chaos.verdict import Verdict

SHOWN_FINDINGS = 5
"""Of each cell."""
COLUMNS = (
    *("kills", "runs", "resumed", "asked", "failed", "duplicated", "effects lost", "runs lost", "broken"),
    *("messages", "applied twice", "messages lost"),
)


def total(outcomes: Sequence[Outcome], process: str = "total", boundary: str = "") -> Outcome:
    """All outcomes as one."""
    summed = Verdict()
    for name in (each.name for each in dataclasses.fields(Verdict)):
        first, *others = [getattr(item.verdict, name) for item in outcomes]
        setattr(summed, name, sum(others, start=first))
    return Outcome(
        process,
        boundary,
        "",
        kills=sum(item.kills for item in outcomes),
        resume_s=max((item.resume_s for item in outcomes), default=0.0),
        verdict=summed,
        problems=[problem for item in outcomes for problem in item.problems],
    )


def show(outcomes: Sequence[Outcome], console: Console) -> None:
    """Print the table, and below it what was found."""
    table = Table(title="Kill matrix")
    table.add_column("process")
    table.add_column("boundary")
    for name in (*COLUMNS, "longest resume"):
        table.add_column(name, justify="right")
    previous = ""
    for item in outcomes:
        if previous and item.process != previous:
            table.add_section()
        table.add_row(item.process if item.process != previous else "", *_cells(item), style=_style(item))
        previous = item.process
    table.add_section()
    whole = total(outcomes)
    table.add_row(whole.process, *_cells(whole), style=_style(whole) or "bold")
    console.print(table)
    for item in outcomes:
        findings = [*item.problems, *item.verdict.findings]
        for finding in findings[:SHOWN_FINDINGS]:
            console.print(f"[yellow]{item.process}, {item.boundary}[/]: {escape(finding)}", highlight=False)
        if len(findings) > SHOWN_FINDINGS:
            console.print(f"  and {len(findings) - SHOWN_FINDINGS} more like these; --json has all")


def to_json(outcomes: Sequence[Outcome]) -> str:
    """The matrix as a JSON document: a list of cells and their sum."""
    return json.dumps({"cells": [_row(item) for item in outcomes], "total": _row(total(outcomes))}, indent=2)


def _row(item: Outcome) -> dict[str, Any]:
    row = dataclasses.asdict(item)
    row["verdict"]["reasons"] = Counter(item.verdict.reasons)
    return row


def _cells(item: Outcome) -> list[str]:
    verdict = item.verdict
    numbers = (verdict.runs, verdict.resumed, verdict.asked, verdict.failed)
    bad = (verdict.duplicated, verdict.effects_lost, verdict.runs_lost, verdict.broken)
    mail = (verdict.messages, verdict.applied_twice, verdict.messages_lost)
    return [item.boundary, str(item.kills), *map(str, (*numbers, *bad, *mail)), f"{item.resume_s:.2f} s"]


def _style(item: Outcome) -> str:
    return "" if item.is_clean else "red"
