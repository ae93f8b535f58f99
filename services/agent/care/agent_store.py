"""agent.db: its place, its tables and their checks, for all who open it."""

from pathlib import Path

from services.agent.care.store_care import StoreCare
from services.agent.checkpoint import tables as checkpoint_tables
from services.agent.run_store import SCHEMA as RUN_SCHEMA
from shared.storage import ledger
from shared.storage.database import Schema
from shared.storage.integrity import ContentCheck

SCHEMAS: tuple[Schema, ...] = (RUN_SCHEMA, checkpoint_tables.SCHEMA, ledger.SCHEMA)
CHECKS: tuple[ContentCheck, ...] = ()
"""Those besides the check of runs and events."""


def store_care(home: Path, backup_count: int) -> StoreCare:
    """The care of the agent.db under a data folder."""
    return StoreCare(home / "agent" / "agent.db", SCHEMAS, CHECKS, backup_count)
