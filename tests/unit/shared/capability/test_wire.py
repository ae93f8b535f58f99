"""Messages between roles cross the wire as they are."""

from datetime import UTC, datetime

from shared.capability import Invocation, Message, OutgoingMessage
from shared.capability.wire import invocation_from_proto, output_from_proto, output_to_proto
from shared.pb import capability_v1, common_v1


def test_an_outgoing_message_comes_back_as_it_was_and_whole_numbers_stay_whole() -> None:
    payload = {"kind": "review", "findings": [{"line": 3, "weight": 0.5, "evidence": None}]}
    sent = OutgoingMessage("coder", payload, "m-1", datetime(2026, 11, 21, 12, 30, tzinfo=UTC))
    received = output_from_proto(output_to_proto(sent))
    assert received == sent
    assert isinstance(received, OutgoingMessage)
    assert type(received.payload["findings"][0]["line"]) is int


def test_a_message_without_a_time_never_expires() -> None:
    assert output_from_proto(output_to_proto(OutgoingMessage("coder", {}))) == OutgoingMessage("coder", {})


def test_an_invocation_has_its_inbox_in_order() -> None:
    request = capability_v1.InvokeRequest(task="go on")
    for number in (1, 2):
        message = common_v1.A2aMessage(
            message_id=f"m-{number}", sender_role="reviewer", recipient_role="coder", sequence=number, hop_index=2
        )
        message.payload.update({"line": number})
        request.inbox.append(message)
    request.inbox[1].in_reply_to = "m-1"
    invocation: Invocation = invocation_from_proto(request)
    assert invocation.inbox == (
        Message("m-1", "reviewer", "coder", {"line": 1}, sequence=1, hop_index=2),
        Message("m-2", "reviewer", "coder", {"line": 2}, sequence=2, hop_index=2, in_reply_to="m-1"),
    )
