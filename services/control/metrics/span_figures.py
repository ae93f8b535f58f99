"""Figures that the spans tell: counted as each is stored, so that a span costs the same however many there are."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from services.control.metrics.histogram import Histogram
from services.control.telemetry.span import SpanRecord
from shared.telemetry import attributes

HOP_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
STEP_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
MAX_LABEL_VALUES = 200
"""Of each label; what comes later is counted as "other", since names come from senders we do not know."""
MAX_LABEL_CHARS = 100
_MODEL_CALLS = ("chat", "text_completion", "generate_content", "embeddings")
"""The GenAI operations whose token counts are their own; those of an agent's span would count twice."""
_FIGURED = (attributes.SPAN_HOP, attributes.SPAN_ARBITRATE, attributes.SPAN_CHECKPOINT_SAVE)
_TOKENS = attributes.INPUT_TOKENS.rpartition(".")[0].encode()


class SpanFigures:
    """Counts ended spans, each once: give it only those that are newly stored."""

    def __init__(self) -> None:
        self.hop_seconds: dict[tuple[str, str], Histogram] = defaultdict(lambda: Histogram(HOP_SECONDS))
        """By capability and state."""
        self.route_seconds = Histogram(STEP_SECONDS)
        self.arbitrate_seconds: dict[str, Histogram] = defaultdict(lambda: Histogram(HOP_SECONDS))
        """By the decision's source."""
        self.decisions: Counter[tuple[str, str]] = Counter()
        """By source and capability."""
        self.checkpoint_seconds = Histogram(STEP_SECONDS)
        self.checkpoint_bytes = 0
        self.tokens: Counter[tuple[str, str]] = Counter()
        """By model and direction, "input" or "output"."""
        self.spans: Counter[str] = Counter()
        """Ended or lost spans by state."""
        self._seen: dict[str, set[str]] = defaultdict(set)

    def note(self, spans: Sequence[SpanRecord]) -> None:
        """Count what has ended."""
        for span in spans:
            if span.state == "running":
                continue
            self.spans[span.state] += 1
            # one that was given up may still end, and is counted then
            if span.end_ns is not None and span.state != "lost":
                self._note_end(span, max(0, span.end_ns - span.start_ns) / 1e9)

    def _note_end(self, span: SpanRecord, seconds: float) -> None:
        if span.name == attributes.SPAN_ROUTE:
            self.route_seconds.add(seconds)
            return
        has_tokens = _TOKENS in span.body
        if not has_tokens and span.name not in _FIGURED:
            return
        found: dict[str, Any] = span.contents()["attributes"]
        if has_tokens and found.get(attributes.OPERATION) in _MODEL_CALLS:
            self._note_tokens(found)
        if span.name == attributes.SPAN_HOP:
            self.hop_seconds[self._label("capability", found, attributes.CAPABILITY), span.state].add(seconds)
        elif span.name == attributes.SPAN_ARBITRATE:
            source = self._label("source", found, attributes.DECISION_SOURCE)
            self.arbitrate_seconds[source].add(seconds)
            self.decisions[source, self._label("decided", found, attributes.DECISION_CAPABILITY)] += 1
        elif span.name == attributes.SPAN_CHECKPOINT_SAVE:
            self.checkpoint_seconds.add(seconds)
            self.checkpoint_bytes += _count(found.get(attributes.CHECKPOINT_BYTES))

    def _note_tokens(self, found: dict[str, Any]) -> None:
        name = attributes.RESPONSE_MODEL if attributes.RESPONSE_MODEL in found else attributes.MODEL
        model = self._label("model", found, name)
        self.tokens[model, "input"] += _count(found.get(attributes.INPUT_TOKENS))
        self.tokens[model, "output"] += _count(found.get(attributes.OUTPUT_TOKENS))

    def _label(self, label: str, found: dict[str, Any], name: str) -> str:
        value, seen = str(found.get(name, ""))[:MAX_LABEL_CHARS], self._seen[label]
        if value not in seen and len(seen) >= MAX_LABEL_VALUES:
            return "other"
        seen.add(value)
        return value


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
