"""Messages over a real gRPC server, a real file and a fake capability."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.agent.mailbox.limits import MAX_MESSAGES, MAX_PAGE_BYTES, MAX_PAYLOAD_BYTES, MAX_SENT
from services.agent.mailbox.rows import RUN_ENDED
from shared.call_context import CallContext
from shared.capability import Invocation, OutgoingMessage, Output, Result
from shared.capability.wire import json_value
from shared.errors import AlreadyExists, InvalidInput, LimitExceeded, NotFound, WaystationError, WrongState
from shared.models.chat import ChatMessage, Completion
from shared.pb import agent_v1, common_v1
from shared.rpc.status import peer_errors
from tests.fakes.agent_mesh import FakeService, Mesh, mesh

Message = common_v1.A2aMessage
CODE = {"reason": "code", "next": "coding"}
REVIEW = {"reason": "review", "next": "reviewer"}
DONE = {"reason": "done", "next": "answer_now"}


def message(name: str = "", to: str = "coding", **fields: Any) -> Message:
    made = Message(message_id=name, recipient_role=to, **fields)
    made.payload.update({"text": name or "hello"})
    return made


async def send(made: Mesh, run_id: str, sent: Message) -> Message:
    with peer_errors("agent"):
        request = agent_v1.SendMessageRequest(run_id=run_id, message=sent)
        return (await made.stub.SendMessage(request, timeout=20)).message


async def listed(made: Mesh, run_id: str, **page: Any) -> Sequence[Message]:
    with peer_errors("agent"):
        request = agent_v1.ListMessagesRequest(run_id=run_id, **page)
        return (await made.stub.ListMessages(request, timeout=20)).messages


async def hanging(made: Mesh, *decisions: dict[str, str]) -> agent_v1.Run:
    """A run in its first hop, which fails when the service may go on; then come the other decisions."""
    made.model.decisions = [CODE, *decisions]
    made.service.hang.clear()
    made.service.was_called.clear()
    run = await made.start()
    await asyncio.wait_for(made.service.was_called.wait(), 30)
    return run


def fails_first(service: FakeService) -> None:
    """Have the first call fail once it may go on; the others answer."""
    invoke = service.invoke

    async def failing(invocation: Invocation, call: CallContext) -> AsyncIterator[Output]:
        outputs: Any = invoke(invocation, call)
        async for output in outputs:
            if len(service.calls) == 1 and service.hang.is_set():
                raise InvalidInput("The service cannot do that.")
            yield output

    service.invoke = failing  # type: ignore[method-assign]


def two_services(made: Mesh) -> None:
    """Have the fake service be known as `reviewer`, too."""
    descriptors = [FakeService.descriptor, dataclasses.replace(FakeService.descriptor, name="reviewer")]
    made.directory.services = lambda: descriptors  # type: ignore[method-assign]


async def test_the_next_hop_of_a_role_gets_its_messages_once_and_they_are_acknowledged(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        fails_first(made.service)
        run = await hanging(made, CODE, DONE)
        sent = [await send(made, run.run_id, message(name)) for name in ("m-1", "m-2")]
        made.service.hang.set()
        made.seen = await made.watch(run.run_id)
        found = await listed(made, run.run_id)
    assert [item.sequence for item in sent] == [1, 2]
    assert {(item.sender_role, item.hop_index) for item in sent} == {("user", -1)}
    assert all(item.correlation_id for item in sent)
    assert [[item.message_id for item in call.inbox] for call in made.service.calls] == [[], ["m-1", "m-2"]]
    assert [item.payload for item in made.service.calls[1].inbox] == [{"text": "m-1"}, {"text": "m-2"}]
    assert [item.state for item in found] == [Message.STATE_ACKNOWLEDGED] * 2
    assert [item.message.message_id for item in made.payloads("message_sent")] == ["m-1", "m-2"]


async def test_what_a_hop_sends_is_in_the_inbox_of_the_next_hop_of_that_role(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        two_services(made)
        made.service.outgoing = [OutgoingMessage("reviewer", {"line": 3}), OutgoingMessage("coding", {"line": 4})]
        made.model.decisions = [CODE, REVIEW, DONE]
        run = await made.finish()
        found = await listed(made, run.run_id)
        events = made.payloads("message_sent")
    coding, reviewer = made.service.calls
    assert coding.inbox == ()
    assert [(item.sender_role, item.payload, item.hop_index) for item in reviewer.inbox] == [("coding", {"line": 3}, 0)]
    assert {item.correlation_id for item in found} == {run.correlation_id}
    by_place = {(item.sender_role, item.recipient_role): item for item in found}
    assert by_place["coding", "reviewer"].state == Message.STATE_ACKNOWLEDGED
    assert by_place["reviewer", "coding"].dead_letter_reason == RUN_ENDED
    assert sorted(item.message.message_id for item in events) == sorted(item.message_id for item in found)


async def test_the_arbitrator_sees_the_last_messages(tmp_path: Path) -> None:
    prompts: list[str] = []
    async with mesh(tmp_path) as made:
        complete = made.model.complete

        async def noting(messages: Sequence[ChatMessage], **options: Any) -> Completion:
            prompts.append(messages[-1].content)
            return await complete(messages, **options)

        made.model.complete = noting  # type: ignore[method-assign]
        fails_first(made.service)
        run = await hanging(made, DONE)
        await send(made, run.run_id, message("use tabs", sender_role="ops"))
        made.service.hang.set()
        await made.watch(run.run_id)
    assert ["use tabs" in prompt for prompt in prompts] == [False, True]
    assert 'Message from ops to coding: {"text": "use tabs"}' in prompts[1]


async def test_a_message_sent_twice_with_one_id_is_one_and_another_one_under_it_is_refused(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await hanging(made)
        first, again = [await send(made, run.run_id, message("m-1")) for _ in range(2)]
        with pytest.raises(AlreadyExists):
            await send(made, run.run_id, message("m-1", sender_role="somebody"))
        assert again == first
        assert list(await listed(made, run.run_id)) == [first]
        await made.runs.cancel(run.run_id, "")
        assert (await send(made, run.run_id, message("m-1"))).state == Message.STATE_DEAD_LETTERED


async def test_bad_messages_are_refused_and_not_stored(tmp_path: Path) -> None:
    late, large, huge = message(), message(), message()
    late.expire_time.FromDatetime(datetime.now(UTC) - timedelta(seconds=1))
    large.payload.update({"text": "x" * MAX_PAYLOAD_BYTES})
    huge.payload.update({"text": "x" * 10_000_000})
    cases: list[tuple[Message, type[WaystationError], str]] = [
        (message(to="nobody"), NotFound, "Known: coding"),
        (message(sender_role="coding"), InvalidInput, "is a role of the run"),
        (Message(recipient_role="coding"), InvalidInput, "no payload"),
        (late, InvalidInput, "expire_time"),
        (large, InvalidInput, str(MAX_PAYLOAD_BYTES)),
        (huge, InvalidInput, str(MAX_PAYLOAD_BYTES)),
    ]
    async with mesh(tmp_path) as made:
        run = await hanging(made)
        for bad, error, words in cases:
            with pytest.raises(error, match=words):
                await send(made, run.run_id, bad)
        assert not await listed(made, run.run_id)
        with pytest.raises(NotFound):
            await send(made, "run-nobody", message())
        with pytest.raises(NotFound):
            await listed(made, "run-nobody")
        await made.runs.cancel(run.run_id, "")
        with pytest.raises(WrongState):
            await send(made, run.run_id, message())


async def test_a_mailbox_has_an_end_and_is_listed_in_pages(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await hanging(made)
        for number in range(MAX_MESSAGES):
            await send(made, run.run_id, message(f"m-{number}"))
        with pytest.raises(LimitExceeded):
            await send(made, run.run_id, message("one more"))
        names, token = [], ""
        while True:
            request = agent_v1.ListMessagesRequest(run_id=run.run_id, page_size=100, page_token=token)
            page = await made.stub.ListMessages(request)
            names += [item.message_id for item in page.messages]
            token = page.next_page_token
            if not token:
                break
        assert names == [f"m-{number}" for number in range(MAX_MESSAGES)]
        for page in ({"page_size": 501}, {"page_size": -1}, {"page_token": "mine"}):
            with pytest.raises(InvalidInput):
                await listed(made, run.run_id, **page)


async def test_a_page_of_large_messages_fits_into_a_reply(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        run = await hanging(made)
        large = Message(recipient_role="coding")
        large.payload.update({"text": "x" * (MAX_PAYLOAD_BYTES - 100)})
        count = MAX_PAGE_BYTES // MAX_PAYLOAD_BYTES + 10
        for _ in range(count):
            await send(made, run.run_id, large)
        first = await made.stub.ListMessages(agent_v1.ListMessagesRequest(run_id=run.run_id, page_size=count))
        assert first.ByteSize() < MAX_PAGE_BYTES + 1_000 and 0 < len(first.messages) < count
        rest = await listed(made, run.run_id, page_size=count, page_token=first.next_page_token)
        assert len(first.messages) + len(rest) == count


async def test_what_a_hop_sends_and_cannot_be_delivered_is_a_dead_letter_with_its_reason(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        big = {"text": "x" * MAX_PAYLOAD_BYTES}
        made.service.outgoing = [OutgoingMessage("nobody", {"a": 1}), OutgoingMessage("coding", big)]
        made.model.decisions = [CODE, DONE]
        run = await made.finish()
        unknown, large = await listed(made, run.run_id)
    assert run.state == agent_v1.Run.STATE_SUCCEEDED
    assert {unknown.state, large.state} == {Message.STATE_DEAD_LETTERED}
    assert "no role 'nobody'" in unknown.dead_letter_reason
    assert str(MAX_PAYLOAD_BYTES) in large.dead_letter_reason
    assert not json_value(large.payload)


async def test_a_hop_that_sends_without_end_fails_and_its_messages_are_dead(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        made.service.outgoing = [OutgoingMessage("coding", {"n": n}) for n in range(MAX_SENT + 1)]
        made.model.decisions = [CODE, DONE]
        run = await made.finish()
        found = await listed(made, run.run_id, page_size=500)
        [ended] = made.payloads("hop_ended")
    assert ended.error.reason == common_v1.ERROR_REASON_PEER_PROTOCOL
    assert {item.state for item in found} == {Message.STATE_DEAD_LETTERED}
    assert len(found) <= MAX_SENT + 1


async def test_messages_to_a_paused_run_are_told_of_and_delivered_when_it_goes_on(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        fails_first(made.service)
        run = await hanging(made, CODE, DONE)
        await made.runs.pause(run.run_id)
        made.service.hang.set()
        await made.watch(run.run_id)
        await send(made, run.run_id, message("while it rests"))
        await made.runs.resume(run.run_id)
        made.seen = await made.watch(run.run_id)
    assert [[item.message_id for item in call.inbox] for call in made.service.calls] == [[], ["while it rests"]]
    assert [item.message.message_id for item in made.payloads("message_sent")] == ["while it rests"]


async def test_a_fork_has_a_mailbox_of_its_own(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        fails_first(made.service)
        run = await hanging(made, CODE, DONE)
        await send(made, run.run_id, message("m-1"))
        made.service.hang.set()
        await made.watch(run.run_id)
        request = agent_v1.ListCheckpointsRequest(run_id=run.run_id, has_state=True)
        checkpoints = (await made.stub.ListCheckpoints(request)).checkpoints
        [before] = [
            item
            for item in checkpoints
            if len(item.state["hops"]) == 1 and list(item.next_nodes) == ["call_capability"]
        ]
        made.model.decisions = [DONE]
        fork = (
            await made.stub.ForkRun(agent_v1.ForkRunRequest(run_id=run.run_id, checkpoint_id=before.checkpoint_id))
        ).run
        await made.watch(fork.run_id)
        inboxes = [[item.message_id for item in call.inbox] for call in made.service.calls]
        assert inboxes == [[], ["m-1"], ["m-1"]]
        [own] = await listed(made, fork.run_id)
        assert own.state == Message.STATE_ACKNOWLEDGED
        await made.runs.prune(0, 0, is_dry_run=False)
        assert made.database.read_here(lambda file: file.execute("SELECT count(*) FROM messages").get) == 0


async def test_a_hop_that_answers_nothing_leaves_its_messages_for_the_next(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        two_services(made)
        made.service.outgoing = [OutgoingMessage("reviewer", {"n": 1})]
        made.model.decisions = [CODE, REVIEW, REVIEW, DONE]
        invoke = made.service.invoke

        async def failing_second(invocation: Invocation, call: CallContext) -> AsyncIterator[Output]:
            if len(made.service.calls) == 1:
                made.service.calls.append(invocation)
                raise InvalidInput("The service cannot do that.")
            async for output in invoke(invocation, call):
                yield Result("good") if isinstance(output, Result) else output

        made.service.invoke = failing_second  # type: ignore[method-assign]
        await made.finish()
    assert [[item.payload for item in call.inbox] for call in made.service.calls] == [[], [{"n": 1}], [{"n": 1}]]


async def test_no_event_follows_the_end_of_a_run_whoever_writes_to_it(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        for number in range(5):
            made.model.decisions = [DONE]
            run = await made.start(f"hello {number}")
            ended = asyncio.create_task(made.watch(run.run_id))
            sent = 0
            while not ended.done():
                try:
                    await send(made, run.run_id, message(f"m-{sent}"))
                    sent += 1
                except WrongState:
                    break
            made.seen = await made.watch(run.run_id)
            assert [event.sequence for event in await ended] == [event.sequence for event in made.seen]
            assert made.seen[-1].state_changed.run.state == agent_v1.Run.STATE_SUCCEEDED
            assert {item.state for item in await listed(made, run.run_id)} <= {Message.STATE_DEAD_LETTERED}


async def test_a_workflow_with_roles_knows_them_and_no_others(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        made.service.hang.clear()
        run = await made.start(workflow="review")
        assert (await send(made, run.run_id, message(to="coder"))).state == Message.STATE_PENDING
        with pytest.raises(NotFound, match="Known: coder, rag, reviewer"):
            await send(made, run.run_id, message(to="coding"))
