"""A capability that answers at once: what is left of a hop is the mesh."""

from collections.abc import AsyncIterator

from shared.call_context import CallContext
from shared.capability import Descriptor, Invocation, Output, Result, serve


class Echo:
    """Answers with its task."""

    descriptor = Descriptor(
        "echo",
        "Repeats a phrase word for word.",
        ("echo",),
        ("repeat after me: hello", "say this back to me", "echo the phrase good morning", "repeat this word for word"),
        is_idempotent=True,
    )

    async def invoke(self, invocation: Invocation, call: CallContext) -> AsyncIterator[Output]:
        """Yield the task as the result."""
        yield Result(invocation.task)


if __name__ == "__main__":
    serve(Echo())
