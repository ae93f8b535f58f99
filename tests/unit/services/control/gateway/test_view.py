"""Messages of the contract as plain values, and views that keep to the contract."""

import types
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from google.protobuf.descriptor import FieldDescriptor

import services.control.gateway.app  # noqa: F401  # so that all views are known
from services.control.gateway.run_event_views import RunEventType, run_event_view
from services.control.gateway.run_views import CitationView, RunErrorView, RunView
from services.control.gateway.view import ContractView, enum_names, plain, plain_name
from shared.pb import agent_v1, common_v1

UNTOLD = {RunView: {"graph_digest", "trace_parent"}}
"""What is of no use to readers."""
PAYLOADS = tuple(agent_v1.RunEvent.DESCRIPTOR.oneofs_by_name["payload"].fields)


def _views(base: type[ContractView] = ContractView) -> Iterator[type[ContractView]]:
    for view in base.__subclasses__():
        yield view
        yield from _views(view)


def _fields(view: type[ContractView]) -> dict[str, FieldDescriptor]:
    fields: Any = view.contract.DESCRIPTOR.fields
    return {plain_name(field): field for field in fields}


def _literals(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    parts = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType, list) else ()
    return [name for part in parts for name in _literals(part)]


@pytest.mark.parametrize("view", list(_views()), ids=lambda view: view.__name__)
def test_a_view_has_the_fields_and_the_names_of_its_message(view: type[ContractView]) -> None:
    fields = _fields(view)
    own = {name for name, field in view.model_fields.items() if field.is_required()}
    assert own <= set(fields)
    assert set(fields) - own == UNTOLD.get(view, set())
    for name in own:
        enum = fields[name].enum_type
        if enum and (literals := _literals(view.model_fields[name].annotation)):
            assert literals == enum_names(enum)
    view.of(view.contract())  # what is not set has a value too


@pytest.mark.parametrize("field", PAYLOADS, ids=lambda field: str(field.name))
def test_every_event_of_a_run_has_a_view(field: Any) -> None:
    event = agent_v1.RunEvent(run_id="r1", sequence=3)
    getattr(event, field.name).SetInParent()
    shown = run_event_view(event)
    assert (shown.type, shown.sequence) == (field.name, 3)
    assert field.name in get_args(RunEventType)
    assert set(type(shown).model_fields["payload"].annotation.model_fields) == {  # type: ignore[union-attr]
        plain_name(each) for each in field.message_type.fields
    }


def test_an_event_of_a_newer_agent_is_unknown() -> None:
    assert run_event_view(agent_v1.RunEvent(run_id="r1")).type == "unknown"


def test_times_durations_enums_and_large_numbers_are_plain() -> None:
    run = agent_v1.Run(run_id="r1", state=agent_v1.Run.STATE_INPUT_REQUIRED, effort=common_v1.EFFORT_LOW, epoch=2**40)
    run.create_time.FromJsonString("2026-11-21T10:00:00.250Z")
    run.run_timeout.FromMilliseconds(1_500)
    shown = RunView.of(run)
    assert (shown.state, shown.effort, shown.epoch, shown.run_timeout_ms) == ("input_required", "low", 2**40, 1_500)
    assert shown.create_time == datetime(2026, 11, 21, 10, 0, 0, 250_000, UTC)
    assert (shown.end_time, shown.error) == (None, None)


def test_reasons_keep_their_names() -> None:
    error = agent_v1.RunError(reason=common_v1.ERROR_REASON_COMMITS_MISSING, metadata={"found": "0"})
    assert RunErrorView.of(error).model_dump() == {
        "reason": "COMMITS_MISSING",
        "message": "",
        "remedy": "",
        "metadata": {"found": "0"},
    }


def test_a_value_of_a_newer_peer_is_unspecified() -> None:
    run = agent_v1.Run.FromString(agent_v1.Run(run_id="r1").SerializeToString() + b"\x28\x63")
    assert RunView.of(run).state == "unspecified"


def test_whatever_a_struct_holds_is_json() -> None:
    checkpoint = agent_v1.Checkpoint()
    held: dict[str, Any] = {"a": [1, 1.5, None, True, {"b": "<script>"}], "c": {}, "d": -0.0, "e": 1e300}
    checkpoint.state.update(held)
    assert plain(checkpoint)["state"] == held
    checkpoint.state.fields["nan"].number_value = float("nan")
    assert plain(checkpoint)["state"]["nan"] is None


def test_a_score_that_is_no_number_is_none() -> None:
    assert CitationView.of(common_v1.Citation(score=float("inf"))).score is None


def test_bytes_are_base64() -> None:
    assert plain(common_v1.Artifact(data=b"\xff\x00"))["data"] == "/wA="
