"""The settings of the rag service."""

from typing import ClassVar

from pydantic import Field

from shared.settings import DEFAULT_DOORS, Settings


class RagSettings(Settings):
    """What the rag service needs to know."""

    section: ClassVar[str] = "rag"

    port: int = Field(default=DEFAULT_DOORS["rag"], ge=0, le=65535)
    answer_collection: str = Field(default="default", min_length=1)
    """The collection that questions are answered from."""
    embedding_threads: int = Field(default=1, ge=1, le=64)
    """More make ingest faster on an idle machine; on a busy one they wait for each other and make it much slower."""
