"""Coding as the mesh sees it: a capability that the router can recommend and a workflow can call by role."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from services.coding.coder import Coder
from services.coding.review_hop import ReviewHop
from shared.call_context import CallContext
from shared.capability import Descriptor, Invocation, Output
from shared.capability.service import Effort
from shared.errors import NotFound
from shared.models.chat import ChatModel

ROLES = ("coder", "reviewer")


def describe_coding() -> Descriptor:
    """Returns the descriptor, with the example requests that lie beside this module."""
    examples = Path(__file__).with_name("examples.txt").read_text(encoding="utf-8").splitlines()
    return Descriptor(
        name="coding",
        description="Writes Python programs for a task, runs them in a sandbox, repairs and reviews them.",
        tags=("coding", "python", "code-execution"),
        examples=tuple(line for line in examples if line.strip()),
        roles=ROLES,
        # A program cannot reach anything outside its sandbox.
        is_idempotent=True,
    )


class CodingCapability:
    """Hands a task to the role that it is for."""

    def __init__(
        self, descriptor: Descriptor, coder: Coder, reviewer: ReviewHop, models: Mapping[Effort, ChatModel]
    ) -> None:
        self.descriptor = descriptor
        self._coder = coder
        self._reviewer = reviewer
        self._models = models

    def invoke(self, invocation: Invocation, call: CallContext) -> AsyncIterator[Output]:
        """See `Capability.invoke`. Raises NotFound for a role that the service does not have."""
        if invocation.role not in ("", *ROLES):
            raise NotFound(
                f"The coding service has no role {invocation.role!r}.", remedy="Use another.", known=", ".join(ROLES)
            )
        work = self._reviewer.review if invocation.role == "reviewer" else self._coder.write
        return work(self._models[invocation.effort], invocation, call)
