"""Calls to the mesh: a stub for a service, and its errors in words that help at a terminal."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import grpc

from services.cli.doors import address_of
from shared.errors import PeerUnavailable
from shared.rpc.channel import open_channel
from shared.rpc.status import peer_errors


@asynccontextmanager
async def connect(service: str) -> AsyncIterator[grpc.aio.Channel]:
    """Open a channel to a service for as long as the context lasts; what is raised inside becomes a typed error."""
    address = address_of(service, os.environ)
    with calling(service, address):
        async with open_channel(address) as channel:
            yield channel


@contextmanager
def calling(service: str, address: str = "") -> Iterator[None]:
    """Around calls to a service: gRPC's errors become ours, and one that nobody answers names the remedy."""
    try:
        with peer_errors(service):
            yield
    except PeerUnavailable as error:
        if error.metadata.get("peer") != service or "address" in error.metadata:
            raise
        address = address or address_of(service, os.environ)
        raise PeerUnavailable(
            f"The {service} service does not answer at {address}.",
            remedy="Start the mesh with `waystation up`, or see why it is down with `waystation doctor`.",
            peer=service,
            address=address,
        ) from error
