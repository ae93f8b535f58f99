"""The capability services as the agent sees them: followed from the control plane, kept for when that is down."""

import asyncio
import json
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from pathlib import Path

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

from services.agent.peer_load import PeerLoad
from shared.capability import Descriptor
from shared.capability.registration import LEASE
from shared.capability.wire import descriptor_from_proto
from shared.errors import WaystationError
from shared.pb import control_v1
from shared.rpc.channel import open_channel
from shared.rpc.status import peer_errors

logger = logging.getLogger(__name__)

RETRY_S = 1.0
FIRST_RETRY_S = 0.1
"""Doubles up to RETRY_S: in a mesh that starts, the control plane is there a moment later."""
WATCH_TIMEOUT_S = 3600.0
# not checked yet is not usable: a service with a lying address must never be called
_USABLE = (control_v1.Health.STATE_SERVING, control_v1.Health.STATE_DEGRADED)

Instance = control_v1.ServiceInstance
OnChange = Callable[[Sequence[Descriptor]], Awaitable[None]]


class PeerDirectory:
    """The service list. `on_change` gets the services when they are others; `load` says which replica is next.

    What `on_change` does may take a while: services can be called meanwhile, and it hears of the newest list next.
    """

    def __init__(
        self,
        control_address: str,
        cache: Path,
        on_change: OnChange,
        load: PeerLoad,
        grace_s: float = LEASE.total_seconds(),
    ) -> None:
        self._control_address, self._cache, self._on_change, self._grace_s = control_address, cache, on_change, grace_s
        self._load = load
        self._instances: dict[str, Instance] = {}
        self._services: Sequence[Descriptor] = []
        self._told: list[Instance] = []
        self._version = 0.0
        self._changed = asyncio.Event()
        self._is_relearning = False

    def services(self) -> Sequence[Descriptor]:
        """The capability services that are healthy, by name; replicas once."""
        return self._services

    def addresses_of(self, capability: str) -> Sequence[str]:
        """The addresses of its healthy instances, the least loaded first."""
        return self._load.ranked(self._places(capability))

    def addresses(self) -> Collection[str]:
        """The addresses of all healthy instances."""
        return {item.address for item in self._usable()}

    def address_of(self, capability: str) -> str:
        """The address that the next call goes to, which takes turns; "" when there is none."""
        return self._load.choose(self._places(capability))

    def _places(self, capability: str) -> set[str]:
        return {item.address for item in self._usable() if item.descriptor.name == capability}

    def is_idempotent(self, capability: str) -> bool:
        """Whether a second call to it does no harm; what is known of it counts while it is away, too."""
        return any(
            item.descriptor.is_idempotent for item in self._instances.values() if item.descriptor.name == capability
        )

    def _usable(self) -> list[Instance]:
        return [item for item in self._instances.values() if item.health.state in _USABLE]

    async def load(self) -> None:
        """Begin with the list that was seen last."""
        try:
            stored = json.loads(self._cache.read_text())
            instances = [ParseDict(item, Instance(), ignore_unknown_fields=True) for item in stored]
        except FileNotFoundError:
            return
        except (ValueError, ParseError, OSError) as error:
            logger.warning("the kept service list %s is not readable: %s", self._cache, error)
            return
        self._version = math.inf
        self._replace(instances)
        if self._changed.is_set():
            self._changed.clear()
            await self._on_change(self._services)

    async def follow(self) -> None:
        """Follow the control plane for ever; without it the last list stands."""
        telling = asyncio.create_task(self._tell())
        try:
            await self._follow()
        finally:
            telling.cancel()

    async def _tell(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._on_change(self._services)
            except Exception:
                logger.exception("the services that are there now were not taken note of")

    async def _follow(self) -> None:
        is_known_down, retry_s = False, FIRST_RETRY_S
        async with open_channel(self._control_address, has_spans=False) as channel:
            stub = control_v1.RegistryServiceStub(channel)
            while True:
                try:
                    with peer_errors("control"):
                        async for update in self._updates(stub):
                            is_known_down = False
                            self._take(list(update.instances), update.version)
                except WaystationError as error:
                    if not is_known_down:
                        logger.warning("the control plane is away, going on with the last service list: %s", error)
                    is_known_down = True
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, RETRY_S)

    async def _updates(
        self, stub: "control_v1.RegistryServiceAsyncStub"
    ) -> AsyncIterator[control_v1.WatchServicesResponse]:
        settling = asyncio.create_task(self._settle())
        try:
            request = control_v1.WatchServicesRequest(kind="capability")
            async for update in stub.WatchServices(request, timeout=WATCH_TIMEOUT_S):
                yield update
        finally:
            settling.cancel()  # a control plane that dies before that has to hear of everyone once more

    def _take(self, instances: list[Instance], version: int) -> None:
        # one of us was restarted: the services register one after the other, all that live within one lease
        self._is_relearning |= version < self._version
        self._version, self._told = version, instances
        if self._is_relearning:
            names = {item.descriptor.name for item in instances if item.health.state in _USABLE}
            instances = [*instances, *(item for item in self._instances.values() if item.descriptor.name not in names)]
        self._replace(instances)
        self._keep(instances)

    async def _settle(self) -> None:
        await asyncio.sleep(self._grace_s)
        if self._is_relearning:
            self._is_relearning = False
            self._replace(self._told)
            self._keep(self._told)

    def _keep(self, instances: Sequence[Instance]) -> None:
        partial = self._cache.with_suffix(".partial")
        try:
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps([MessageToDict(item) for item in instances]))
            partial.replace(self._cache)
        except OSError as error:
            logger.warning("the service list cannot be kept in %s: %s", self._cache, error)

    def _replace(self, instances: Sequence[Instance]) -> None:
        before = self._services
        self._note_load(instances)
        self._instances = {item.instance_id: item for item in instances}
        by_name = {item.descriptor.name: item for item in self._usable()}
        # every step of every run asks for them: made once for each change
        after = self._services = [descriptor_from_proto(by_name[name].descriptor) for name in sorted(by_name)]
        if after != before:
            logger.info("services: %s", ", ".join(item.name for item in after) or "none")
            self._changed.set()

    def _note_load(self, instances: Sequence[Instance]) -> None:
        self._load.keep_only({item.address for item in instances})
        for item in instances:
            known = self._instances.get(item.instance_id)
            if known is None or known.heartbeat_time != item.heartbeat_time:  # an old figure counts calls long ended
                self._load.note(item.address, item.health.in_flight)
