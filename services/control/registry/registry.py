"""Which processes are there: registrations under leases, in memory, with a version that grows."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, replace

from services.control.clock import Clock
from services.control.registry.limits import (
    check_address,
    check_descriptor,
    check_health,
    check_instance_id,
    check_kind,
)
from services.control.signal import Signal
from shared.errors import AlreadyExists, InvalidInput, LimitExceeded, NotFound
from shared.pb import capability_v1, control_v1

MIN_LEASE_S = 1.0
MAX_LEASE_S = 60.0
MAX_INSTANCES = 1_000
FAILURES_BEFORE_DOWN = 2
"""A busy machine may miss one health check."""

State = control_v1.Health.State


@dataclass(frozen=True)
class Registration:
    """What a process says of itself."""

    instance_id: str
    """Unique for one life of a process."""
    address: str
    """Where it serves, as host:port."""
    kind: str
    """One of `limits.KINDS`."""
    descriptor: capability_v1.Descriptor
    pid: int = 0


@dataclass(frozen=True)
class Snapshot:
    """All that is registered at one moment."""

    instances: tuple[control_v1.ServiceInstance, ...]
    version: int
    """Grows with each change of the list."""


@dataclass(frozen=True)
class _Record:
    registration: Registration
    lease_s: float
    registered_at: float
    heartbeat_at: float
    expires_at: float
    """On the monotonic clock, as the two before."""
    health: control_v1.Health
    has_passed: bool = False
    failures: int = 0
    """Health checks that failed since the last one that passed."""
    failure: str = ""

    @property
    def shown_health(self) -> control_v1.Health:
        """What the process says of itself, unless its address says otherwise."""
        if not self.has_passed and not self.failures:
            return control_v1.Health(message="not checked yet")
        shown = control_v1.Health()
        shown.CopyFrom(self.health)
        if not self.has_passed or self.failures >= FAILURES_BEFORE_DOWN:
            shown.state, shown.message = State.STATE_NOT_SERVING, self.failure
        elif shown.state == State.STATE_UNSPECIFIED:
            shown.state = State.STATE_SERVING
        return shown


class Registry:
    """The registrations. `on_lapse` gets the instance id of each process that went without leave.

    And for how many seconds nothing was heard of it.
    """

    def __init__(
        self, clock: Clock, *, lease_s: float = 10.0, on_lapse: Callable[[str, float], None] | None = None
    ) -> None:
        self._clock = clock
        self._lease_s = lease_s
        self._on_lapse = on_lapse
        self._records: dict[str, _Record] = {}
        self._version = 0
        self._signal = Signal()

    def register(self, registration: Registration, lease_s: float = 0.0) -> float:
        """Register a process or renew its registration, and return the granted lease in seconds.

        Raises `InvalidInput` for contents beyond the limits, `AlreadyExists` for a name taken by another
        descriptor at another address, and `LimitExceeded` when the registry is full.
        """
        check_instance_id(registration.instance_id)
        check_address(registration.address)
        check_kind(registration.kind)
        check_descriptor(registration.descriptor)
        if lease_s < 0:
            raise InvalidInput("lease must not be negative.", remedy="Leave it out for the default.", field="lease")
        self.expire()
        former = self._check_name(registration)
        if registration.instance_id not in self._records and len(self._records) >= MAX_INSTANCES:
            raise LimitExceeded(f"{MAX_INSTANCES} processes are registered already.", limit=MAX_INSTANCES)
        for instance_id in former:
            self._drop(instance_id)
        granted = min(max(lease_s or self._lease_s, MIN_LEASE_S), MAX_LEASE_S)
        self._records[registration.instance_id] = self._record(registration, granted)
        self._change()
        return granted

    def heartbeat(self, instance_id: str, health: control_v1.Health) -> float:
        """Renew a lease, note how the process is, and return the lease in seconds.

        Raises `NotFound` when the lease lapsed or never was: the process must register again; `InvalidInput` for a
        message beyond the limits.
        """
        check_health(health)
        self.expire()
        record = self._records.get(instance_id)
        if record is None:
            raise NotFound(
                f"No registration of {instance_id!r} is alive.",
                remedy="Register again.",
                instance_id=instance_id,
            )
        now = self._clock.monotonic()
        self._update(record, heartbeat_at=now, expires_at=now + record.lease_s, health=health)
        return record.lease_s

    def instance_ids(self) -> Collection[str]:
        """The processes that are registered now."""
        return self._records.keys()

    def name_of(self, instance_id: str) -> str:
        """The service that a registered process is; empty when it is not there."""
        record = self._records.get(instance_id)
        return record.registration.descriptor.name if record else ""

    def deregister(self, instance_id: str) -> None:
        """Take a process out at once; one that is not there is no mistake."""
        if self._records.pop(instance_id, None):
            self._change()

    def note_check(self, registration: Registration, failure: str) -> None:
        """Note the outcome of a health check of the address; an empty `failure` means it passed."""
        record = self._records.get(registration.instance_id)
        if record is None or record.registration.address != registration.address:
            return
        if failure:
            self._update(record, failures=record.failures + 1, failure=failure)
        else:
            self._update(record, failures=0, failure="", has_passed=True)

    def expire(self) -> None:
        """Take out the processes whose leases ran out."""
        now = self._clock.monotonic()
        lapsed = [key for key, record in self._records.items() if record.expires_at <= now]
        for instance_id in lapsed:
            self._drop(instance_id)
        if lapsed:
            self._change()

    def registrations(self) -> list[Registration]:
        """What is registered now, in the order of registering."""
        return [record.registration for record in self._records.values()]

    def snapshot(self, kind: str = "", tags: Sequence[str] = ()) -> Snapshot:
        """List what is registered now; an empty `kind` or `tags` does not narrow. Sorted by name."""
        self.expire()
        wanted = set(tags)
        chosen = [
            self._instance(record)
            for record in self._records.values()
            if kind in ("", record.registration.kind) and wanted <= set(record.registration.descriptor.tags)
        ]
        chosen.sort(key=lambda instance: (instance.descriptor.name, instance.address))
        return Snapshot(tuple(chosen), self._version)

    async def watch(self, kind: str = "") -> AsyncIterator[Snapshot]:
        """Yield the snapshot of now, then the newest after each change; a slow reader skips those between."""
        sent = -1
        while not self._signal.is_closed:
            if sent == self._version:
                await self._signal.wait()
                continue
            snapshot = self.snapshot(kind)
            sent = snapshot.version
            yield snapshot

    def close(self) -> None:
        """End all watches."""
        self._signal.close()

    def _check_name(self, registration: Registration) -> list[str]:
        """Return the former lives of the same process, which are dead: another one has their address."""
        name, former = registration.descriptor.name, []
        for instance_id, record in self._records.items():
            other = record.registration
            if other.descriptor.name != name or instance_id == registration.instance_id:
                continue
            if other.address == registration.address:
                former.append(instance_id)
            elif (other.kind, other.descriptor) != (registration.kind, registration.descriptor):
                raise AlreadyExists(
                    f"The name {name!r} is taken by a service at {other.address} with another descriptor.",
                    remedy="Choose another name, or offer the same descriptor to be its replica.",
                    name=name,
                    address=other.address,
                )
        return former

    def _drop(self, instance_id: str) -> None:
        record = self._records.pop(instance_id)
        if self._on_lapse:
            self._on_lapse(instance_id, self._clock.monotonic() - record.heartbeat_at)

    def _record(self, registration: Registration, lease_s: float) -> _Record:
        now = self._clock.monotonic()
        old = self._records.get(registration.instance_id)
        if old and old.registration.address == registration.address:
            return replace(old, registration=registration, lease_s=lease_s, heartbeat_at=now, expires_at=now + lease_s)
        return _Record(registration, lease_s, now, now, now + lease_s, control_v1.Health())

    def _update(self, record: _Record, **changes: object) -> None:
        changed = replace(record, **changes)  # type: ignore[arg-type]
        self._records[record.registration.instance_id] = changed
        before, after = record.shown_health, changed.shown_health
        is_news = (before.state, before.message) != (after.state, after.message)
        if is_news or (before.in_flight != after.in_flight and self._has_replicas(changed)):
            self._change()

    def _has_replicas(self, record: _Record) -> bool:
        name = record.registration.descriptor.name
        return sum(other.registration.descriptor.name == name for other in self._records.values()) > 1

    def _change(self) -> None:
        self._version += 1
        self._signal.fire()

    def _instance(self, record: _Record) -> control_v1.ServiceInstance:
        registration = record.registration
        instance = control_v1.ServiceInstance(
            instance_id=registration.instance_id,
            address=registration.address,
            kind=registration.kind,
            descriptor=registration.descriptor,
            health=record.shown_health,
            pid=registration.pid,
        )
        offset = self._clock.wall() - self._clock.monotonic()
        instance.register_time.FromNanoseconds(int((record.registered_at + offset) * 1e9))
        instance.heartbeat_time.FromNanoseconds(int((record.heartbeat_at + offset) * 1e9))
        instance.lease_expire_time.FromNanoseconds(int((record.expires_at + offset) * 1e9))
        return instance
