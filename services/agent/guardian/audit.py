"""The audit log in agent.db: append-only, each entry hashed together with the hash of the one before it.

An act is one entry; what became of it is a later entry of its own, so that no entry is ever changed. Every function
runs inside a transaction or on a read connection of agent.db.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import apsw

from services.agent.checkpoint.ownership import generation
from shared.errors import NotFound
from shared.storage.database import Schema

SCHEMA = Schema(
    "guardian",
    (
        """
    CREATE TABLE audit (
        entry INTEGER PRIMARY KEY,
        act INTEGER NOT NULL,
        run_id TEXT NOT NULL,
        request_id TEXT,
        record TEXT NOT NULL,
        sha256 TEXT NOT NULL
    );
    CREATE UNIQUE INDEX audit_by_request ON audit (request_id) WHERE request_id IS NOT NULL;
    CREATE INDEX audit_by_run ON audit (run_id, entry);
    CREATE INDEX audit_by_act ON audit (act, entry);
    CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
    CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
        """,
    ),
)
"""`act`: the entry that an entry is about, its own for an act; `record`: canonical JSON of everything else."""

GENESIS = "0" * 64
"""What stands for the hash before the first entry."""

ID_PREFIX = "act-"

Action = Literal["pause", "resume", "cancel", "set_state", "force_capability", "veto_capability", "skip_step"]
Outcome = Literal["applied", "superseded", "lapsed", "failed"]
"""Took effect; a later act said otherwise first; the run ended first; could not be done."""


@dataclass(frozen=True)
class Order:
    """What somebody wants done to a run."""

    run_id: str
    actor: str
    reason: str
    action: Action
    change: Mapping[str, Any]
    """What is to be: a run state, state fields, or the capability or step that is meant."""
    request_id: str = ""


@dataclass(frozen=True)
class Effect:
    """What became of an act."""

    outcome: Outcome
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    time_ns: int = 0


@dataclass(frozen=True)
class Act:
    """An act as it is in the log."""

    entry: int
    sha256: str
    order: Order
    run_state: str
    """The run's state when the act was recorded."""
    time_ns: int
    effect: Effect | None = None
    """None while it has not taken effect."""

    @property
    def act_id(self) -> str:
        """Its name for others."""
        return f"{ID_PREFIX}{self.entry}"


@dataclass(frozen=True)
class Head:
    """The newest entry of a log."""

    generation: int
    """The store's; a restore raises it."""
    entry: int
    sha256: str


@dataclass(frozen=True)
class Verdict:
    """What a check of the whole log found."""

    entry_count: int
    first_broken: int
    """0 when all entries fit."""
    head_sha256: str
    """"" for an empty log."""


def append_act(connection: apsw.Connection, order: Order, run_state: str) -> Act:
    """Record an act."""
    record = {
        "kind": "act",
        "run_id": order.run_id,
        "request_id": order.request_id,
        "actor": order.actor,
        "reason": order.reason,
        "action": order.action,
        "change": dict(order.change),
        "run_state": run_state,
    }
    return _act(connection, _append(connection, record, act=None))


def append_effect(connection: apsw.Connection, run_id: str, act: int, effect: Effect) -> None:
    """Record what became of an act, unless that is what was recorded last."""
    known = _effect(connection, act)
    if known and (known.outcome, known.before, known.after) == (effect.outcome, effect.before, effect.after):
        return
    record = {
        "kind": "effect",
        "run_id": run_id,
        "outcome": effect.outcome,
        "before": dict(effect.before),
        "after": dict(effect.after),
    }
    _append(connection, record, act)


def find_request(connection: apsw.Connection, request_id: str) -> Act | None:
    """The act that was asked for with this request id, if any."""
    entry = connection.execute("SELECT entry FROM audit WHERE request_id = ?", (request_id,)).get
    return _act(connection, int(entry)) if entry else None


def find_act(connection: apsw.Connection, entry: int) -> Act:
    """The act at an entry. Raises `NotFound`."""
    return _act(connection, entry)


def acts_after(connection: apsw.Connection, run_id: str, entry: int) -> list[Act]:
    """The acts on a run after an entry, oldest first."""
    sql = "SELECT entry FROM audit WHERE run_id = ? AND entry > ? AND act = entry ORDER BY entry"
    return _acts(connection, sql, (run_id, entry))


def open_acts(connection: apsw.Connection, run_id: str = "") -> list[Act]:
    """The acts of which nothing has become yet, oldest first; of one run, or of all."""
    of_run, values = _of_run(run_id)
    sql = f"""
        SELECT entry FROM audit AS acts WHERE {of_run} act = entry
        AND NOT EXISTS (SELECT 1 FROM audit WHERE act = acts.entry AND entry > acts.entry) ORDER BY entry
    """
    return _acts(connection, sql, values)


def acts_before(connection: apsw.Connection, run_id: str, entry: int, limit: int) -> list[Act]:
    """The newest acts before an entry, newest first; of one run, or of all."""
    of_run, values = _of_run(run_id)
    sql = f"SELECT entry FROM audit WHERE {of_run} act = entry AND entry < ? ORDER BY entry DESC LIMIT ?"
    return _acts(connection, sql, (*values, entry, limit))


def _of_run(run_id: str) -> tuple[str, tuple[str, ...]]:
    """The condition on the run, such that its index is used; every step of every run asks."""
    return ("run_id = ? AND", (run_id,)) if run_id else ("", ())


def head(connection: apsw.Connection) -> Head | None:
    """The newest entry; None for an empty log."""
    row: Any = connection.execute("SELECT entry, sha256 FROM audit ORDER BY entry DESC LIMIT 1").get
    return Head(generation(connection), *row) if row else None


def verify(connection: apsw.Connection, known: Head | None) -> Verdict:
    """Compute the whole chain anew; `known` is what the log is known to have had at least."""
    count, last, broken = 0, GENESIS, 0
    is_known = known is None or known.generation < generation(connection)
    for entry, act, run_id, request_id, record, sha256 in _rows(connection):
        count += 1
        columns = (act, run_id, request_id)
        if not broken and (entry != count or sha256 != _hash(last, record) or columns != _columns(record, entry)):
            broken = min(count, entry)
        if known and known.entry == entry:
            is_known = is_known or known.sha256 == sha256
            broken = broken or (0 if is_known else entry)
        last = str(sha256)
    if not broken and not is_known:
        broken = count + 1
    return Verdict(count, broken, last if count else "")


def is_in(connection: apsw.Connection, known: Head) -> bool:
    """Whether the log has what it was known to have; one of an older generation is past caring about."""
    if known.generation < generation(connection):
        return True
    return bool(connection.execute("SELECT sha256 FROM audit WHERE entry = ?", (known.entry,)).get == known.sha256)


def _append(connection: apsw.Connection, record: Mapping[str, Any], act: int | None) -> int:
    row: Any = connection.execute("SELECT entry, sha256 FROM audit ORDER BY entry DESC LIMIT 1").get
    last, previous = row or (0, GENESIS)
    entry = int(last) + 1
    text = canonical({**record, "entry": entry, "act": act or entry, "time_ns": time.time_ns()})
    values = (entry, act or entry, record["run_id"], record.get("request_id") or None, text, _hash(previous, text))
    connection.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?)", values)
    return entry


def canonical(record: Mapping[str, Any]) -> str:
    """The one way to write a record down: JSON in ASCII, keys sorted, no spaces."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _hash(previous: str, record: str) -> str:
    return hashlib.sha256(f"{previous}\n{record}".encode(errors="surrogatepass")).hexdigest()


def _columns(record: str, entry: int) -> tuple[Any, Any, Any] | None:
    """What the other columns of an entry must be, by its record; None when that is not the entry's."""
    try:
        parts = json.loads(record)
        return (parts["act"], parts["run_id"], parts.get("request_id") or None) if parts["entry"] == entry else None
    except (ValueError, KeyError, TypeError):
        return None


def _rows(connection: apsw.Connection) -> Iterator[Any]:
    return iter(connection.execute("SELECT entry, act, run_id, request_id, record, sha256 FROM audit ORDER BY entry"))


def _acts(connection: apsw.Connection, sql: str, values: tuple[str | int, ...]) -> list[Act]:
    rows: Any = connection.execute(sql, values).fetchall()
    return [_act(connection, entry) for (entry,) in rows]


def _act(connection: apsw.Connection, entry: int) -> Act:
    row: Any = connection.execute("SELECT record, sha256 FROM audit WHERE entry = ? AND act = entry", (entry,)).get
    if not row:
        raise NotFound(f"The audit log has no act {entry}.", remedy="`waystation guardian log` lists them.")
    parts = json.loads(row[0])
    order = Order(
        parts["run_id"], parts["actor"], parts["reason"], parts["action"], parts["change"], parts["request_id"]
    )
    return Act(entry, row[1], order, parts["run_state"], parts["time_ns"], _effect(connection, entry))


def _effect(connection: apsw.Connection, act: int) -> Effect | None:
    sql = "SELECT record FROM audit WHERE act = ?1 AND entry > ?1 ORDER BY entry DESC LIMIT 1"
    record = connection.execute(sql, (act,)).get
    if record is None:
        return None
    parts = json.loads(record)
    return Effect(parts["outcome"], parts["before"], parts["after"], parts["time_ns"])
