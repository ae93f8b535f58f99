"""The registry of names: what the code uses and what a real run puts on its spans, both are in it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from shared.errors import Forbidden
from shared.pb import agent_v1
from shared.telemetry import attributes
from tests.fakes.agent_mesh import mesh
from tests.fakes.spans import recorded_spans

ROOT = Path(__file__).parents[4]
SOURCES = [
    path
    for folder in ("services", "shared", "examples")
    for path in (ROOT / folder).rglob("*.py")
    if "gen" not in path.relative_to(ROOT).parts
]
SPAN_CALLS = {"start_as_current_span": 0, "start_span": 0, "run_span": 0}
ATTRIBUTE_CALLS = {"set_attribute", "set_attributes"}
KNOWN = {name: value for name, value in vars(attributes).items() if name.isupper() and isinstance(value, str)}
RPC_SPAN = re.compile(r"/?waystation\.\w+\.v1\.\w+Service/\w+")


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            yield name, node


def foreign_names(path: Path) -> list[str]:
    """The names in calls that make or describe spans which are spelled out, or not in the registry."""
    found = []
    for name, call in calls(path):
        if name in SPAN_CALLS and call.args:
            found += _foreign(call.args[0], path)
        if name == "set_attribute" and call.args:
            found += _foreign(call.args[0], path)
        if name == "add_event" and call.args:
            found += _foreign(call.args[0], path)
        told = [keyword.value for keyword in call.keywords if keyword.arg == "attributes"]
        for given in (*told, *call.args) if name in {*SPAN_CALLS, "set_attributes", "add_event"} else ():
            if isinstance(given, ast.Dict):
                found += [each for key in given.keys if key for each in _foreign(key, path)]
    return found


def _foreign(node: ast.expr, path: Path) -> list[str]:
    where = f"{path.name}:{node.lineno}"
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [f"{where} {node.value!r} is spelled out"]
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "attributes":
        return [] if node.attr in KNOWN else [f"{where} attributes.{node.attr} is not there"]
    return []


def test_no_span_or_attribute_name_is_spelled_out() -> None:
    assert [each for path in SOURCES for each in foreign_names(path)] == []


def test_the_scan_sees_what_it_looks_for(tmp_path: Path) -> None:
    source = tmp_path / "bad.py"
    source.write_text(
        "tracer.start_as_current_span('my.span', attributes={'my.key': 1})\n"
        "span.set_attribute(attributes.NO_SUCH_NAME, 1)\n"
        "span.set_attributes({'other.key': 1, attributes.RUN_ID: 'r'})\n"
    )
    assert len(foreign_names(source)) == 4
    spans = [name for path in SOURCES for name, _ in calls(path) if name in SPAN_CALLS]
    assert len(spans) > 8


def test_no_name_is_there_twice() -> None:
    names = [value for name, value in KNOWN.items() if not name.startswith(("EVENT_", "SPAN_"))]
    assert len(names) == len(set(names))
    spans = [value for name, value in KNOWN.items() if name.startswith("SPAN_")]
    assert len(spans) == len(set(spans))


def test_every_name_is_explained() -> None:
    page = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
    assert [value for value in KNOWN.values() if f"`{value}`" not in page] == []


def unknown_names(span: ReadableSpan) -> list[str]:
    known = set(KNOWN.values())
    names = [] if RPC_SPAN.fullmatch(span.name) else [span.name]
    names += [*(span.attributes or {}), *(event.name for event in span.events if event.name != "exception")]
    names += [name for link in span.links for name in link.attributes or {}]
    return [name for name in names if name not in known]


async def test_a_real_run_uses_names_of_the_registry_only(tmp_path: Path) -> None:
    with recorded_spans() as spans:
        async with mesh(tmp_path) as served:
            served.model.decisions = [{"reason": "code", "next": "coding"}, {"reason": "done", "next": "answer_now"}]
            run = await served.finish()
    assert run.state == agent_v1.Run.STATE_SUCCEEDED
    ours = [span for span in spans if span.context and f"{span.context.trace_id:032x}" == run.trace_id]
    assert {attributes.SPAN_RUN, attributes.SPAN_ROUTE, attributes.SPAN_ARBITRATE, attributes.SPAN_HOP} <= {
        span.name for span in ours
    }
    assert [name for span in spans for name in unknown_names(span)] == []


async def test_a_hop_that_failed_says_why(tmp_path: Path) -> None:
    failure = Forbidden("coding may not do that.")
    with recorded_spans() as spans:
        async with mesh(tmp_path) as served:
            served.service.failure = failure
            served.model.decisions = [{"reason": "code", "next": "coding"}, {"reason": "done", "next": "answer_now"}]
            await served.finish()
    [hop] = [span for span in spans if span.name == attributes.SPAN_HOP]
    assert (hop.attributes or {})[attributes.ERROR_REASON] == failure.reason
    assert not hop.status.is_ok
    assert failure.message in (hop.status.description or "")


@pytest.mark.parametrize("value", attributes.OPERATIONS)
def test_operations_are_those_of_the_conventions(value: str) -> None:
    assert value in {"invoke_agent", "plan", "chat", "execute_tool", "retrieval"}
