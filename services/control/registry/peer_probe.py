"""Asks a registered address how it is: over gRPC health, or for a model server over its list of models."""

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc


class PeerProbe:
    """The `Probe` of real life. Each question has a connection of its own, so that no dead one is asked."""

    async def __call__(self, kind: str, address: str, timeout_s: float) -> str:
        """Return why the address does not serve, or an empty text when it does."""
        if kind == "models":
            return await _ask_models(address, timeout_s)
        return await _ask_health(address, timeout_s)


async def _ask_health(address: str, timeout_s: float) -> str:
    options = (("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            return f"health check of {address} failed: {error.code().name}"
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return ""
    return f"health check of {address} says {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)}"


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
