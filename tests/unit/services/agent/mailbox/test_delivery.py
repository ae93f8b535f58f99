"""Messages are given in order, once for each application, and the same ones to a hop that is done again."""

from collections.abc import Iterator
from typing import Any, cast

import apsw
import pytest

from services.agent.mailbox import rows
from services.agent.mailbox.delivery import Delivery, Recipient, deliver, place_of
from services.agent.mailbox.limits import MAX_INBOX, MAX_INBOX_BYTES, MAX_PAYLOAD_BYTES
from services.agent.mailbox.tables import SCHEMA
from services.agent.state import Hop
from shared.pb import common_v1

RUN = "run-1"
NOW = 1_000


@pytest.fixture
def connection() -> Iterator[apsw.Connection]:
    made = apsw.Connection(":memory:")
    for migration in SCHEMA.migrations:
        made.execute(cast(str, migration))
    yield made
    made.close()


def put(
    connection: apsw.Connection, name: str, to: str = "coder", hop: int = -1, expire_ns: int = 0, text: str = ""
) -> None:
    message = common_v1.A2aMessage(message_id=name, sender_role="reviewer", recipient_role=to, hop_index=hop)
    message.payload.update({"text": text or name})
    if expire_ns:
        message.expire_time.FromNanoseconds(expire_ns)
    rows.put(connection, RUN, message)


def hop(index: int, role: str = "coder", position: int = 0, error: str = "") -> Hop:
    return cast(Any, {"index": index, "role": role, "mail_position": position, "error": error})


def give(
    connection: apsw.Connection, *done: Hop, role: str = "coder", key: str = "key", offset: int = 0, now_ns: int = NOW
) -> tuple[list[str], int]:
    index = len(done) + offset
    recipient = Recipient(RUN, role, index, f"{key}-{index}")
    delivery: Delivery = deliver(connection, recipient, place_of(done), now_ns)
    return [message.message_id for message in delivery.messages], delivery.position


def state(connection: apsw.Connection, name: str, now_ns: int = NOW) -> tuple[int, str]:
    message = rows.find(connection, RUN, name, now_ns)
    assert message
    return message.state, message.dead_letter_reason


def test_a_role_gets_its_messages_in_order_and_no_others(connection: apsw.Connection) -> None:
    for name, to in (("a", "coder"), ("b", "reviewer"), ("c", "coder")):
        put(connection, name, to)
    assert give(connection) == (["a", "c"], 3)
    assert give(connection, hop(0, position=3), role="reviewer") == (["b"], 2)


def test_sequences_count_for_each_sender_and_recipient(connection: apsw.Connection) -> None:
    for name, to in (("a", "coder"), ("b", "reviewer"), ("c", "coder")):
        put(connection, name, to)
    found = [message.sequence for _, message in rows.page(connection, RUN, 0, 10, NOW)]
    assert found == [1, 1, 2]


def test_what_a_committed_hop_was_given_is_not_given_again(connection: apsw.Connection) -> None:
    put(connection, "a")
    _, position = give(connection)
    put(connection, "b")
    assert give(connection, hop(0, position=position)) == (["b"], 2)
    assert give(connection, hop(0, position=1), hop(1, position=2)) == ([], 2)


def test_a_hop_that_is_done_again_is_given_the_same_messages_and_not_what_came_meanwhile(
    connection: apsw.Connection,
) -> None:
    put(connection, "a")
    assert give(connection) == (["a"], 1)
    put(connection, "b")
    assert give(connection) == (["a"], 1)
    assert give(connection, hop(0, position=1)) == (["b"], 2)


def test_a_hop_that_was_given_nothing_is_given_nothing_when_it_is_done_again(connection: apsw.Connection) -> None:
    assert give(connection) == ([], 0)
    put(connection, "a")
    assert give(connection) == ([], 0)


def test_a_hop_that_begins_anew_under_another_key_gets_all_that_is_there_by_then(connection: apsw.Connection) -> None:
    put(connection, "a")
    give(connection)
    put(connection, "b")
    assert give(connection, key="another key") == (["a", "b"], 2)


def test_a_hop_that_failed_has_not_had_its_messages(connection: apsw.Connection) -> None:
    put(connection, "a")
    give(connection)
    assert give(connection, hop(0, error="PEER_UNAVAILABLE")) == (["a"], 1)


def test_what_a_hop_sent_waits_for_its_commit_and_holds_up_what_is_behind_it(connection: apsw.Connection) -> None:
    put(connection, "outside first")
    put(connection, "from a hop at the same time", hop=1)
    put(connection, "outside last")
    done = (hop(0, "rag"),)
    assert give(connection, *done, offset=1) == (["outside first"], 1)
    done = (*done, hop(1, "reviewer"), hop(2, position=1))
    assert give(connection, *done) == (["from a hop at the same time", "outside last"], 3)


def test_what_attempts_that_never_counted_have_sent_is_dead_and_comes_back_with_the_one_that_counts(
    connection: apsw.Connection,
) -> None:
    put(connection, "kept", hop=0)
    put(connection, "changed", hop=0)
    put(connection, "dropped", hop=0)
    give(connection, role="reviewer")  # hop 0 is done again
    assert state(connection, "kept") == (rows.DEAD, rows.DONE_AGAIN)
    put(connection, "kept", hop=0)
    put(connection, "changed", hop=0, text="something else")
    assert give(connection, hop(0, "reviewer")) == (["kept", "changed"], 2)
    assert state(connection, "dropped") == (rows.DEAD, rows.DONE_AGAIN)
    assert [message.sequence for _, message in rows.page(connection, RUN, 0, 10, NOW)] == [1, 2, 3]


def test_a_message_that_is_stored_again_unchanged_is_told_of_once(connection: apsw.Connection) -> None:
    put(connection, "a", hop=0)
    rows.note_told(connection, RUN, "a")
    put(connection, "a", hop=0)
    assert rows.untold(connection, RUN, NOW) == []
    put(connection, "a", hop=0, text="something else")
    assert [message.message_id for message in rows.untold(connection, RUN, NOW)] == ["a"]


def test_an_expired_message_is_a_dead_letter_and_blocks_nobody(connection: apsw.Connection) -> None:
    put(connection, "late", expire_ns=NOW)
    put(connection, "in time", expire_ns=NOW + 1)
    assert state(connection, "late") == (rows.DEAD, rows.EXPIRED)
    assert give(connection) == (["in time"], 2)
    assert state(connection, "in time", NOW + 1) == (rows.DELIVERED, "")


def test_what_was_given_in_time_does_not_expire_before_the_hop_is_done_again(connection: apsw.Connection) -> None:
    put(connection, "a", expire_ns=NOW + 1)
    give(connection)
    assert give(connection, now_ns=NOW + 2) == (["a"], 1)


def test_acknowledged_is_what_the_committed_hops_say_however_often(connection: apsw.Connection) -> None:
    put(connection, "a")
    put(connection, "b")
    give(connection)
    for _ in range(2):
        rows.acknowledge(connection, RUN, {"coder": 1})
    assert state(connection, "a") == (rows.ACKNOWLEDGED, "")
    assert state(connection, "b") == (rows.DELIVERED, "")


def test_a_run_that_ends_leaves_dead_letters_with_their_reasons(connection: apsw.Connection) -> None:
    put(connection, "given", "reviewer")
    put(connection, "expired", expire_ns=NOW)
    put(connection, "waiting")
    give(connection, role="reviewer", now_ns=0)
    rows.close(connection, RUN, NOW)
    assert state(connection, "given") == (rows.DELIVERED, "")
    assert state(connection, "expired") == (rows.DEAD, rows.EXPIRED)
    assert state(connection, "waiting") == (rows.DEAD, rows.RUN_ENDED)


def test_one_hop_gets_so_many_messages_and_the_next_one_the_others(connection: apsw.Connection) -> None:
    for number in range(MAX_INBOX + 2):
        put(connection, f"{number}")
    given, position = give(connection)
    assert (len(given), position) == (MAX_INBOX, MAX_INBOX)
    assert give(connection, hop(0, position=position))[0] == [f"{MAX_INBOX}", f"{MAX_INBOX + 1}"]


def test_one_hop_gets_so_many_bytes_and_at_least_one_message(connection: apsw.Connection) -> None:
    big = "x" * (MAX_PAYLOAD_BYTES - 100)
    for number in range(6):
        put(connection, f"{number}", text=big)
    given, position = give(connection)
    assert len(given) == MAX_INBOX_BYTES // MAX_PAYLOAD_BYTES
    assert give(connection, hop(0, position=position))[0] == ["4", "5"]


def test_a_fork_has_the_messages_as_they_were_at_its_checkpoint(connection: apsw.Connection) -> None:
    put(connection, "given")
    put(connection, "waiting", "reviewer")
    give(connection)
    put(connection, "sent by its hop", "reviewer", hop=0)
    put(connection, "sent later", "reviewer", hop=1)
    rows.close(connection, RUN, NOW)
    rows.copy(connection, RUN, "fork", place_of([hop(0, position=1)]), until_ns=NOW)
    delivery = deliver(connection, Recipient("fork", "reviewer", 1, "k"), place_of([hop(0, position=1)]), NOW)
    assert [message.message_id for message in delivery.messages] == ["waiting", "sent by its hop"]
    given = rows.find(connection, "fork", "given", NOW)
    assert given and given.state == rows.ACKNOWLEDGED
    assert rows.find(connection, "fork", "sent later", NOW) is None


def test_messages_of_runs_are_deleted_with_them(connection: apsw.Connection) -> None:
    put(connection, "a")
    give(connection)
    rows.delete(connection, [RUN])
    for table in ("messages", "deliveries"):
        assert connection.execute(f"SELECT count(*) FROM {table}").get == 0
