"""The events of a real run, as CloudEvents, are what their schemas in docs/schemas say."""

import json
from pathlib import Path

from jsonschema import Draft202012Validator, FormatChecker

from shared.pb import common_v1
from shared.telemetry.cloud_events import cloud_event
from tests.fakes.agent_mesh import mesh

FOLDER = Path(__file__).parents[2] / "docs" / "schemas"
WANTED = {
    "AgentRouted",
    "ArtifactMade",
    "CitationFound",
    "DecisionMade",
    "HopEnded",
    "HopStarted",
    "RunStateChanged",
    "TextProduced",
}


async def test_every_event_of_a_run_is_valid_and_they_are_one_sequence(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await made.finish(effort=common_v1.EFFORT_LOW)
        events = [cloud_event(event) for event in await made.watch(run.run_id)]
    for event in events:
        name = event["type"].rpartition(".")[2]
        schema = json.loads((FOLDER / f"{name}.json").read_text())
        Draft202012Validator(schema, format_checker=FormatChecker()).validate(event)
    assert {event["type"].rpartition(".")[2] for event in events} >= WANTED
    assert [int(event["id"]) for event in events] == list(range(1, len(events) + 1))
    assert len({(event["source"], event["id"]) for event in events}) == len(events)
    assert {event["correlationid"] for event in events} == {run.correlation_id}
