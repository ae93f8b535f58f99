"""Tools are offered tersely, and the schema allows exactly the calls there are."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import ClassVar

import pytest

from services.tools.addresses import HostGuard
from services.tools.folders import AllowedFolders
from services.tools.menu import FINISH, NO_TOOL, call_schema, describe
from services.tools.prompts import opening
from services.tools.registry import ToolRegistry
from services.tools.tool import JsonObject, Tool
from services.tools.toolbox import builtin_tools


class Listed:
    """A tool as an MCP server might list it."""

    name = "make_ticket"
    description = "Make a ticket.\n\n" + "Long explanation. " * 50
    origin = "tracker"

    input_schema: ClassVar[JsonObject] = {
        "type": "object",
        "title": "MakeTicket",
        "properties": {
            "title": {"type": "string", "description": "What it is about", "maxLength": 80},
            "labels": {"type": "array", "items": {"$ref": "#/$defs/Label"}},
            "parent": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
        },
        "required": ["title"],
        "$defs": {
            "Label": {"enum": ["bug", "idea"]},
            "Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}},
        },
    }


@pytest.fixture
def tools(folders: AllowedFolders, clock: Callable[[], datetime]) -> ToolRegistry:
    """All built-in tools."""
    return builtin_tools(folders, HostGuard(), clock)


def names_in(schema: JsonObject) -> list[str]:
    return [variant["properties"]["tool"]["const"] for variant in schema["anyOf"]]


def test_a_tool_is_a_line_with_its_arguments(tools: ToolRegistry) -> None:
    lines = describe(tools).splitlines()
    assert len(lines) == len(tools.names)
    assert "weekday(date): Day of the week of a date." in lines
    assert any(line.startswith("read_file(path, start_line?: integer): ") for line in lines)


def test_a_long_description_is_cut() -> None:
    line = describe([listed()])
    assert line.startswith("make_ticket(title, labels?: array, parent?): Make a ticket. Long")
    assert len(line) < 230


def test_the_fixed_part_of_the_prompt_stays_short(tools: ToolRegistry, clock: Callable[[], datetime]) -> None:
    system = opening(tools, "a task", "", clock())[0].content
    assert len(system) < 2_200
    assert opening(tools, "another task", "known", clock())[0].content == system


def test_each_tool_and_each_ending_is_one_variant(tools: ToolRegistry) -> None:
    assert names_in(call_schema(tools)) == [*tools.names, FINISH, NO_TOOL]
    assert names_in(call_schema(tools, ())) == list(tools.names)


def test_references_are_replaced_and_decoration_is_dropped() -> None:
    arguments = call_schema([listed()], ())["anyOf"][0]["properties"]["arguments"]
    assert arguments["properties"]["title"] == {"type": "string"}
    assert arguments["properties"]["labels"]["items"] == {"enum": ["bug", "idea"]}
    assert arguments["properties"]["parent"]["anyOf"][0]["properties"] == {"next": {}}
    assert "$defs" not in arguments


@pytest.mark.parametrize(
    "tool, argument, good, bad",
    [
        ("calculate", "expression", "17.5% of 2,340", "48 euros * 3"),
        ("calculate", "expression", "round(sqrt(2), 6)", "sqrt(2) rounded"),
        ("convert_units", "quantity", "5 ft 11 in", "5"),
        ("add_time", "duration", "11 hours 30 minutes", "tomorrow"),
        ("query_database", "sql", "SELECT 1", "DROP TABLE orders"),
    ],
)
def test_a_pattern_keeps_a_model_from_what_the_tool_would_refuse(
    tools: ToolRegistry, tool: str, argument: str, good: str, bad: str
) -> None:
    variant = next(item for item in call_schema(tools)["anyOf"] if item["properties"]["tool"]["const"] == tool)
    pattern = variant["properties"]["arguments"]["properties"][argument]["pattern"]
    assert re.search(pattern, good)
    assert not re.search(pattern, bad)


def listed() -> Tool:
    """The tool, typed as what a registry takes."""
    tool: Tool = Listed()  # type: ignore[assignment]  # it is never called here
    return tool
