"""The hash chain: whatever is done to the table behind our back is named by its first entry."""

from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from services.agent.care.agent_store import SCHEMAS
from services.agent.checkpoint.ownership import generation, raise_generation
from services.agent.guardian import audit
from services.agent.guardian.audit import Effect, Head, Order
from services.agent.guardian.audit_head import FILE_NAME, AuditHead
from services.agent.guardian.store import GuardianStore
from services.agent.run_rows import save_run
from shared.errors import NotFound
from shared.pb import agent_v1
from shared.storage.database import Database

RUN = agent_v1.Run(run_id="run-1", thread_id="thread-1", workflow="auto", state=agent_v1.Run.STATE_RUNNING)


def order(reason: str, request_id: str = "") -> Order:
    return Order("run-1", "anna", reason, "veto_capability", {"capability": "rag"}, request_id)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A store with one run and five entries: three acts, two effects."""
    opened = Database(tmp_path / "agent.db", *SCHEMAS)
    opened.open()

    def fill(connection: apsw.Connection) -> None:
        save_run(connection, RUN)
        for number in (1, 2, 3):
            audit.append_act(connection, order(f"reason {number} – \u2028"), "running")
        audit.append_effect(connection, "run-1", 1, Effect("applied", {}, {"vetoed_capabilities": ["rag"]}))
        audit.append_effect(connection, "run-1", 2, Effect("lapsed", {}, {"state": "failed"}))

    opened.submit(fill).result()
    yield opened
    opened.close()


def tamper(database: Database, sql: str) -> None:
    """What somebody does who has the file: the triggers do not stop them."""

    def work(connection: apsw.Connection) -> None:
        for trigger in ("audit_is_not_changed", "audit_is_not_deleted"):
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute(sql)

    database.submit(work).result()


def verdict(database: Database, known: Head | None = None) -> audit.Verdict:
    return database.read_here(lambda connection: audit.verify(connection, known))


def test_what_was_written_fits(database: Database) -> None:
    found = verdict(database)
    assert (found.entry_count, found.first_broken) == (5, 0)
    head = database.read_here(audit.head)
    assert head and head.sha256 == found.head_sha256 and head.entry == 5
    assert verdict(database, head).first_broken == 0


def test_an_empty_log_fits(tmp_path: Path) -> None:
    empty = Database(tmp_path / "empty.db", *SCHEMAS)
    empty.open()
    assert verdict(empty) == audit.Verdict(0, 0, "")
    empty.close()


@pytest.mark.parametrize("statement", ["UPDATE audit SET record = ''", "DELETE FROM audit"])
def test_the_table_itself_refuses_changes(database: Database, statement: str) -> None:
    with pytest.raises(apsw.ConstraintError, match="append-only"):
        database.submit(lambda connection: connection.execute(statement).fetchall()).result()
    assert verdict(database).first_broken == 0


@pytest.mark.parametrize(
    ("sql", "first"),
    [
        ("UPDATE audit SET record = replace(record, 'anna', 'bert') WHERE entry = 3", 3),
        ("UPDATE audit SET sha256 = lower(hex(randomblob(32))) WHERE entry = 2", 2),
        ("UPDATE audit SET run_id = 'run-2' WHERE entry = 4", 4),
        ("UPDATE audit SET act = 3 WHERE entry = 5", 5),
        ("UPDATE audit SET request_id = 'r' WHERE entry = 1", 1),
        ("UPDATE audit SET record = 'nonsense' WHERE entry = 1", 1),
        ("DELETE FROM audit WHERE entry = 1", 1),
        ("DELETE FROM audit WHERE entry = 3", 3),
        ("UPDATE audit SET entry = 9 WHERE entry = 5", 5),
        ("INSERT INTO audit SELECT 6, act, run_id, NULL, record, sha256 FROM audit WHERE entry = 5", 6),
    ],
)
def test_the_first_entry_that_does_not_fit_is_named(database: Database, sql: str, first: int) -> None:
    tamper(database, sql)
    assert verdict(database).first_broken == first


def test_a_changed_entry_with_a_matching_hash_breaks_the_next_one(database: Database) -> None:
    def forge(connection: apsw.Connection) -> None:
        record, previous = (
            connection.execute(sql).get
            for sql in ("SELECT record FROM audit WHERE entry = 2", "SELECT sha256 FROM audit WHERE entry = 1")
        )
        forged = str(record).replace("anna", "bert")
        sha256 = audit._hash(str(previous), forged)
        connection.execute("UPDATE audit SET record = ?, sha256 = ? WHERE entry = 2", (forged, sha256))

    tamper(database, "SELECT 1")
    database.submit(forge).result()
    assert verdict(database).first_broken == 3


def test_a_cut_end_is_noticed_by_the_head_that_was_copied(database: Database) -> None:
    head = database.read_here(audit.head)
    tamper(database, "DELETE FROM audit WHERE entry > 3")
    assert verdict(database).first_broken == 0
    assert verdict(database, head).first_broken == 4


def test_a_log_written_anew_is_noticed_by_the_head_that_was_copied(database: Database) -> None:
    head = database.read_here(audit.head)
    tamper(database, "DELETE FROM audit WHERE entry > 4")
    database.submit(lambda connection: audit.append_act(connection, order("another"), "running")).result()
    assert verdict(database).first_broken == 0
    assert verdict(database, head).first_broken == 5


async def test_the_head_is_copied_after_each_act_and_never_over_one_that_is_missing(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = GuardianStore(database)
    await store.keep(order("one more"))
    assert (await store.verify()).first_broken == 0
    known = AuditHead(tmp_path).read()
    assert known and known.entry == 6
    tamper(database, "DELETE FROM audit WHERE entry = 6")
    await store.keep(order("in its place"))
    assert "has lost entry 6" in caplog.text
    assert AuditHead(tmp_path).read() == known
    assert (await store.verify()).first_broken == 6


async def test_a_restored_store_begins_a_new_head(database: Database, tmp_path: Path) -> None:
    store = GuardianStore(database)
    former = database.read_here(generation)
    AuditHead(tmp_path).write(Head(former, 99, "ab" * 32))
    assert (await store.verify()).first_broken == 6
    database.submit(lambda connection: raise_generation(connection, 0)).result()
    assert (await store.verify()).first_broken == 0
    await store.keep(order("after the restore"))
    head = AuditHead(tmp_path).read()
    assert head and (head.generation, head.entry) == (former + 1, 6)


@pytest.mark.parametrize("content", ["", "{}", '{"entry": "x"}', "[1]"])
def test_a_head_that_cannot_be_read_is_said_to_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    (tmp_path / FILE_NAME).write_text(content)
    assert AuditHead(tmp_path).read() is None
    assert "cannot be read" in caplog.text


def test_an_effect_is_recorded_once_and_again_only_when_it_differs(database: Database) -> None:
    def record(effect: Effect) -> Callable[[apsw.Connection], None]:
        return lambda connection: audit.append_effect(connection, "run-1", 3, effect)

    for _ in range(2):
        database.submit(record(Effect("applied", {"query": "a"}, {"query": "b"}))).result()
    assert verdict(database).entry_count == 6
    database.submit(record(Effect("superseded", {}, {"superseded_by": "act-9"}))).result()
    assert verdict(database).entry_count == 7
    act = database.read_here(lambda connection: audit.find_act(connection, 3))
    assert act.effect and act.effect.outcome == "superseded"
    assert [each.entry for each in database.read_here(audit.open_acts)] == []


def test_an_effect_is_no_act(database: Database) -> None:
    with pytest.raises(NotFound, match="no act 4"):
        database.read_here(lambda connection: audit.find_act(connection, 4))
