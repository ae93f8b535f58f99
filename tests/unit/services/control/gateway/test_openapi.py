"""The document that the dashboard's types are made from: there without a server, the same each time, and whole."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from services.control.gateway.openapi import document

METHODS_WITH_BODY = ("post", "put", "patch")


@pytest.fixture
async def described() -> dict[str, Any]:
    return await document()


def test_the_command_prints_the_same_document_each_time() -> None:
    command = [sys.executable, "-m", "services.control.gateway.openapi"]
    first, second = (subprocess.run(command, capture_output=True, check=True).stdout for _ in range(2))
    assert first == second
    assert json.loads(first)["info"]["title"] == "Waystation"


async def test_every_answer_and_failure_has_a_schema(described: dict[str, Any]) -> None:
    for path, method, operation in _operations(described):
        answers = operation["responses"]
        assert answers["default"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/ErrorView"}
        for code, answer in answers.items():
            schemas = [content["schema"] for content in answer["content"].values()]
            assert schemas and all(schemas), (path, method, code)


async def test_operations_have_names_of_their_own_and_descriptions(described: dict[str, Any]) -> None:
    operations = [operation for _, _, operation in _operations(described)]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert all(operation["description"] for operation in operations)


async def test_bodies_refuse_unknown_fields(described: dict[str, Any]) -> None:
    schemas = described["components"]["schemas"]
    for path, method, operation in _operations(described):
        if method in METHODS_WITH_BODY:
            reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
            body = schemas[reference.rpartition("/")[2]]
            assert body["additionalProperties"] is False, (path, method)


async def test_all_references_lead_somewhere(described: dict[str, Any]) -> None:
    parts = json.dumps(described).split('"#/components/schemas/')[1:]
    assert {part.partition('"')[0] for part in parts} <= set(described["components"]["schemas"])


async def test_fields_of_answers_are_always_there(described: dict[str, Any]) -> None:
    for name in ("RunView", "ServiceView", "ErrorView", "HopEnded", "End"):
        schema = described["components"]["schemas"][name]
        assert set(schema["required"]) == set(schema["properties"]), name


def _operations(described: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation
