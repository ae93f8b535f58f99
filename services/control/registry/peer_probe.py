"""Asks a registered address how it is: over gRPC health, or for a model server over its list of models."""

import asyncio

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.control.registry.registry import Registration
from shared.pb import capability_v1


class PeerProbe:
    """The `Probe` of real life. Each question has a connection of its own, so that no dead one is asked."""

    async def __call__(self, registration: Registration, timeout_s: float) -> str:
        """Return why the address does not serve what was registered, or an empty text when it does."""
        address = registration.address
        if registration.kind == "models":
            return await _ask_models(address, timeout_s)
        options = (("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))
        async with grpc.aio.insecure_channel(address, options=options) as channel:
            try:
                async with asyncio.timeout(timeout_s):
                    failure = await _ask_health(channel, address, timeout_s)
                    if failure or registration.kind != "capability":
                        return failure
                    return await _ask_name(channel, registration, timeout_s)
            except grpc.aio.AioRpcError as error:
                return f"health check of {address} failed: {error.code().name}"
            except TimeoutError:
                return f"health check of {address} failed: DEADLINE_EXCEEDED"


async def _ask_health(channel: grpc.aio.Channel, address: str, timeout_s: float) -> str:
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return ""
    return f"health check of {address} says {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)}"


async def _ask_name(channel: grpc.aio.Channel, registration: Registration, timeout_s: float) -> str:
    """Somebody else's door serves, too: calls for this capability must not go there."""
    address, stub = registration.address, capability_v1.CapabilityServiceStub(channel)
    try:
        answer = await stub.Describe(capability_v1.DescribeRequest(), timeout=timeout_s)
    except grpc.aio.AioRpcError as error:
        return f"Describe at {address} failed: {error.code().name}"
    if answer.descriptor.name == registration.descriptor.name:
        return ""
    return f"Describe at {address} names another capability, {answer.descriptor.name[:63]!r}"


async def _ask_models(address: str, timeout_s: float) -> str:
    try:
        async with (
            httpx.AsyncClient(timeout=timeout_s, trust_env=False) as client,
            client.stream("GET", f"http://{address}/v1/models") as answer,
        ):
            status = answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"health check of {address} failed: {type(error).__name__}"
    # a server that wants a key is there
    return "" if status in (200, 401, 403) else f"health check of {address} failed: HTTP {status}"
