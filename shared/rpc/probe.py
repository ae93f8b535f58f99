"""Asks a door whether it serves: `python -m shared.rpc.probe HOST:PORT`, or an `http://` URL, ends with 0 when it does.

What container health checks run.
"""

import sys

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

TIMEOUT_S = 3.0


def failure_of(door: str, timeout_s: float = TIMEOUT_S) -> str:
    """Return why the door does not serve, or "" when it does."""
    return _http_failure(door, timeout_s) if door.startswith("http://") else _grpc_failure(door, timeout_s)


def _grpc_failure(address: str, timeout_s: float) -> str:
    with grpc.insecure_channel(address, options=(("grpc.enable_http_proxy", 0),)) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.RpcError as error:
            return f"{address}: {error.code().name}"
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return ""
    return f"{address}: {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)}"


def _http_failure(url: str, timeout_s: float) -> str:
    try:
        status = httpx.get(url, timeout=timeout_s, trust_env=False).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"{url}: {type(error).__name__}"
    return "" if status == httpx.codes.OK else f"{url}: HTTP {status}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m shared.rpc.probe HOST:PORT | http://HOST:PORT/PATH")
    sys.exit(failure_of(sys.argv[1]) or None)
