"""What the arbitrator does with the router's word, on a running mesh with its real model."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from services.agent.bench.measure import Measure, compared, quantile
from services.agent.router.authored import BENCH_FILE, NONE, LabelledQuery, labelled_queries
from services.agent.settings import AgentSettings
from shared.errors import DeadlineExceeded, WaystationError
from shared.pb import agent_v1
from shared.rpc.channel import open_channel
from shared.rpc.status import peer_errors

COUNT = 50
RUN_TIMEOUT_S = 180.0

_SOURCES = {
    agent_v1.Decision.SOURCE_MODEL: "model",
    agent_v1.Decision.SOURCE_POLICY: "policy",
    agent_v1.Decision.SOURCE_FALLBACK: "fallback",
}


@dataclass(frozen=True)
class Sample:
    """The first decision on one request."""

    label: str
    recommended: str
    chosen: str
    source: str
    decision_s: float
    first_text_s: float | None
    """From the request to the first text for the user; None when the run ended without any."""

    @property
    def is_right(self) -> bool:
        """Whether the decision is the labelled one."""
        return (self.chosen or NONE) == self.label

    @property
    def was_router_right(self) -> bool:
        """Whether the recommendation is the labelled one."""
        return (self.recommended or NONE) == self.label


async def measure(data: Path | None = None) -> list[Measure]:
    """Ask `COUNT` labelled requests, evenly over the labels, and stop each run at its first text.

    `data` is as for the router's bench. Needs a mesh that is up. Raises `PeerUnavailable` when there is none, and
    `InvalidInput` when the file is no set of labelled queries.
    """
    items = evenly_drawn(labelled_queries(data or BENCH_FILE), COUNT)
    settings = AgentSettings.load(os.environ)
    samples = []
    async with open_channel(f"{settings.host}:{settings.port}") as channel:
        stub = agent_v1.AgentServiceStub(channel)
        for item in items:
            samples.append(await _sample(stub, item.query, item.label))
    return summarize(samples)


def evenly_drawn(items: Sequence[LabelledQuery], count: int) -> list[LabelledQuery]:
    """About `count` items, as many of each label, spread over the file; the labels take turns."""
    by_label: dict[str, list[LabelledQuery]] = {}
    for item in items:
        by_label.setdefault(item.label, []).append(item)
    share = -(-count // len(by_label))
    columns = [group[:: max(1, len(group) // share)] for _, group in sorted(by_label.items())]
    turns = [item for row in zip_longest(*columns) for item in row if item is not None]
    return turns[:count]


def summarize(samples: list[Sample]) -> list[Measure]:
    """Shares of the sources, accuracy beside the router's, overrides, and times."""
    n = len(samples)
    overrides = [item for item in samples if item.chosen != item.recommended]
    rightly = sum(item.is_right and not item.was_router_right for item in overrides)
    wrongly = sum(item.was_router_right and not item.is_right for item in overrides)
    accuracy = sum(item.is_right for item in samples) / n
    router = sum(item.was_router_right for item in samples) / n
    first_texts = [item.first_text_s for item in samples if item.first_text_s is not None]
    shares = [
        Measure(f"arbitrator.share_{source}", sum(item.source == source for item in samples) / n, "share", n=n)
        for source in _SOURCES.values()
    ]
    return [
        *shares,
        compared("arbitrator.accuracy", accuracy, "share", "router alone", router, n),
        Measure("arbitrator.overrides", len(overrides), "count", n=n),
        Measure("arbitrator.overrides_right", rightly, "count", n=n),
        Measure("arbitrator.overrides_wrong", wrongly, "count", n=n),
        Measure("arbitrator.decision_p50", quantile([item.decision_s for item in samples], 0.5), "s", n=n),
        Measure("arbitrator.first_text_p50", quantile(first_texts, 0.5), "s", n=len(first_texts)),
        Measure("arbitrator.first_text_p95", quantile(first_texts, 0.95), "s", n=len(first_texts)),
    ]


async def _sample(stub: "agent_v1.AgentServiceAsyncStub", query: str, label: str) -> Sample:
    started = time.perf_counter()
    recommended, decision, decision_s, first_text_s = "", agent_v1.Decision(), 0.0, None
    with peer_errors("agent"):
        run = (await stub.StartRun(agent_v1.StartRunRequest(query=query), timeout=10)).run
    try:
        with peer_errors("agent"):
            async for message in stub.WatchRun(agent_v1.WatchRunRequest(run_id=run.run_id), timeout=RUN_TIMEOUT_S):
                event, elapsed = message.event, time.perf_counter() - started
                match event.WhichOneof("payload"):
                    case "route_recommended":
                        recommended = event.route_recommended.recommendation.top
                    case "decision_made" if not decision.action:
                        decision, decision_s = event.decision_made.decision, elapsed
                    case "text_produced":
                        first_text_s = elapsed
                        break
    except DeadlineExceeded:
        pass  # counted as a run without text
    try:
        with peer_errors("agent"):
            await stub.CancelRun(agent_v1.CancelRunRequest(run_id=run.run_id, message="measured"), timeout=10)
    except WaystationError:
        pass  # it has ended by itself
    source = _SOURCES.get(decision.source, "none")
    return Sample(label, recommended, decision.capability, source, decision_s, first_text_s)
