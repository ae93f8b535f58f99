"""What every service knows."""

import os

# gRPC's fork handlers abort a child that is forked while other threads use gRPC; our children exec at once, and need
# none of it. Read when grpc is first used, so set before anything imports it.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
