"""A workflow document: what may stand in it, field by field."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from shared.capability.service import Effort

RESPOND = "respond"
"""The step that answers; every workflow has it, and ends with it."""
SETTLE_DOUBT = "settle_doubt"
"""The step that asks about an effect in doubt; every workflow has it."""
RESERVED = (RESPOND, SETTLE_DOUBT)
MAX_STEPS = 50
MAX_EDGES = 10
MAX_HOPS = 20
MAX_CYCLES = 10

StepName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
WorkflowName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
Capability = Annotated[str, StringConstraints(pattern=r"^([a-z0-9-]{1,63})?$")]
Role = Annotated[str, StringConstraints(pattern=r"^([a-z][a-z0-9-]{0,39})?$")]
Timeout = Annotated[float, Field(gt=0, le=86_400)]
Targets = StepName | Annotated[list[StepName], Field(min_length=2, max_length=MAX_EDGES)]
"""One step, or several that run at once."""
Kind = Literal["recommend", "decide", "ask", "call", "judge"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Edge(_Part):
    """Where to go when a condition holds."""

    when: str = "always"
    to: Targets


class Step(_Part):
    """One step."""

    name: StepName
    kind: Kind = "call"
    capability: Capability = ""
    """Whom a call goes to; empty for what a decision names."""
    role: Role = ""
    effort: Effort | None = None
    timeout_s: Timeout | None = None
    then: Targets | Annotated[list[Edge], Field(min_length=1, max_length=MAX_EDGES)] = RESPOND

    @property
    def edges(self) -> tuple[Edge, ...]:
        """Its ways on, in the order in which they are tried."""
        if isinstance(self.then, list) and isinstance(self.then[0], Edge):
            return tuple(edge for edge in self.then if isinstance(edge, Edge))
        return (Edge.model_construct(when="always", to=self.then),)


class Loop(_Part):
    """The bounded loop: each time its step begins is a cycle."""

    step: StepName
    max_cycles: Annotated[int, Field(ge=1, le=MAX_CYCLES)]


class WorkflowDocument(_Part):
    """A workflow."""

    name: WorkflowName
    description: Annotated[str, StringConstraints(max_length=500)] = ""
    max_hops: Annotated[int, Field(ge=1, le=MAX_HOPS)]
    loop: Loop | None = None
    effort: Effort | None = None
    timeout_s: Timeout | None = None
    start: Targets | None = None
    """Where it begins; the first step unless it is named."""
    answer_from: list[StepName] = []
    """Steps whose newest result is the answer, the first that has one; without any the results are put together."""
    steps: Annotated[list[Step], Field(min_length=1, max_length=MAX_STEPS)]

    @property
    def max_cycles(self) -> int:
        """How often the loop may turn; 0 without one."""
        return self.loop.max_cycles if self.loop else 0

    @property
    def entry(self) -> tuple[str, ...]:
        """The first step or steps."""
        return targets(self.start) if self.start else (self.steps[0].name,)


def targets(to: Targets) -> tuple[str, ...]:
    """Where an edge leads, as a sequence."""
    return (to,) if isinstance(to, str) else tuple(to)
