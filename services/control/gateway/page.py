"""Plain HTML: the frame of our pages, and tables in which every text is escaped."""

from collections.abc import Iterable, Sequence
from html import escape

from starlette.responses import HTMLResponse

# Nothing is loaded and nothing is run, whatever a text may hold.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; }
h2 { font-size: 1.15rem; margin-top: 2rem; }
h3 { font-size: 1rem; margin-bottom: 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid #8884;
  vertical-align: top; overflow-wrap: anywhere; min-width: 4rem; }
code { font: 13px ui-monospace, monospace; }
.good { color: light-dark(#116329, #7ee787); } .bad { color: light-dark(#a40e26, #ff9492); }
"""


class Html(str):
    """Text that is HTML already."""


def text(value: object) -> Html:
    """The value as HTML: escaped, unless it is `Html`."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> Html:
    """A table, or the sentence `empty` when there are no rows."""
    lines = ["<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    if not lines:
        return Html(f"<p>{text(empty)}</p>")
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in heads)
    return Html(
        f'<div class="wide"><table aria-label="{text(caption)}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def page(title: str, parts: Iterable[Html], *, refresh_s: int = 0) -> HTMLResponse:
    """A whole page."""
    refresh = f'<meta http-equiv="refresh" content="{refresh_s}">' if refresh_s else ""
    document = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{text(title)}</title>{refresh}'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>'
        f"<body><main><h1>{text(title)}</h1>{''.join(parts)}</main></body></html>"
    )
    return HTMLResponse(document, headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-store"})
