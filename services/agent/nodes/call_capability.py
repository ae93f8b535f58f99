"""The step that does a hop: one call to a capability service."""

import asyncio
import dataclasses
import time
from contextlib import aclosing
from datetime import timedelta
from typing import Any, cast

from langgraph.runtime import Runtime
from langgraph.types import interrupt
from opentelemetry import trace
from opentelemetry.util.types import AttributeValue

from services.agent.ports import HopTask, Node, Ports
from services.agent.spans import run_span
from services.agent.state import Hop, RunContext, RunState
from shared.call_context import current_call
from shared.capability import Artifact, Citation, Output, Result, TextDelta, ToolCall, ToolResult, Usage
from shared.capability.wire import output_to_proto
from shared.errors import InDoubt, PeerProtocol, WaystationError
from shared.pb import agent_v1, common_v1
from shared.telemetry import attributes
from shared.telemetry.content import record_hop

REPEAT = "repeat"
SKIP = "skip"
"""The answers to the question what to do about an effect in doubt."""


def call_capability(ports: Ports, timeout_s: float) -> Node:
    """Build the node: it appends to `hops` and takes one from `remaining_hops`.

    A call that fails is a hop that failed. One that may have had its effect, and nobody knows, becomes a question.
    """

    async def node(state: RunState, runtime: Runtime[RunContext]) -> RunState:
        run_context, index = runtime.context, len(state["hops"])
        capability = state["decision"]["capability"]
        call_context = current_call()
        keys = call_context.effect_keys if call_context else None
        task = HopTask(
            text=state["query"],
            effort=state["effort"],
            idempotency_key=keys.next("hop") if keys else "",
            hop_index=index,
            remaining_hops=state["remaining_hops"] - 1,
            timeout_s=timeout_s,
            context=_context(state),
            may_have_run=run_context.attempt > 1,
        )
        try:
            hop = await _Hop(ports, run_context, capability, task).run()
        except InDoubt as doubt:
            decided = interrupt(_question(capability, doubt))  # the step ends here until there is an answer
            again = dataclasses.replace(task, repeats_in_doubt=True)
            attempt = _Hop(ports, run_context, capability, again)
            hop = await attempt.run() if decided == REPEAT else attempt.give_up(doubt)
        return RunState(hops=[*state["hops"], hop], remaining_hops=state["remaining_hops"] - 1)

    return node


def _question(capability: str, doubt: InDoubt) -> dict[str, object]:
    return {
        "text": f"{doubt.message} Do it again, which may do it twice, or go on without it?",
        "asked_by": "in_doubt",
        "response_schema": {"enum": [REPEAT, SKIP]},
        "capability": capability,
    }


class _Hop:
    """One hop: calls, tells what happens, and keeps what it came to."""

    def __init__(self, ports: Ports, run_context: RunContext, capability: str, task: HopTask) -> None:
        self._ports, self._run_context, self._capability, self._task = ports, run_context, capability, task
        self._texts: list[str] = []
        self._result: Result | None = None
        self._artifacts: list[Artifact] = []
        self._citations: list[Citation] = []
        self._usage = common_v1.Usage()

    def give_up(self, doubt: InDoubt) -> Hop:
        """A hop that nobody will know the outcome of."""
        self._emit_end(hop := self._finish(doubt), doubt, 0.0)
        return hop

    async def run(self) -> Hop:
        started, error = time.perf_counter(), None
        with run_span(attributes.SPAN_HOP, self._run_context, self._told(), trace.SpanKind.CLIENT) as span:
            await self._begin()
            try:
                await self._call()
            except InDoubt as doubt:
                span.set_attribute(attributes.ERROR_REASON, doubt.reason)
                raise
            except WaystationError as failure:
                error = failure
                span.set_attribute(attributes.ERROR_REASON, failure.reason)
                span.set_status(trace.StatusCode.ERROR, failure.message)
            hop = self._finish(error)
            record_hop(span, self._task.text, hop["text"] or hop["message"])
            span.set_attributes(
                {
                    attributes.OUTCOME: hop["outcome"],
                    attributes.REPLAYED: self._is_replayed,
                    attributes.INPUT_TOKENS: self._usage.input_tokens,
                    attributes.OUTPUT_TOKENS: self._usage.output_tokens,
                }
            )
        self._emit_end(hop, error, time.perf_counter() - started)
        return hop

    def _told(self) -> dict[str, AttributeValue]:
        """The hop is its call's client span, too: one span has less to go wrong than two."""
        return {
            attributes.CAPABILITY: self._capability,
            attributes.HOP_COUNT: self._task.hop_index + 1,
            attributes.HOP_REMAINING: self._task.remaining_hops,
            attributes.OPERATION: attributes.INVOKE_AGENT,
            attributes.PROVIDER: attributes.OURS,
            attributes.AGENT_NAME: self._capability,
            attributes.CONVERSATION_ID: self._run_context.thread_id,
            attributes.RPC_SYSTEM: "grpc",
            attributes.RPC_SERVICE: "waystation.capability.v1.CapabilityService",
            attributes.RPC_METHOD: "Invoke",
        }

    async def _begin(self) -> None:
        """Store the hop's start, and with it its span's id, before anybody else gets to know that id.

        So the control plane can put the span back when this process dies before it has told of it.
        """
        started = agent_v1.HopStarted(
            hop_index=self._task.hop_index,
            capability=self._capability,
            task=self._task.text,
            address=self._ports.directory.address_of(self._capability),
            idempotency_key=self._task.idempotency_key,
        )
        await asyncio.wrap_future(self._ports.events.emit(self._run_context.run_id, started))

    async def _call(self) -> None:
        outputs: Any = self._ports.capabilities.invoke(self._capability, self._task, self._run_context)
        async with aclosing(outputs):
            async for output in outputs:
                self._take(output)
        if self._result is None:
            raise PeerProtocol(f"{self._capability} ended its answer without a result.", peer=self._capability)

    def _take(self, output: Output) -> None:
        index = self._task.hop_index
        match output:
            case TextDelta():
                self._texts.append(output.text)
                self._ports.events.emit_text(self._run_context.run_id, output.text, "hop", index)
            case ToolCall():
                call = output_to_proto(output).tool_call
                self._emit(
                    agent_v1.ToolCalled(
                        hop_index=index, tool_call_id=call.tool_call_id, name=call.name, arguments=call.arguments
                    )
                )
            case ToolResult():
                self._emit(
                    agent_v1.ToolReturned(
                        hop_index=index,
                        tool_call_id=output.id,
                        name=output.name,
                        content=output.content,
                        is_error=output.is_error,
                    )
                )
            case Artifact():
                self._artifacts.append(output)
                self._emit(agent_v1.ArtifactMade(hop_index=index, artifact=output_to_proto(output).artifact))
            case Citation():
                self._citations.append(output)
                self._emit(agent_v1.CitationFound(hop_index=index, citation=output_to_proto(output).citation))
            case Usage():
                self._usage.input_tokens += output.input_tokens
                self._usage.output_tokens += output.output_tokens
                self._usage.cached_tokens += output.cached_tokens
                self._usage.calls += output.calls
            case Result():
                self._result = output

    def _finish(self, error: WaystationError | None) -> Hop:
        text = self._result.text if self._result else ""
        return Hop(
            capability=self._capability,
            text=text or ("" if error else "".join(self._texts)),
            outcome="failed" if error or not self._result else self._result.outcome,
            error=error.reason if error else "",
            message=str(error) if error else "",
            artifacts=[dataclasses.asdict(artifact) for artifact in self._artifacts],
            citations=[dataclasses.asdict(citation) for citation in self._citations],
        )

    @property
    def _is_replayed(self) -> bool:
        return self._result is not None and self._result.is_replayed

    def _emit_end(self, hop: Hop, error: WaystationError | None, seconds: float) -> None:
        ended = agent_v1.HopEnded(
            hop_index=self._task.hop_index,
            capability=self._capability,
            outcome=hop["outcome"],
            usage=self._usage,
            is_replayed=self._is_replayed,
        )
        ended.duration.FromTimedelta(timedelta(seconds=seconds))
        if error:
            ended.error.CopyFrom(error_to_proto(error))
        self._emit(ended)

    def _emit(self, payload: Any) -> None:
        self._ports.events.emit(self._run_context.run_id, payload)


def error_to_proto(error: WaystationError) -> agent_v1.RunError:
    """The message for an error of a run or hop."""
    return agent_v1.RunError(
        reason=common_v1.ErrorReason.Value(f"ERROR_REASON_{error.reason}"),
        message=error.message,
        remedy=error.remedy,
        metadata=error.metadata,
    )


def _context(state: RunState) -> tuple[Artifact, ...]:
    """Earlier work of the run, and the last turns of the thread, as artifacts."""
    items = [Artifact(**cast(Any, artifact)) for hop in state["hops"] for artifact in hop["artifacts"]]
    for number, hop in enumerate(state["hops"]):
        if hop["text"]:
            items.append(Artifact(f"result-{number}", "result", hop["capability"], "text/plain", hop["text"]))
    return tuple(items)
