"""Errors of runs and hops as they are stored and sent."""

from shared.errors import WaystationError
from shared.pb import agent_v1, common_v1


def error_to_proto(error: WaystationError) -> agent_v1.RunError:
    """The message for an error of a run or hop."""
    return agent_v1.RunError(
        reason=common_v1.ErrorReason.Value(f"ERROR_REASON_{error.reason}"),
        message=error.message,
        remedy=error.remedy,
        metadata=error.metadata,
    )
