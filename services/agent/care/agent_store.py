"""agent.db: its place, its tables and their checks, for all who open it."""

from pathlib import Path

from services.agent.care.checkpoint_check import check_checkpoints
from services.agent.care.store_care import StoreCare
from services.agent.checkpoint.tables import SCHEMA as CHECKPOINTS
from services.agent.guardian.audit import SCHEMA as GUARDIAN
from services.agent.mailbox.tables import SCHEMA as MAILBOX
from services.agent.outbox_store import SCHEMA as OUTBOX
from services.agent.run_rows import SCHEMA as RUNS
from shared.storage.database import Schema
from shared.storage.integrity import ContentCheck
from shared.storage.ledger import SCHEMA as LEDGER

SCHEMAS: tuple[Schema, ...] = (RUNS, CHECKPOINTS, OUTBOX, LEDGER, GUARDIAN, MAILBOX)
CHECKS: tuple[ContentCheck, ...] = (check_checkpoints,)
"""Those besides the check of runs and events."""


def store_care(home: Path, backup_count: int) -> StoreCare:
    """The care of the agent.db under a data folder."""
    return StoreCare(home / "agent" / "agent.db", SCHEMAS, CHECKS, backup_count)
