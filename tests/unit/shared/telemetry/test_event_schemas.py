"""The schemas of events: files that are what the contracts say, and say what a bad event is."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from jsonschema import Draft202012Validator, FormatChecker, ValidationError

from shared.pb import agent_v1
from shared.telemetry.cloud_events import NAMES, cloud_event
from shared.telemetry.event_schemas import main, schemas, text_of

FOLDER = Path(__file__).parents[4] / "docs" / "schemas"


def validate(event: dict[str, Any]) -> None:
    schema = schemas()[event["type"].rpartition(".")[2]]
    Draft202012Validator(strict(schema), format_checker=FormatChecker()).validate(event)


def strict(schema: Any) -> Any:
    """The schema with unknown properties forbidden, so that a field it has not heard of is noticed."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: strict(item) for name, item in schema.items()}
    return {**closed, "additionalProperties": False} if isinstance(schema.get("properties"), dict) else closed


def filled(message: Message, depth: int = 0) -> Message:
    """The message with something in every field, down to a depth."""
    for field in message.DESCRIPTOR.fields:
        oneof = field.containing_oneof
        if oneof is not None and message.WhichOneof(oneof.name):
            continue
        if field.message_type is None:
            value: Any = 1 if field.enum_type else field.type and {9: "text", 8: True, 12: b"x"}.get(field.type, 3)
            if field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
        elif depth < 4:
            fill_message(message, field.name, field.message_type, is_repeated=field.is_repeated, depth=depth)
    return message


def fill_message(message: Any, name: str, kind: Descriptor, *, is_repeated: bool, depth: int) -> None:
    child = getattr(message, name)
    if kind.GetOptions().map_entry:
        if kind.fields_by_name["value"].message_type is None:
            is_text = kind.fields_by_name["value"].type == 9
            child["key"] = "value" if is_text else 1
    elif kind.full_name == "google.protobuf.Struct":
        if not is_repeated:
            child.update({"deep": {"list": [1, "two", None]}})
    elif kind.full_name == "google.protobuf.Value":
        child.string_value = "answer"
    elif kind.full_name.startswith("google.protobuf."):
        (child.add() if is_repeated else child).seconds = 5
    else:
        filled(child.add() if is_repeated else child, depth + 1)
        if not is_repeated:
            child.SetInParent()


def event_with(kind: str) -> agent_v1.RunEvent:
    event = agent_v1.RunEvent(run_id="r", sequence=1, correlation_id="0b6a9e16-3c1e-4ed9-9df0-7a1f12a4ab0f")
    event.create_time.GetCurrentTime()
    payload = getattr(event, kind)
    payload.SetInParent()
    filled(payload)
    return event


def test_the_files_are_what_the_contracts_say(tmp_path: Path) -> None:
    (tmp_path / "Forgotten.json").write_text("{}")
    main(tmp_path)
    fresh = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert fresh == {path.name: path.read_text() for path in FOLDER.iterdir()}, "run `make proto`"
    assert set(fresh) == {f"{name}.json" for name in NAMES.values()}


@pytest.mark.parametrize("name", sorted(NAMES.values()))
def test_a_schema_is_one(name: str) -> None:
    schema = schemas()[name]
    Draft202012Validator.check_schema(schema)
    assert text_of(schema).endswith("}\n") and schema["$id"].endswith(name)


@pytest.mark.parametrize("kind", sorted(NAMES))
def test_an_event_with_every_field_filled_is_valid_and_so_is_one_with_none(kind: str) -> None:
    validate(cloud_event(event_with(kind)))
    bare = event_with(kind)
    getattr(bare, kind).Clear()
    getattr(bare, kind).SetInParent()
    validate(cloud_event(bare))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("specversion", "0.3"),
        ("id", "0"),
        ("time", "yesterday"),
        ("type", "waystation.agent.v1.Other"),
        ("correlationid", "no uuid"),
        ("traceparent", "00-xyz"),
        ("data", {"decision": {"source": "SOURCE_ORACLE"}}),
        ("data", {"decision": {"latency": "soon"}}),
        ("data", {"decision": {"remaining_hops": "3"}}),
        ("data", None),
    ],
)
def test_a_bad_event_is_refused(field: str, value: object) -> None:
    event = cloud_event(event_with("decision_made"))
    schema = schemas()["DecisionMade"]
    with pytest.raises(ValidationError):
        Draft202012Validator(schema, format_checker=FormatChecker()).validate({**event, field: value})
