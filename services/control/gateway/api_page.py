"""The OpenAPI document with the streams' payloads in it, and a page for it that loads nothing else."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from pydantic import TypeAdapter
from starlette.responses import HTMLResponse

from services.control.gateway.page import Html, page, table, text

REF = "#/components/schemas/"


def stream_response(name: str, description: str) -> dict[int | str, dict[str, Any]]:
    """What a route says of a stream: the schema of its events, whose `event` and `id` are lines of their own."""
    content = {"text/event-stream": {"schema": {"$ref": REF + name}}}
    return {200: {"description": description, "content": content}}


def describe(app: FastAPI, streams: Mapping[str, Any]) -> dict[str, Any]:
    """The OpenAPI document of `app`, with the schemas of the streams' events, which no JSON route mentions."""
    document = app.openapi()
    adapters: Any = [(name, "serialization", TypeAdapter(events)) for name, events in streams.items()]
    _, definitions = TypeAdapter.json_schemas(adapters, ref_template=REF + "{model}")
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name, schema in definitions["$defs"].items():
        schemas.setdefault(name, schema)
    return document


def api_page(document: dict[str, Any]) -> HTMLResponse:
    """The document for people."""
    parts = [Html(f'<p>{text(document["info"]["description"])} <a href="/openapi.json">openapi.json</a></p>')]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts += _operation(method, path, operation)
    parts.append(Html("<h2>Schemas</h2>"))
    for name, schema in sorted(document["components"]["schemas"].items()):
        rows = [
            (Html(f"<code>{text(field)}</code>"), _type(kind)) for field, kind in schema.get("properties", {}).items()
        ]
        parts.append(Html(f'<h3 id="{text(name)}">{text(name)}</h3><p>{text(schema.get("description", ""))}</p>'))
        parts.append(table(name, ("Field", "Type"), rows, ""))
    return page("Waystation HTTP API", parts)


def _operation(method: str, path: str, operation: dict[str, Any]) -> list[Html]:
    parameters = [
        (
            Html(f"<code>{text(each['name'])}</code>"),
            each["in"],
            _type(each["schema"]),
            each.get("description", ""),
        )
        for each in operation.get("parameters", ())
    ]
    answers = [
        (
            code,
            answer["description"],
            _type(_schema_of(answer)),
        )
        for code, answer in operation["responses"].items()
    ]
    return [
        Html(f"<h2><code>{text(method.upper())} {text(path)}</code></h2>"),
        Html(f"<p>{text(operation.get('description') or operation.get('summary', ''))}</p>"),
        table("Parameters", ("Parameter", "In", "Type", ""), parameters, "No parameters."),
        table("Answers", ("Answer", "", "Schema"), answers, "No answers."),
    ]


def _schema_of(answer: dict[str, Any]) -> dict[str, Any]:
    contents: list[dict[str, Any]] = list(answer.get("content", {}).values())
    return contents[0]["schema"] if contents else {}


def _type(schema: dict[str, Any]) -> Html:
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REF)
        return Html(f'<a href="#{text(name)}">{text(name)}</a>')
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return Html(" or ".join(_type(each) for each in schema[choice]))
    if schema.get("type") == "array":
        return Html(f"list of {_type(schema.get('items', {}))}")
    return text(
        schema.get("const") or ", ".join(schema.get("enum", ())) or schema.get("format") or schema.get("type", "")
    )
