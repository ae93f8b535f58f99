"""Errors on the wire: `google.rpc.Status` with an `ErrorInfo` (AIP-193), there and back."""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2

from shared.errors import (
    DOMAIN,
    Cancelled,
    DeadlineExceeded,
    LimitExceeded,
    NotBuilt,
    PeerProtocol,
    PeerUnavailable,
    WaystationError,
    error_from_reason,
    row_of,
)

DETAILS_KEY = "grpc-status-details-bin"


def status_code(error: WaystationError) -> grpc.StatusCode:
    """The gRPC status code of the error's class."""
    return grpc.StatusCode[row_of(type(error)).status]


def to_trailers(error: WaystationError, correlation_id: str = "") -> tuple[tuple[str, bytes], ...]:
    """The trailing metadata that carries the error's reason, remedy and facts, and the request's correlation id."""
    return ((DETAILS_KEY, status_bytes(error, correlation_id)),)


def status_bytes(error: WaystationError, correlation_id: str = "") -> bytes:
    """The error as a serialized `google.rpc.Status`."""
    told = {"remedy": error.remedy, "correlation_id": correlation_id}
    metadata = {**{name: value for name, value in told.items() if value}, **error.metadata}
    status = status_pb2.Status(code=code_pb2.Code.Value(row_of(type(error)).status), message=error.message)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata))
    return bytes(status.SerializeToString())


def error_from_status(serialized: bytes) -> WaystationError:
    """The exception that `status_bytes` was made of."""
    status = status_pb2.Status.FromString(serialized)
    info = _info_of(status) or error_details_pb2.ErrorInfo()
    return error_from_reason(info.reason, status.message, dict(info.metadata))


@contextmanager
def peer_errors(peer: str) -> Iterator[None]:
    """Around a call to `peer`: gRPC's error becomes the exception that the peer raised, or one that names the peer."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error, peer) from error


def from_rpc_error(error: grpc.aio.AioRpcError, peer: str) -> WaystationError:
    """The exception for a failed call, from its `ErrorInfo` when there is one, otherwise from its status code."""
    info = _error_info(error)
    if info:
        return error_from_reason(info.reason, error.details() or "", dict(info.metadata))
    code, details = error.code(), error.details()
    if code is grpc.StatusCode.UNAVAILABLE:
        return PeerUnavailable(
            f"{peer} cannot be reached ({details}).", remedy="Is `waystation up` running?", peer=peer
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded(f"{peer} did not answer in time.", peer=peer)
    if code is grpc.StatusCode.CANCELLED:
        return Cancelled(f"The call to {peer} was cancelled.", peer=peer)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return NotBuilt(f"{peer} does not have this call ({details}).", peer=peer)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return LimitExceeded(f"{peer}: {details}", peer=peer)
    return PeerProtocol(f"{peer} failed with {code.name}: {details}", peer=peer)


def _error_info(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo | None:
    trailers = dict(error.trailing_metadata() or ())
    try:
        return _info_of(status_pb2.Status.FromString(trailers.get(DETAILS_KEY, b"")))
    except DecodeError:
        return None  # a foreign peer's details; the status code alone must do


def _info_of(status: status_pb2.Status) -> error_details_pb2.ErrorInfo | None:
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info) and info.domain == DOMAIN:
            return info
    return None
