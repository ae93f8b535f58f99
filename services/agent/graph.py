"""What a workflow's graph is built with, whoever defines it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import CompiledStateGraph

from services.agent.arbitrator import Thresholds
from services.agent.ports import Ports
from services.agent.state import RunContext, RunState
from services.agent.step import StepBoundary

AUTO = "auto"
"""The workflow of a run that names none."""

Graph = CompiledStateGraph[RunState, RunContext, RunState, RunState]


@dataclass(frozen=True)
class Limits:
    """The bounds of the steps."""

    thresholds: Thresholds
    arbitrate_timeout_s: float
    hop_timeout_s: float
    respond_timeout_s: float
    context_budget_tokens: int = 600
    """Of a thread's conversation, what the next run is told."""


@dataclass(frozen=True)
class Kit:
    """Everything that a graph is built with."""

    ports: Ports
    limits: Limits
    saver: BaseCheckpointSaver[Any]
    boundaries: Sequence[StepBoundary] = ()
