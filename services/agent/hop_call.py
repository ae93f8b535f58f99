"""One hop: the call to a capability service, as it is told and kept."""

import asyncio
import dataclasses
import time
from contextlib import aclosing
from datetime import timedelta
from typing import Any

from opentelemetry import trace
from opentelemetry.util.types import AttributeValue

from services.agent.mailbox.delivery import Delivery, Recipient
from services.agent.mailbox.limits import MAX_SENT
from services.agent.ports import HopTask, Moved, Ports
from services.agent.run_error import error_to_proto
from services.agent.spans import run_span
from services.agent.state import Hop, RunContext
from shared.capability import (
    Artifact,
    Citation,
    OutgoingMessage,
    Output,
    Result,
    TextDelta,
    ToolCall,
    ToolResult,
    Usage,
)
from shared.capability.wire import output_to_proto
from shared.errors import ApprovalRequired, IdempotencyMismatch, InDoubt, PeerProtocol, WaystationError
from shared.pb import agent_v1, common_v1
from shared.telemetry import attributes
from shared.telemetry.content import record_hop

MAX_APPROVED = 16
"""Tool calls of one hop that somebody is asked about."""


class HopCall:
    """Makes one call, tells what happens, and keeps what it came to."""

    def __init__(self, ports: Ports, run_context: RunContext, capability: str, task: HopTask) -> None:
        self._ports, self._run_context, self._capability = ports, run_context, capability
        self._task = dataclasses.replace(task, guarded_tools=ports.approvals.tools)
        self._texts: list[str] = []
        self._result: Result | None = None
        self._artifacts: list[Artifact] = []
        self._citations: list[Citation] = []
        self._outgoing: list[OutgoingMessage] = []
        self._mail_position = 0
        self._usage = common_v1.Usage()

    def give_up(self, error: WaystationError) -> Hop:
        """A hop that is not done, or that nobody will know the outcome of."""
        self._emit_end(hop := self._finish(error), error, 0.0)
        return hop

    async def run(self) -> Hop:
        """Call, and return the hop; one that fails is a hop too.

        Raises `InDoubt` when the effect may have happened and nobody knows, `IdempotencyMismatch` when an earlier
        attempt under the same key asked for something else, and `ApprovalRequired` when the service wants to call a
        tool that somebody must approve.
        """
        started, error = time.perf_counter(), None
        with run_span(attributes.SPAN_HOP, self._run_context, self._told(), trace.SpanKind.CLIENT) as span:
            await self._begin()
            try:
                await self._call()
            except (InDoubt, IdempotencyMismatch) as doubt:
                span.set_attribute(attributes.ERROR_REASON, doubt.reason)
                raise
            except WaystationError as failure:
                if isinstance(failure, ApprovalRequired) and self._can_be_approved(failure):
                    raise
                error = failure
                span.set_attribute(attributes.ERROR_REASON, failure.reason)
                span.set_status(trace.StatusCode.ERROR, failure.message)
            await self._send(error)
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

    def _can_be_approved(self, wanted: ApprovalRequired) -> bool:
        """Whether an approval can help: it is for a tool that we guard, and for a call that has none yet."""
        approved = self._task.approved_tool_calls
        is_new = bool(digest := wanted.metadata.get("digest")) and digest not in approved
        return is_new and wanted.metadata.get("tool") in self._task.guarded_tools and len(approved) < MAX_APPROVED

    def _told(self) -> dict[str, AttributeValue]:
        """The hop is its call's client span, too: one span has less to go wrong than two."""
        return {
            attributes.CAPABILITY: self._capability,
            attributes.HOP_COUNT: self._task.hop_index + 1,
            attributes.HOP_REMAINING: self._task.remaining_hops,
            attributes.CYCLE_CURRENT: self._task.current_cycle,
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
        # where an earlier attempt of the call may have gone, there is the record of it
        begun_at = self._run_context.open_addresses.get(self._task.hop_index) if self._task.may_have_run else None
        # submitted together, they share a commit
        delivering = self._ports.mail.deliver(self._as_recipient, self._task.earlier)
        await self._place(begun_at or self._ports.directory.address_of(self._capability))
        self._take_mail(await asyncio.wrap_future(delivering))

    async def _place(self, address: str) -> None:
        """Store where the call goes, which a hop may tell more than once before its call is sent."""
        self._task = dataclasses.replace(self._task, address=address)
        started = agent_v1.HopStarted(
            hop_index=self._task.hop_index,
            capability=self._capability,
            role=self._role,
            task=self._task.text,
            address=address,
            idempotency_key=self._task.idempotency_key,
        )
        await asyncio.wrap_future(self._ports.events.emit(self._run_context.run_id, started))

    def _take_mail(self, delivery: Delivery) -> None:
        self._mail_position = delivery.position
        self._task = dataclasses.replace(self._task, inbox=tuple(delivery.messages))
        if delivery.messages:
            told: dict[str, AttributeValue] = {
                attributes.RECIPIENT_ROLE: self._role,
                attributes.MESSAGE_COUNT: len(delivery.messages),
            }
            with run_span(attributes.SPAN_A2A_DELIVER, self._run_context, told):
                pass  # what takes time is the hop

    async def _send(self, error: WaystationError | None) -> None:
        """Store what it has sent, before the checkpoint that makes it count."""
        failure = f"the hop that sent it failed: {error.reason}" if error else ""
        await self._ports.mail.keep_sent(self._as_recipient, self._run_context, self._outgoing, failure)

    @property
    def _as_recipient(self) -> Recipient:
        return Recipient(self._run_context.run_id, self._role, self._task.hop_index, self._task.idempotency_key)

    async def _call(self) -> None:
        outputs: Any = self._ports.capabilities.invoke(self._capability, self._task, self._run_context)
        async with aclosing(outputs):
            async for output in outputs:
                if isinstance(output, Moved):
                    await self._place(output.address)
                else:
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
                if output.name in self._task.guarded_tools and not self._task.approved_tool_calls:
                    raise PeerProtocol(f"{self._capability} called {output.name}, which nobody approved.")
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
            case OutgoingMessage():
                self._outgoing.append(output)
                if len(self._outgoing) > MAX_SENT:
                    raise PeerProtocol(f"{self._capability} sent more than {MAX_SENT} messages.", limit=MAX_SENT)
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
            index=self._task.hop_index,
            step=self._task.step,
            role=self._role,
            capability=self._capability,
            text=text or ("" if error else "".join(self._texts)),
            outcome="failed" if error or not self._result else self._result.outcome,
            error=error.reason if error else "",
            message=str(error) if error else "",
            artifacts=[dataclasses.asdict(artifact) for artifact in self._artifacts],
            citations=[dataclasses.asdict(citation) for citation in self._citations],
            mail_position=0 if error else self._mail_position,
        )

    @property
    def _role(self) -> str:
        return self._task.role or self._capability

    @property
    def _is_replayed(self) -> bool:
        return self._result is not None and self._result.is_replayed

    def _emit_end(self, hop: Hop, error: WaystationError | None, seconds: float) -> None:
        ended = agent_v1.HopEnded(
            hop_index=self._task.hop_index,
            capability=self._capability,
            role=self._role,
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
