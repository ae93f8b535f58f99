"""Runs the processes of the mesh together: all started at once, each kept alive, drained in order."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from services.cli.child import Backoff, Child, ServiceSpec

DRAIN_ORDER = (("agent",), ("rag", "coding", "tools", "models"), ("control",))
"""Who starts work stops first, and the control plane takes everybody's last spans."""


class Supervisor:
    """Children by name. Needs a running event loop."""

    def __init__(
        self,
        specs: Sequence[ServiceSpec],
        log_folder: Path,
        on_death: Callable[[str, int, float], None],
        backoff: Backoff | None = None,
    ) -> None:
        self.children = {
            spec.name: Child(spec, log_folder / f"{spec.name}.log", on_death, backoff or Backoff()) for spec in specs
        }
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start all children."""
        self._tasks = [asyncio.create_task(child.supervise()) for child in self.children.values()]

    async def wait_until_healthy(self, timeout_s: float) -> bool:
        """Wait until every child is healthy; False when that takes longer than `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*(child.healthy.wait() for child in self.children.values()))
        except TimeoutError:
            return False
        return True

    async def stop(self, grace_s: float) -> None:
        """Drain all children, each stage within `grace_s` seconds."""
        named = {name for stage in DRAIN_ORDER for name in stage}
        others = tuple(name for name in self.children if name not in named)
        for stage in (others, *DRAIN_ORDER):
            stopping = [child.stop(grace_s) for name, child in self.children.items() if name in stage]
            await asyncio.gather(*stopping)
        await asyncio.gather(*self._tasks)
