"""A capability of your own, run beside a mesh: `.venv/bin/python examples/services/words.py`."""

from collections.abc import AsyncIterator

from shared.call_context import CallContext
from shared.capability import Descriptor, Invocation, Output, Result, serve


class Words:
    """Works on the text after the first colon of the task, or on all of it."""

    descriptor = Descriptor(
        name="words",
        description="Counts the words of a text or puts them in reverse order.",
        tags=("words", "word-count", "reverse"),
        examples=("count the words: a b c", "how many words are in: to be or not", "reverse the words: one two three"),
        is_idempotent=True,
    )

    async def invoke(self, invocation: Invocation, call: CallContext) -> AsyncIterator[Output]:
        """Yield the one result."""
        words = invocation.task.partition(":")[2].split() or invocation.task.split()
        wants_reverse = "reverse" in invocation.task.lower()
        yield Result(" ".join(reversed(words)) if wants_reverse else f"{len(words)} words")


if __name__ == "__main__":
    serve(Words())
