"""JSON Schemas of the events, made from the contracts: `python -m shared.telemetry.event_schemas docs/schemas`."""

import json
import sys
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from shared.pb import agent_v1
from shared.telemetry.cloud_events import NAMES, SCHEMA_PREFIX, TYPE_PREFIX

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TIME = {"type": "string", "format": "date-time", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"}
_INT64 = {"type": "string", "pattern": "^-?[0-9]+$"}
_INT32 = {"type": "integer"}
_NUMBER = {"oneOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
_SCALARS: dict[int, dict[str, Any]] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_DOUBLE: _NUMBER,
    FieldDescriptor.TYPE_FLOAT: _NUMBER,
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_UINT32: _INT32,
    FieldDescriptor.TYPE_INT64: _INT64,
    FieldDescriptor.TYPE_UINT64: _INT64,
}
_WELL_KNOWN: dict[str, Any] = {
    "google.protobuf.Timestamp": _TIME,
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?s$"},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": True,
    "google.protobuf.ListValue": {"type": "array"},
}


def schemas() -> dict[str, dict[str, Any]]:
    """The schema of each event, by its conceptual name.

    Fields that have their default are left out of an event, and fields may be added, so nothing in `data` is required
    and unknown properties are permitted.
    """
    fields = agent_v1.RunEvent.DESCRIPTOR.fields_by_name
    payloads = {name: fields[kind].message_type for kind, name in NAMES.items()}
    return {name: _event_schema(name, payload) for name, payload in payloads.items() if payload}


def _event_schema(name: str, payload: Descriptor) -> dict[str, Any]:
    definitions: dict[str, Any] = {}
    data = _reference(payload, definitions)
    return {
        "$schema": DIALECT,
        "$id": SCHEMA_PREFIX + name,
        "title": name,
        "type": "object",
        "required": ["specversion", "id", "source", "type", "time", "sequence", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "pattern": "^[1-9][0-9]*$"},
            "source": {"type": "string", "pattern": "^/waystation/runs/.+$"},
            "type": {"const": TYPE_PREFIX + name},
            "subject": {"type": "string", "minLength": 1},
            "time": _TIME,
            "datacontenttype": {"const": "application/json"},
            "dataschema": {"const": SCHEMA_PREFIX + name},
            "sequence": {"type": "string", "pattern": "^[0-9]{19}$"},
            "correlationid": {"type": "string", "format": "uuid"},
            "traceparent": {"type": "string", "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"},
            "data": data,
        },
        "$defs": dict(sorted(definitions.items())),
    }


def _reference(message: Descriptor, definitions: dict[str, Any]) -> Any:
    if message.full_name in _WELL_KNOWN:
        return _WELL_KNOWN[message.full_name]
    if message.full_name not in definitions:
        definitions[message.full_name] = {}  # so that a message within itself comes to an end
        properties = {field.name: _field(field, definitions) for field in message.fields}
        definitions[message.full_name] = {"type": "object", "properties": properties}
    return {"$ref": f"#/$defs/{message.full_name}"}


def _field(field: FieldDescriptor, definitions: dict[str, Any]) -> Any:
    entry = field.message_type
    if entry and entry.GetOptions().map_entry:
        return {"type": "object", "additionalProperties": _single(entry.fields_by_name["value"], definitions)}
    single = _single(field, definitions)
    return {"type": "array", "items": single} if field.is_repeated else single


def _single(field: FieldDescriptor, definitions: dict[str, Any]) -> Any:
    if field.message_type:
        return _reference(field.message_type, definitions)
    if field.enum_type:
        # a value of a newer contract is its number
        names = [value.name for value in field.enum_type.values]
        return {"oneOf": [{"enum": names}, {"type": "integer"}]}
    return _SCALARS[field.type]


def main(folder: Path) -> None:
    """Write a file for each schema, and remove those of events that are no more."""
    folder.mkdir(parents=True, exist_ok=True)
    made = schemas()
    for path in folder.glob("*.json"):
        if path.stem not in made:
            path.unlink()
    for name, schema in made.items():
        (folder / f"{name}.json").write_text(text_of(schema), encoding="utf-8")


def text_of(schema: dict[str, Any]) -> str:
    """A schema as its file has it."""
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
