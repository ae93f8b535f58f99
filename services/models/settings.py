"""The settings of the model server."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from shared.settings import DEFAULT_DOORS, Settings


class ModelsSettings(Settings):
    """What the model server needs to know."""

    section: ClassVar[str] = "models"

    port: int = Field(default=DEFAULT_DOORS["models"], ge=0, le=65535)
    """The HTTP door; 0 takes any free port."""
    backend: Literal["llama", "scripted"] = "llama"
    """What answers: llama.cpp, or (for tests only) a script of fixed replies."""
    script: Path | None = None
    """The file of replies of the scripted backend."""
    slots: int = Field(default=4, ge=1, le=16)
    """How many requests one model answers at the same time."""
    context_tokens: int = Field(default=8192, ge=512, le=32768)
    """How long a prompt and its reply may be together, per request."""
    prompt_batch_tokens: int = Field(default=32, ge=8, le=2048)
    """How many prompt tokens are read in one go; others wait that long, and so does a cancellation."""
    threads: int = Field(default=0, ge=0, le=256)
    """Threads per model; 0 takes one per core, eight at most."""
    max_waiting: int = Field(default=32, ge=0)
    """How many requests may wait for a slot of one model; more are refused."""
    max_reply_tokens: int = Field(default=4096, ge=1)
    """The largest `max_tokens` of a request."""
    default_reply_tokens: int = Field(default=1024, ge=1)
    """`max_tokens` of a request that does not say."""
    max_request_bytes: int = Field(default=1024 * 1024, ge=1024)
    """The largest body of a request."""
