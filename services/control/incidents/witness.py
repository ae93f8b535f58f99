"""Tells incidents from what the control plane sees anyway: leases that lapse, processes that come, runs that change."""

from collections.abc import Callable, Iterable

from services.control.incidents.incident import Incident
from services.control.registry.registry import Snapshot
from shared.pb import agent_v1

MAX_LOST = 1_000
"""Names of processes that are expected back."""


class Witness:
    """Knows which processes are there and which are missed. `now_s` is the wall clock."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._names: dict[str, str] = {}
        """By the instance ids of the last snapshot."""
        self._missed: dict[str, float] = {}
        """When a service was heard of last that went without leave, by its name."""

    def lapse(self, instance_id: str, silent_s: float) -> Incident:
        """A process went without leave; nothing was heard of it for so long."""
        now, service = self._now_s(), self._names.get(instance_id, "")
        if service and len(self._missed) < MAX_LOST:
            self._missed[service] = now - silent_s
        time_ns = int(now * 1e9)
        return Incident(
            "process_lost",
            f"lost {instance_id} {time_ns}",
            time_ns,
            f"{service or instance_id} went without leave.",
            service,
            instance_id,
            gap_ms=silent_s * 1e3,
        )

    def registered(self, snapshot: Snapshot) -> list[Incident]:
        """The registry changed; tells of services that were missed and are there again."""
        now, found = self._now_s(), []
        names = {each.instance_id: each.descriptor.name for each in snapshot.instances}
        for instance_id, service in names.items():
            if instance_id not in self._names and service in self._missed:
                gap_ms = max(0.0, now - self._missed.pop(service)) * 1e3
                time_ns = int(now * 1e9)
                found.append(
                    Incident(
                        "process_back",
                        f"back {instance_id} {time_ns}",
                        time_ns,
                        f"{service} is back.",
                        service,
                        instance_id,
                        gap_ms=gap_ms,
                    )
                )
        self._names = names
        return found

    def changed(self, items: Iterable[object]) -> list[Incident]:
        """Runs changed or had events; tells of those that lost their agent and those that were taken up again."""
        found = []
        for item in items:
            if isinstance(item, agent_v1.Run) and item.state == agent_v1.Run.STATE_LOST:
                found.append(self._lost(item))
            elif isinstance(item, agent_v1.RunEvent) and item.run_resumed.cause == "crash":
                found.append(self._resumed(item))
        return found

    def _lost(self, run: agent_v1.Run) -> Incident:
        key = f"run lost {run.run_id} {run.epoch}"
        message = "The agent that drove the run died."
        return Incident("run_lost", key, int(self._now_s() * 1e9), message, "agent", run_id=run.run_id)

    def _resumed(self, event: agent_v1.RunEvent) -> Incident:
        resumed = event.run_resumed
        key = f"run resumed {event.run_id} {resumed.epoch}"
        message = "The run went on from its last checkpoint."
        return Incident("run_resumed", key, event.create_time.ToNanoseconds(), message, "agent", run_id=event.run_id)
