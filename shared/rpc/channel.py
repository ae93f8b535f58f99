"""The one client factory: every channel to a peer is opened here, once per peer, and closed with the process."""

import grpc
from opentelemetry.instrumentation.grpc import aio_client_interceptors

from shared.rpc.interceptors.outgoing import outgoing_interceptors

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
COMMON_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
)
CHANNEL_OPTIONS = (
    *COMMON_OPTIONS,
    # a peer that was restarted is found again quickly
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # a proxy named in the environment is not meant for the mesh
    ("grpc.enable_http_proxy", 0),
)


def open_channel(address: str, *, has_spans: bool = True) -> grpc.aio.Channel:
    """Open a channel to `address` (host:port). Its calls carry trace, correlation id and a deadline.

    A call is a client span, unless the channel `has_spans` not: then its caller has one for it, or it is of no
    interest, as what a process tells the control plane of itself.
    """
    spans = aio_client_interceptors() if has_spans else []
    return grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS, interceptors=[*spans, *outgoing_interceptors()])


def open_blocking_channel(address: str) -> grpc.Channel:
    """Open a channel for threads that no event loop runs in. Its calls carry nothing but what they are given."""
    return grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
