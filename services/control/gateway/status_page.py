"""The status page: services with their health, recent runs, and where to look further."""

from urllib.parse import quote

from starlette.responses import HTMLResponse

from services.control.gateway.page import Html, page, table, text
from services.control.gateway.run_views import RunView
from services.control.gateway.views import ServiceView

REFRESH_S = 10
LINKS = (
    ("/docs", "The HTTP API"),
    ("/openapi.json", "its OpenAPI document"),
    ("/api/services", "services"),
    ("/api/runs", "runs"),
    ("/api/health", "health"),
    ("/api/events", "live events"),
)
_GOOD = ("serving", "succeeded", "running")
_BAD = ("not_serving", "degraded", "failed", "lost")


def status_page(services: list[ServiceView], runs: list[RunView]) -> HTMLResponse:
    """The page."""
    links = " · ".join(f'<a href="{path}">{text(label)}</a>' for path, label in LINKS)
    parts = [Html("<h2>Services</h2>"), _services(services), Html("<h2>Recent runs</h2>"), _runs(runs)]
    return page("Waystation", [*parts, Html(f"<h2>More</h2><p>{links}</p>")], refresh_s=REFRESH_S)


def _services(services: list[ServiceView]) -> Html:
    rows = [
        (
            service.name,
            service.kind,
            _state(service.health.state, service.health.message),
            Html(f"<code>{text(service.address)}</code>"),
            ", ".join(service.tags),
            service.version,
            f"{service.health.cpu or 0:.0%}",
            f"{service.health.rss_bytes / 2**20:.0f} MiB",
        )
        for service in services
    ]
    heads = ("Name", "Kind", "Health", "Address", "Tags", "Version", "CPU", "Memory")
    return table("Services", heads, rows, "No service is registered. `waystation up` starts them.")


def _runs(runs: list[RunView]) -> Html:
    rows = [
        (
            run.create_time.strftime("%Y-%m-%d %H:%M:%S UTC") if run.create_time else "",
            _state(run.state, run.error.message if run.error else ""),
            run.workflow,
            run.query[:200],
            run.hop_count,
            Html(
                f'<a href="/api/runs/{quote(run.run_id, safe="")}"><code>{text(run.run_id)}</code></a> '
                f'<a href="/api/runs/{quote(run.run_id, safe="")}/spans">spans</a>'
            ),
        )
        for run in runs
    ]
    heads = ("Started", "State", "Workflow", "Question", "Hops", "Run")
    return table("Recent runs", heads, rows, "No runs yet. `waystation ask` starts one.")


def _state(state: str, message: str) -> Html:
    mood = "good" if state in _GOOD else "bad" if state in _BAD else ""
    note = f" – {text(message)}" if message else ""
    return Html(f'<span class="{mood}">{text(state.replace("_", " "))}</span>{note}')
