"""Who may write a thread: one owner at a time, told apart by an epoch that only grows.

Every function runs inside a transaction of agent.db, so that whoever checks an epoch writes under the same lock. The
lease only says when others may take a thread over; what keeps a stalled owner out is its epoch (a fencing token), so a
clock that is wrong can cost a needless takeover and never a second writer.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import apsw

from shared.errors import StaleEpoch, ThreadBusy

GENERATION_BITS = 32
"""An epoch is the store's generation above these bits and a counter below them."""
NOBODY = ""


@dataclass(frozen=True)
class Ownership:
    """The state of one thread."""

    owner: str
    """Empty when nobody holds it."""
    epoch: int
    lease_ns: int
    """Unix time in nanoseconds up to which the owner holds it."""

    def is_held(self, now_ns: int, longest_ns: int) -> bool:
        """Whether the lease runs. One that ends later than a lease can last was given under another clock."""
        return self.owner != NOBODY and now_ns < self.lease_ns <= now_ns + longest_ns


def claim(connection: apsw.Connection, thread_id: str, owner: str, lease_until_ns: int, now_ns: int) -> int:
    """Make `owner` the thread's owner and return the new epoch, which is greater than every one before.

    Raises `ThreadBusy` when somebody else's lease still runs.
    """
    found = current(connection, thread_id)
    # twice a lease: the other's clock, or ours, may have been put back a little since
    if found and found.owner != owner and found.is_held(now_ns, 2 * (lease_until_ns - now_ns)):
        raise ThreadBusy(
            f"Thread {thread_id!r} belongs to {found.owner}.",
            remedy="Wait until its run has ended, or cancel that run.",
            thread_id=thread_id,
            owner=found.owner,
        )
    first = (generation(connection) << GENERATION_BITS) + 1
    epoch = max(first, found.epoch + 1 if found else 0)
    connection.execute("REPLACE INTO threads VALUES (?, ?, ?, ?)", (thread_id, owner, epoch, lease_until_ns))
    return epoch


def renew(connection: apsw.Connection, owner: str, epochs: Mapping[str, int], lease_until_ns: int) -> set[str]:
    """Prolong the leases of the threads in `epochs` (thread id to epoch); return those that belong to others by now.

    One that was let go belongs to nobody.
    """
    lost = set()
    for thread_id, epoch in epochs.items():
        connection.execute(
            "UPDATE threads SET lease_ns = ? WHERE thread_id = ? AND owner = ? AND epoch = ?",
            (lease_until_ns, thread_id, owner, epoch),
        )
        if connection.changes():
            continue
        sql = "SELECT owner != '' OR epoch != ? FROM threads WHERE thread_id = ?"
        if connection.execute(sql, (epoch, thread_id)).get:
            lost.add(thread_id)
    return lost


def release(connection: apsw.Connection, thread_id: str, epoch: int) -> bool:
    """Give the thread up; False, and no change, when it was not held under `epoch`. Later claims get later epochs."""
    connection.execute(
        "UPDATE threads SET owner = '', lease_ns = 0 WHERE thread_id = ? AND epoch = ? AND owner != ''",
        (thread_id, epoch),
    )
    return bool(connection.changes())


def end_leases(connection: apsw.Connection, owner: str) -> None:
    """End the leases of everybody but `owner`: for whoever knows that all others are dead.

    Their threads keep their names, which tells a thread that was never let go from one that was.
    """
    connection.execute("UPDATE threads SET lease_ns = 0 WHERE owner NOT IN (?, ?)", (NOBODY, owner))


def current(connection: apsw.Connection, thread_id: str) -> Ownership | None:
    """Who holds the thread, or held it last; None when nobody ever did."""
    row = connection.execute("SELECT owner, epoch, lease_ns FROM threads WHERE thread_id = ?", (thread_id,)).get
    return Ownership(*row) if row else None


def check_epoch(connection: apsw.Connection, thread_id: str, epoch: int) -> None:
    """Raise `StaleEpoch` unless `epoch` is the thread's."""
    stored = connection.execute("SELECT epoch FROM threads WHERE thread_id = ?", (thread_id,)).get or 0
    if stored != epoch:
        raise StaleEpoch(
            f"Thread {thread_id!r} was taken over: epoch {epoch} is not {stored}.",
            remedy="Stop this run; its new owner goes on with it.",
            thread_id=thread_id,
            epoch=epoch,
            current_epoch=stored,
        )


def generation(connection: apsw.Connection) -> int:
    """The generation of the store: 1 for a new one, one more after each restore."""
    return int(connection.execute("SELECT generation FROM store").get)


def raise_generation(connection: apsw.Connection, lowest: int = 0) -> int:
    """Begin a new generation, no smaller than `lowest`, and return it: every epoch given before is stale from then on.

    Threads that are held lose their owners, since none of them knows of the restore.
    """
    connection.execute("UPDATE store SET generation = max(generation + 1, ?)", (lowest,))
    fresh = generation(connection)
    connection.execute(
        "UPDATE threads SET owner = '', lease_ns = 0, epoch = max(epoch, ?)", (fresh << GENERATION_BITS,)
    )
    return fresh
