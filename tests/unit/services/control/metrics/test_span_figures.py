"""Figures from spans."""

from collections.abc import Callable

import orjson

from services.control.metrics.span_figures import SpanFigures
from services.control.telemetry.span import SpanRecord

Make = Callable[..., SpanRecord]


def body(**attributes: object) -> bytes:
    return orjson.dumps({"attributes": attributes, "events": [], "links": []})


def test_a_span_that_was_given_up_counts_when_it_ends(make_span: Make) -> None:
    figures, contents = SpanFigures(), body(**{"capability.name": "rag"})
    hop = make_span("agent.hop", body=contents)
    figures.note([make_span("agent.hop", end_ns=None, body=contents)])
    figures.note([hop._replace(state="lost")])
    assert not figures.hop_seconds
    figures.note([hop])
    assert figures.hop_seconds["rag", "ok"].buckets()[-1] == ("+Inf", 1)
    assert figures.spans == {"lost": 1, "ok": 1}


def test_clock_skew_and_odd_values_count_as_nothing(make_span: Make) -> None:
    figures = SpanFigures()
    odd = body(
        **{"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": "many", "gen_ai.usage.output_tokens": -5}
    )
    figures.note([make_span("agent.route_recommendation", start_ns=500, end_ns=100), make_span("model.chat", body=odd)])
    assert figures.route_seconds.sum == 0
    assert set(figures.tokens.values()) == {0}


def test_a_value_on_a_bound_is_at_or_below_it(make_span: Make) -> None:
    figures = SpanFigures()
    figures.note([make_span("agent.route_recommendation", start_ns=0, end_ns=10**6)])
    assert dict(figures.route_seconds.buckets())["0.001"] == 1
    assert dict(figures.route_seconds.buckets())["0.0005"] == 0
