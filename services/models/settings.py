"""The model server's settings."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from shared.settings import DEFAULT_DOORS, Settings


class ModelsSettings(Settings):
    """What the model server needs to know."""

    section: ClassVar[str] = "models"

    port: int = Field(default=DEFAULT_DOORS["models"], ge=0, le=65535)
    backend: Literal["llama", "scripted"] = "llama"
    """`scripted` answers from a script: for tests and measurements of the mesh, never by default."""
    script: Path | None = None
    """The scripted backend's rules, a JSON file."""
    slots: int = Field(default=4, ge=1, le=64)
    """Requests that one model works on at once, batched together."""
    context_tokens: int = Field(default=8192, ge=512)
    """Tokens that the slots of one model share."""
    batch_tokens: int = Field(default=64, ge=1)
    """Prompt tokens read in one go; a slot is freed between two of them, so this bounds how long a leaver holds it."""
    threads: int = Field(default=2, ge=1)
    max_waiting: int = Field(default=64, ge=0)
    """Requests that may wait for a slot, in order of arrival; a further one gets 429."""
    max_output_tokens: int = Field(default=4096, ge=1)
    max_request_bytes: int = Field(default=1_000_000, ge=1_000)
