"""`waystation trace`: a run's waterfall at the terminal."""

import time
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from services.cli.control_http import get_json, open_client
from services.cli.output import JsonOption, note, out, print_json
from services.cli.waterfall import Row, Span, Waterfall, lay_out
from shared.errors import NotFound

MAX_SPANS = 10_000
PAGE_SIZE = 5_000
NAME_CELLS, SERVICE_CELLS, DURATION_CELLS = 34, 8, 9
MIN_BAR_CELLS = 12
FIXED_CELLS = NAME_CELLS + SERVICE_CELLS + DURATION_CELLS + 5
STYLES = {"ok": "green", "error": "bold red", "running": "cyan", "lost": "bold yellow"}
MARKS = {"ok": " ", "error": "✗", "running": "…", "lost": "†"}

app = typer.Typer()


@app.command()
def trace(
    run_id: Annotated[str, typer.Argument(help="The run's id, or a trace id.")],
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many spans, the oldest.")] = MAX_SPANS,
    is_json: JsonOption = False,
) -> None:
    """Draw what happened in a run: its spans as a tree on one time axis, with what was recommended and decided."""
    spans, is_whole = _fetch(run_id, limit)
    if not spans:
        raise NotFound(
            f"The control plane has no spans of {run_id}.",
            remedy="`waystation runs list` shows the runs; spans arrive within a second, and are kept for a time.",
            run_id=run_id,
        )
    waterfall = lay_out(spans, time.time() * 1e3)
    if is_json:
        print_json(_document(run_id, waterfall, is_whole=is_whole))
        return
    draw(out(), waterfall)
    if not is_whole:
        note(f"There are more: these are the first {len(spans):,}. See --limit.")


def _fetch(run_id: str, limit: int) -> tuple[list[Span], bool]:
    spans: list[Span] = []
    token = ""
    with open_client() as client:
        while len(spans) < limit:
            size = min(PAGE_SIZE, limit - len(spans))
            page = get_json(client, f"/api/runs/{quote(run_id, safe='')}/spans", page_size=size, page_token=token)
            spans += page["spans"]
            token = page["next_page_token"]
            if not token:
                return spans, True
    return spans, False


def draw(console: Console, waterfall: Waterfall) -> None:
    """Draw the rows, then one line of totals. Lines are as wide as the console; names and notes are cut to fit."""
    width = max(console.width, FIXED_CELLS + MIN_BAR_CELLS)
    notes = [_note(row) for row in waterfall.rows]
    widest_note = min(max(map(cell_len, notes), default=0), width // 3)
    bar_cells = max(MIN_BAR_CELLS, width - FIXED_CELLS - widest_note)
    for row, said in zip(waterfall.rows, notes, strict=True):
        state = row.span["state"]
        style = STYLES.get(state, "")
        line = Text(set_cell_size(_tree(row) + _name(row.span), NAME_CELLS), no_wrap=True)
        line.append(" " + set_cell_size(_flat(row.span["service"]), SERVICE_CELLS), style="dim")
        line.append(" " + _bar(row, waterfall.total_ms, bar_cells), style=style)
        line.append(f" {_length(row.duration_ms):>{DURATION_CELLS}}{MARKS.get(state, '?')} ", style=style)
        line.append(set_cell_size(said, min(cell_len(said), max(0, width - line.cell_len))), style="dim")
        console.print(line, overflow="crop", crop=True)
    console.print(Text(_totals(waterfall), style="bold"), soft_wrap=True)


def _name(span: Span) -> str:
    name = _flat(span["name"])
    return name.rpartition(".")[2] if name.startswith("/") else name  # a call: without the package of its service


def _tree(row: Row) -> str:
    if row.depth == 0:
        return "? " if row.is_orphan else ""
    above = "".join("│ " if goes_on else "  " for goes_on in row.guides[-8:])
    return above + ("└ " if row.is_last else "├ ")


def _bar(row: Row, total_ms: float, cells: int) -> str:
    first = min(cells - 1, int(row.offset_ms / total_ms * cells))
    count = max(1, min(cells - first, round(row.duration_ms / total_ms * cells)))
    solid = "░" if row.span["state"] in ("lost", "running") else "█" if row.duration_ms else "▏"
    return (" " * first + solid * count).ljust(cells)


def _length(ms: float) -> str:
    if ms >= 60_000:
        return f"{ms / 60_000:.1f} min"
    return f"{ms / 1e3:.2f} s" if ms >= 1_000 else f"{ms:.1f} ms"


def _note(row: Row) -> str:
    span = row.span
    parts = [describe(span["attributes"]) for name, describe in NOTES.items() if span["name"] == name]
    if span["attributes"].get("effect.replayed"):
        parts.append("from the ledger")
    if span["state"] == "lost":
        parts.append("lost with its process")
    if span["state"] == "error":
        parts.append(f"{span['attributes'].get('error.type', '')} {span['status_message']}".strip())
    return _flat(" · ".join(part for part in parts if part))


def _run(values: dict[str, Any]) -> str:
    # the upper half is the store's generation
    epoch, cause = _count(values.get("run.epoch")) % 2**32, values.get("run.resume_cause")
    resumed = f"resumed after {cause}, epoch {epoch}" if cause else ""
    return " · ".join(part for part in (resumed, str(values.get("run.workflow", ""))) if part)


def _recommendation(values: dict[str, Any]) -> str:
    confidence = values.get("router.confidence")
    sure = f" {confidence:.0%}" if isinstance(confidence, int | float) else ""
    return f"recommends {values.get('router.recommended', '?')}{sure}"


def _decision(values: dict[str, Any]) -> str:
    capability = values.get("decision.capability")
    what = values.get("decision.action", "?") if capability in (None, "", "none") else capability
    reason = values.get("decision.reason")
    return f"decides {what}, by {values.get('decision.source', '?')}{f': {reason}' if reason else ''}"


def _hop(values: dict[str, Any]) -> str:
    return f"{values.get('capability.name', '?')} {values.get('capability.outcome', '')}".strip()


def _chat(values: dict[str, Any]) -> str:
    read, written = values.get("gen_ai.usage.input_tokens"), values.get("gen_ai.usage.output_tokens")
    tokens = "" if read is None else f", {read}→{written} tokens"
    return f"{values.get('gen_ai.request.model', '?')}{tokens}"


NOTES: dict[str, Callable[[dict[str, Any]], str]] = {
    "agent.run": _run,
    "agent.route_recommendation": _recommendation,
    "agent.arbitrate": _decision,
    "agent.hop": _hop,
    "model.chat": _chat,
    "tool.call": lambda values: str(values.get("gen_ai.tool.name", "?")),
    "retrieval.search": lambda values: f"{values.get('retrieval.hits', '?')} hits",
    "a2a.deliver": lambda values: "message",
}
"""What is said of a span beside its bar, by its name."""


def _totals(waterfall: Waterfall) -> str:
    spans = [row.span for row in waterfall.rows]
    parts = [f"{len(spans):,} span{'' if len(spans) == 1 else 's'}", _length(waterfall.total_ms)]
    read, written = (
        sum(
            _count(span["attributes"].get(f"gen_ai.usage.{kind}_tokens"))
            for span in spans
            if span["name"] == "model.chat"
        )
        for kind in ("input", "output")
    )
    if read or written:
        parts.append(f"{read:,} tokens read, {written:,} written")
    for state in ("error", "lost", "running"):
        if count := sum(span["state"] == state for span in spans):
            parts.append(f"{count} {state}")
    if orphans := sum(row.is_orphan for row in waterfall.rows):
        parts.append(f"{orphans} with a parent that is not here (?)")
    if len(traces := {span["trace_id"] for span in spans}) == 1:
        parts.append(f"trace {traces.pop()}")
    return " · ".join(parts)


def _count(value: object) -> int:
    # anybody may send spans, with whatever under our names
    return value if isinstance(value, int) else 0


def _flat(text: str) -> str:
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _document(run_id: str, waterfall: Waterfall, *, is_whole: bool) -> dict[str, Any]:
    rows = [
        {**row.span, "depth": row.depth, "offset_ms": round(row.offset_ms, 3), "duration_ms": round(row.duration_ms, 3)}
        for row in waterfall.rows
    ]
    total = round(waterfall.total_ms, 3)
    return {"id": run_id, "start_unix_ms": waterfall.start_ms, "total_ms": total, "is_whole": is_whole, "spans": rows}
