"""The processes of the mesh."""

import shared  # noqa: F401  # before any service imports grpc
