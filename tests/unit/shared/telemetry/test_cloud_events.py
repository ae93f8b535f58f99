"""Events of runs as CloudEvents."""

from shared.pb import agent_v1
from shared.telemetry.cloud_events import NAMES, cloud_event


def made(**payload: object) -> agent_v1.RunEvent:
    event = agent_v1.RunEvent(
        run_id="run-1",
        sequence=7,
        correlation_id="c",
        trace_id="a" * 32,
        span_id="b" * 16,
        **payload,  # type: ignore[arg-type]
    )
    event.create_time.FromJsonString("2030-01-02T03:04:05.678901Z")
    return event


def test_an_event_says_who_what_when_and_where() -> None:
    started = agent_v1.HopStarted(hop_index=1, capability="rag")
    assert cloud_event(made(hop_started=started)) == {
        "specversion": "1.0",
        "id": "7",
        "source": "/waystation/runs/run-1",
        "type": "waystation.agent.v1.HopStarted",
        "subject": "run-1",
        "time": "2030-01-02T03:04:05.678901Z",
        "datacontenttype": "application/json",
        "dataschema": "urn:waystation:event:v1:HopStarted",
        "sequence": "0000000000000000007",
        "correlationid": "c",
        "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
        "data": {"hop_index": 1, "capability": "rag"},
    }


def test_without_a_span_there_is_no_traceparent() -> None:
    event = made(cycle_changed=agent_v1.CycleChanged())
    event.ClearField("span_id")
    assert "traceparent" not in cloud_event(event)


def test_a_payload_of_a_newer_contract_is_unknown_and_has_no_data() -> None:
    newer = agent_v1.RunEvent.FromString(made().SerializeToString() + b"\xd2\x02\x00")  # field 42
    event = cloud_event(newer)
    assert event["type"] == "waystation.agent.v1.UnknownEvent" and not {"data", "dataschema"} & set(event)


def test_every_payload_of_the_contract_has_a_name_of_its_own() -> None:
    payloads = {field.name for field in agent_v1.RunEvent.DESCRIPTOR.oneofs_by_name["payload"].fields}
    assert payloads == set(NAMES) and len(set(NAMES.values())) == len(NAMES)
