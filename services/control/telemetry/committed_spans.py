"""Spans that an agent committed to its own store before it used them, read from the run events that it reports.

An agent that dies takes with it what it has not sent yet. Its runs' events survive, each with the ids of the span it
happened in, and so the spans of runs, hops and the requests that started them can be put back where they are missing.
"""

from collections.abc import Iterator, Sequence

import apsw
import orjson

from services.control.runs.report import RunReport
from services.control.telemetry.span import MAX_TIME_NS, SpanRecord, is_span_id, is_trace_id
from shared.pb import agent_v1
from shared.telemetry import attributes

REQUEST_NAME = "/waystation.agent.v1.AgentService/StartRun"
CommittedSpan = tuple[SpanRecord, int]
"""The span as it is put back, with the epoch of its run."""


def read_committed(report: RunReport) -> list[CommittedSpan]:
    """The spans that a report's events tell of; `end_ns` is when they were last seen."""
    seen = _last_seen(report.events)
    return [
        (record._replace(end_ns=max(record.start_ns, seen.get((record.trace_id, record.span_id), 0))), epoch)
        for record, epoch in _read(report)
        if is_trace_id(record.trace_id) and is_span_id(record.span_id) and 0 < record.start_ns <= MAX_TIME_NS
    ]


def _read(report: RunReport) -> Iterator[CommittedSpan]:
    runs = {run.run_id: run for run in report.runs}
    for event in report.events:
        match event.WhichOneof("payload"):
            case "state_changed" if event.state_changed.run.span_id:
                run = runs[event.run_id] = event.state_changed.run
                parent = _parent_span_id(run)
                if parent:
                    request = _span(report, run, parent, "", REQUEST_NAME, run.create_time.ToNanoseconds(), {})
                    yield request._replace(kind="server"), run.epoch
                start_ns = event.create_time.ToNanoseconds()
                told: dict[str, object] = {attributes.EPOCH: run.epoch, attributes.WORKFLOW: run.workflow}
                yield _span(report, run, run.span_id, parent, attributes.SPAN_RUN, start_ns, told), run.epoch
            case "hop_started":
                run = runs[event.run_id]
                told = {
                    attributes.CAPABILITY: event.hop_started.capability,
                    attributes.HOP_COUNT: event.hop_started.hop_index + 1,
                }
                start_ns = event.create_time.ToNanoseconds()
                hop = _span(report, run, event.span_id, run.span_id, attributes.SPAN_HOP, start_ns, told)
                yield hop._replace(kind="client"), run.epoch


def _last_seen(events: Sequence[agent_v1.RunEvent]) -> dict[tuple[str, str], int]:
    """When each span was last seen: at its last event, and a run's span at any event of its epoch."""
    seen: dict[tuple[str, str], int] = {}
    current: dict[str, tuple[str, str]] = {}
    for event in events:
        if event.WhichOneof("payload") == "state_changed":
            current[event.run_id] = (event.state_changed.run.trace_id, event.state_changed.run.span_id)
        for key in ((event.trace_id, event.span_id), current.get(event.run_id, ("", ""))):
            seen[key] = min(event.create_time.ToNanoseconds(), MAX_TIME_NS)
    return seen


def _parent_span_id(run: agent_v1.Run) -> str:
    parts = run.trace_parent.split("-")
    return parts[2] if len(parts) == 4 and parts[1] == run.trace_id and is_span_id(parts[2]) else ""


def _span(
    report: RunReport,
    run: agent_v1.Run,
    span_id: str,
    parent_span_id: str,
    name: str,
    start_ns: int,
    told: dict[str, object],
) -> SpanRecord:
    ids = {
        attributes.RUN_ID: run.run_id,
        attributes.THREAD_ID: run.thread_id,
        attributes.CORRELATION_ID: run.correlation_id,
    }
    return SpanRecord(
        trace_id=run.trace_id,
        span_id=span_id,
        parent_span_id=parent_span_id,
        name=name,
        service="agent",
        kind="internal",
        start_ns=start_ns,
        end_ns=start_ns,
        state="lost",
        status_message="",
        run_id=run.run_id or None,
        thread_id=run.thread_id or None,
        correlation_id=run.correlation_id or None,
        instance_id=report.instance_id,
        body=orjson.dumps({"attributes": {**ids, **told, attributes.REBUILT: True}, "events": [], "links": []}),
    )


_COLUMNS = ", ".join(SpanRecord._fields)
_KEEP = f"""
    INSERT INTO committed_spans ({_COLUMNS}, epoch, noted_ns) VALUES ({", ".join("?" * (len(SpanRecord._fields) + 2))})
    ON CONFLICT (trace_id, span_id) DO UPDATE SET end_ns = max(end_ns, excluded.end_ns)
"""
_IS_STORED = "EXISTS (SELECT 1 FROM spans AS s WHERE (s.trace_id, s.span_id) = (c.trace_id, c.span_id))"
# Where other spans of the trace are, this one belongs; otherwise the mesh sends its spans elsewhere. Those of a live
# agent may still come, unless a later epoch of the run has begun.
_MISSING = f"""
    SELECT {{columns}} FROM committed_spans AS c WHERE noted_ns <= ? AND NOT {_IS_STORED}
        AND EXISTS (SELECT 1 FROM spans AS t WHERE t.trace_id = c.trace_id)
        AND (instance_id NOT IN (SELECT value FROM json_each(?))
             OR EXISTS (SELECT 1 FROM committed_spans AS n WHERE n.run_id = c.run_id AND n.epoch > c.epoch))
"""
_PUT_BACK = f"INSERT INTO spans ({_COLUMNS}) {_MISSING.format(columns=_COLUMNS)} RETURNING {_COLUMNS}"
_FORGET = f"DELETE FROM committed_spans AS c WHERE noted_ns <= ? AND ({_IS_STORED} OR noted_ns <= ?)"


def keep_committed(connection: apsw.Connection, spans: Sequence[CommittedSpan], now_ns: int) -> None:
    """Remember spans until they are stored."""
    connection.executemany(_KEEP, [(*record, epoch, now_ns) for record, epoch in spans])


def put_back(
    connection: apsw.Connection, live: Sequence[str], noted_before_ns: int, too_old_ns: int
) -> list[SpanRecord]:
    """Store the spans that will not come any more, as lost, and forget those that did; returns what was put back.

    `live` are the instance ids of the agents that are there.
    """
    values = (noted_before_ns, orjson.dumps(list(live)).decode())
    found = [SpanRecord._make(row) for row in connection.execute(_PUT_BACK, values)]
    connection.execute(_FORGET, (noted_before_ns, too_old_ns))
    return found
