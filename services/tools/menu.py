"""How tools are offered to a model: a line each, and one schema that allows exactly the calls there are."""

from collections.abc import Iterable, Sequence
from typing import Any

from services.tools.tool import JsonObject, Tool

FINISH = "finish"
"""What the model names instead of a tool when it has all results."""
NO_TOOL = "none"
"""What it names when no tool fits."""

MAX_DESCRIPTION_CHARS = 160
"""A longer description is cut: small models read 80 tokens a second."""


def describe(tools: Iterable[Tool]) -> str:
    """A line for each tool, such as "weekday(date): Day of the week of a date."; `?` marks what may be left out."""
    return "\n".join(f"{tool.name}({_signature(tool.input_schema)}): {_brief(tool.description)}" for tool in tools)


def call_schema(tools: Iterable[Tool], endings: Sequence[str] = (FINISH, NO_TOOL)) -> JsonObject:
    """A JSON schema for the next step: one variant for each tool, so that the arguments fit the tool that is named.

    `endings` are the words allowed instead of a tool.

    Models' servers turn it into a grammar; what those do not know (titles, defaults, bounds) is left out, and checked
    when the tool is called.
    """
    variants = [_variant(tool.name, tool.input_schema) for tool in tools]
    for word in endings:
        end: JsonObject = {"type": "object", "properties": {"tool": {"const": word}}, "required": ["tool"]}
        variants.append(end | {"additionalProperties": False})
    return {"title": "step", "anyOf": variants}


def _variant(name: str, schema: JsonObject) -> JsonObject:
    properties = {"tool": {"const": name}, "arguments": _shape(schema, schema.get("$defs", {}))}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


_KEPT = ("type", "enum", "const", "pattern", "items", "properties", "required", "anyOf", "additionalProperties")


def _shape(schema: Any, definitions: JsonObject) -> JsonObject:
    """The part of a schema that decides the form of a value, references replaced by what they name."""
    if not isinstance(schema, dict):
        return {}
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        # A definition that names itself is left open below its first level; the tool checks what arrives.
        others = {key: value for key, value in definitions.items() if key != name}
        return _shape(definitions.get(name, {}), others)
    shape: JsonObject = {key: schema[key] for key in _KEPT if key in schema}
    if "properties" in shape:
        shape["properties"] = {key: _shape(value, definitions) for key, value in shape["properties"].items()}
    if "items" in shape:
        shape["items"] = _shape(shape["items"], definitions)
    if "anyOf" in shape:
        shape["anyOf"] = [_shape(value, definitions) for value in shape["anyOf"]]
    return shape


def _signature(schema: JsonObject) -> str:
    required = schema.get("required", ())
    properties: JsonObject = schema.get("properties", {})
    return ", ".join(name + ("" if name in required else "?") + _type_mark(value) for name, value in properties.items())


def _type_mark(schema: Any) -> str:
    kind = schema.get("type", "string") if isinstance(schema, dict) else "string"
    return "" if kind == "string" else f": {kind}"


def _brief(description: str) -> str:
    line = " ".join(description.split())
    return line if len(line) <= MAX_DESCRIPTION_CHARS else f"{line[:MAX_DESCRIPTION_CHARS]}…"
