"""A router's recommendation, as JSON and as bars."""

from rich.table import Table
from rich.text import Text

from shared.pb import agent_v1

BAR_WIDTH = 20


def recommendation_row(recommendation: agent_v1.Recommendation) -> dict[str, object]:
    """The recommendation as JSON; `top` is "none" when the router abstains."""
    return {
        "top": recommendation.top or "none",
        "router": recommendation.router,
        "latency_ms": round(recommendation.latency.ToMicroseconds() / 1000, 3),
        "candidates": [
            {
                "service": candidate.service,
                "confidence": candidate.confidence,
                "matched_tags": list(candidate.matched_tags),
                "nearest_examples": list(candidate.nearest_examples),
            }
            for candidate in recommendation.candidates
        ],
    }


def recommendation_table(recommendation: agent_v1.Recommendation, *, examples: int = 0) -> Table:
    """One row for each candidate: name, bar, confidence, tags, and so many of its nearest examples."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for candidate in recommendation.candidates:
        is_top = candidate.service == recommendation.top
        reasons = Text(", ".join(candidate.matched_tags), style="dim")
        for example in candidate.nearest_examples[:examples]:
            reasons.append(f"\n“{example}”")
        table.add_row(
            Text(candidate.service, style="bold" if is_top else ""),
            Text(bar(candidate.confidence), style="green" if is_top else "dim"),
            f"{candidate.confidence:.2f}",
            reasons,
        )
    return table


def bar(share: float) -> str:
    """A bar of `BAR_WIDTH` cells, `share` (0 to 1) of them filled."""
    filled = round(min(max(share, 0.0), 1.0) * BAR_WIDTH)
    return "█" * filled + "░" * (BAR_WIDTH - filled)


def recommendation_title(recommendation: agent_v1.Recommendation) -> str:
    """What is recommended, by which router, and how long it took."""
    latency_ms = recommendation.latency.ToMicroseconds() / 1000
    return f"{recommendation.top or 'none'} ({recommendation.router}, {latency_ms:.1f} ms)"
