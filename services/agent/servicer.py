"""`waystation.agent.v1.AgentService`: proto in, domain call, proto out."""

import base64
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from opentelemetry import trace

from services.agent.graph import AUTO
from services.agent.mailbox.mailbox import Mailbox
from services.agent.nodes.recommend_route import recommendation_to_proto
from services.agent.ports import Router
from services.agent.run_request import RunRequest, check_request
from services.agent.run_store import RunFilter
from services.agent.runs import Runs
from services.agent.state import remaining_hops
from services.agent.workflows.catalogue import Unusable, Workflow
from services.agent.workflows.messages import problem_to_proto, workflow_to_proto
from shared.call_context import CallContext, current_call
from shared.capability.wire import effort_name, json_value
from shared.errors import InvalidInput
from shared.pb import agent_v1
from shared.rpc.interceptors.correlation import correlation_id_from
from shared.telemetry import attributes

DEFAULT_PAGE = 50
MAX_PAGE = 500

_Context = grpc.aio.ServicerContext[Any, Any]


class AgentServicer(agent_v1.AgentServiceServicer):
    """Runs over gRPC."""

    def __init__(self, runs: Runs, router: Router, mailbox: Mailbox) -> None:
        self._runs, self._router, self._mailbox = runs, router, mailbox

    async def StartRun(self, request: agent_v1.StartRunRequest, context: _Context) -> agent_v1.StartRunResponse:
        """See the contract."""
        wanted = RunRequest(
            query=request.query,
            workflow=request.workflow or AUTO,
            thread_id=request.thread_id,
            effort=effort_name(request.effort) if request.effort else None,
            tenant=request.tenant or "default",
            request_id=request.request_id,
            run_timeout_s=(
                request.run_timeout.ToTimedelta().total_seconds() if request.HasField("run_timeout") else None
            ),
        )
        call_context = current_call() or CallContext()
        correlation_id = (
            correlation_id_from(request.correlation_id) if request.correlation_id else call_context.correlation_id
        )
        # a field of the request wins over the header, which the span has had so far
        trace.get_current_span().set_attribute(attributes.CORRELATION_ID, correlation_id)
        run, is_replayed = await self._runs.start(wanted, correlation_id)
        return agent_v1.StartRunResponse(run=run, is_replayed=is_replayed)

    async def WatchRun(
        self, request: agent_v1.WatchRunRequest, context: _Context
    ) -> AsyncIterator[agent_v1.WatchRunResponse]:
        """See the contract."""
        if request.after_sequence < 0:
            raise InvalidInput("after_sequence is below 0.", field="after_sequence")
        events: Any = self._runs.watch(request.run_id, request.after_sequence)
        async with aclosing(events):
            async for event in events:
                yield agent_v1.WatchRunResponse(event=event)

    async def GetRun(self, request: agent_v1.GetRunRequest, context: _Context) -> agent_v1.GetRunResponse:
        """See the contract."""
        return agent_v1.GetRunResponse(run=await self._runs.get(request.run_id))

    async def ListRuns(self, request: agent_v1.ListRunsRequest, context: _Context) -> agent_v1.ListRunsResponse:
        """See the contract."""
        size = page_size(request.page_size)
        wanted = RunFilter(
            states=tuple(request.states),
            thread_id=request.thread_id,
            workflow=request.workflow,
            tenant=request.tenant,
            text=request.text,
            before=_read_token(request.page_token),
        )
        runs, end = await self._runs.page(wanted, size)
        return agent_v1.ListRunsResponse(runs=runs, next_page_token=_write_token(end) if end else "")

    async def CancelRun(self, request: agent_v1.CancelRunRequest, context: _Context) -> agent_v1.CancelRunResponse:
        """See the contract."""
        return agent_v1.CancelRunResponse(run=await self._runs.cancel(request.run_id, request.message))

    async def ResumeRun(self, request: agent_v1.ResumeRunRequest, context: _Context) -> agent_v1.ResumeRunResponse:
        """See the contract."""
        return agent_v1.ResumeRunResponse(run=await self._runs.resume(request.run_id))

    async def PauseRun(self, request: agent_v1.PauseRunRequest, context: _Context) -> agent_v1.PauseRunResponse:
        """See the contract."""
        return agent_v1.PauseRunResponse(run=await self._runs.pause(request.run_id))

    async def AnswerQuestion(
        self, request: agent_v1.AnswerQuestionRequest, context: _Context
    ) -> agent_v1.AnswerQuestionResponse:
        """See the contract."""
        answer = json_value(request.answer)
        run = await self._runs.answer(request.run_id, request.question_id, answer, request.request_id)
        return agent_v1.AnswerQuestionResponse(run=run)

    async def ForkRun(self, request: agent_v1.ForkRunRequest, context: _Context) -> agent_v1.ForkRunResponse:
        """See the contract."""
        call_context = current_call() or CallContext()
        run = await self._runs.fork(
            request.run_id,
            request.checkpoint_id,
            json_value(request.updates),
            request.request_id,
            call_context.correlation_id,
        )
        return agent_v1.ForkRunResponse(run=run)

    async def UpdateState(
        self, request: agent_v1.UpdateStateRequest, context: _Context
    ) -> agent_v1.UpdateStateResponse:
        """See the contract."""
        updates = json_value(request.updates)
        snapshot = await self._runs.update_state(request.run_id, updates, request.checkpoint_id)
        return agent_v1.UpdateStateResponse(checkpoint=_checkpoint(snapshot, request.run_id, has_state=True))

    async def PruneRuns(self, request: agent_v1.PruneRunsRequest, context: _Context) -> agent_v1.PruneRunsResponse:
        """See the contract."""
        older_than_s = request.older_than.ToTimedelta().total_seconds()
        pruned = await self._runs.prune(older_than_s, request.keep, request.is_dry_run)
        return agent_v1.PruneRunsResponse(deleted_runs=pruned.runs, freed_bytes=pruned.freed_bytes)

    async def ListCheckpoints(
        self, request: agent_v1.ListCheckpointsRequest, context: _Context
    ) -> agent_v1.ListCheckpointsResponse:
        """See the contract."""
        checkpoints: list[agent_v1.Checkpoint] = []
        size, token = page_size(request.page_size), ""
        is_due = not request.page_token
        async for snapshot, size_bytes in self._runs.checkpoints(request.run_id):
            checkpoint = _checkpoint(snapshot, request.run_id, request.has_state)
            checkpoint.size_bytes = size_bytes
            if is_due and len(checkpoints) == size:
                token = checkpoints[-1].checkpoint_id
                break
            if is_due:
                checkpoints.append(checkpoint)
            is_due = is_due or checkpoint.checkpoint_id == request.page_token
        return agent_v1.ListCheckpointsResponse(checkpoints=checkpoints, next_page_token=token)

    async def GetThread(self, request: agent_v1.GetThreadRequest, context: _Context) -> agent_v1.GetThreadResponse:
        """See the contract."""
        return agent_v1.GetThreadResponse(thread=await self._runs.thread(request.thread_id))

    async def SendMessage(
        self, request: agent_v1.SendMessageRequest, context: _Context
    ) -> agent_v1.SendMessageResponse:
        """See the contract."""
        call_context = current_call() or CallContext()
        message = await self._mailbox.send(request.run_id, request.message, call_context.correlation_id)
        return agent_v1.SendMessageResponse(message=message)

    async def ListMessages(
        self, request: agent_v1.ListMessagesRequest, context: _Context
    ) -> agent_v1.ListMessagesResponse:
        """See the contract."""
        if request.page_token and not request.page_token.isdecimal():
            raise InvalidInput("page_token is none of ours.", field="page_token")
        after = int(request.page_token or 0)
        messages, end = await self._mailbox.page(request.run_id, after, page_size(request.page_size))
        return agent_v1.ListMessagesResponse(messages=messages, next_page_token=str(end) if end else "")

    async def RecommendRoute(
        self, request: agent_v1.RecommendRouteRequest, context: _Context
    ) -> agent_v1.RecommendRouteResponse:
        """See the contract."""
        check_request(RunRequest(query=request.query))
        recommendation = await self._router.recommend(request.query, request.tags)
        return agent_v1.RecommendRouteResponse(recommendation=recommendation_to_proto(recommendation))

    async def ListWorkflows(
        self, request: agent_v1.ListWorkflowsRequest, context: _Context
    ) -> agent_v1.ListWorkflowsResponse:
        """See the contract."""
        size, catalogue = page_size(request.page_size), self._runs.catalogue
        items: list[Workflow | Unusable] = [*catalogue.workflows.values(), *catalogue.unusable]
        if request.page_token and not request.page_token.isdecimal():
            raise InvalidInput("page_token is none of ours.", field="page_token")
        begin = int(request.page_token or 0)
        return agent_v1.ListWorkflowsResponse(
            workflows=[workflow_to_proto(item) for item in items[begin : begin + size]],
            next_page_token=str(begin + size) if len(items) > begin + size else "",
        )

    async def GetWorkflow(
        self, request: agent_v1.GetWorkflowRequest, context: _Context
    ) -> agent_v1.GetWorkflowResponse:
        """See the contract."""
        workflow = self._runs.catalogue.find(request.name)
        return agent_v1.GetWorkflowResponse(workflow=workflow_to_proto(workflow))

    async def CheckWorkflow(
        self, request: agent_v1.CheckWorkflowRequest, context: _Context
    ) -> agent_v1.CheckWorkflowResponse:
        """See the contract."""
        found = self._runs.catalogue.check(request.document, request.file_name)
        if isinstance(found, Unusable):
            problems = [problem_to_proto(problem) for problem in found.problems]
            return agent_v1.CheckWorkflowResponse(problems=problems)
        return agent_v1.CheckWorkflowResponse(workflow=workflow_to_proto(found))


def page_size(wanted: int) -> int:
    """The size of a page. Raises `InvalidInput` when it is out of range."""
    if not 0 <= wanted <= MAX_PAGE:
        raise InvalidInput(f"page_size is {wanted}; 0 to {MAX_PAGE} are possible.", field="page_size", limit=MAX_PAGE)
    return wanted or DEFAULT_PAGE


def _write_token(end: tuple[int, str]) -> str:
    return base64.urlsafe_b64encode(f"{end[0]} {end[1]}".encode()).decode()


def _read_token(token: str) -> tuple[int, str] | None:
    if not token:
        return None
    try:
        create_ns, run_id = base64.urlsafe_b64decode(token.encode()).decode().split(" ")
        return int(create_ns), run_id
    except ValueError:
        raise InvalidInput("page_token is none of ours.", field="page_token") from None


def _checkpoint(snapshot: Any, run_id: str, has_state: bool) -> agent_v1.Checkpoint:
    parent = (snapshot.parent_config or {}).get("configurable", {})
    created = Timestamp()
    created.FromJsonString(snapshot.created_at)
    checkpoint = agent_v1.Checkpoint(
        checkpoint_id=snapshot.config["configurable"]["checkpoint_id"],
        parent_checkpoint_id=parent.get("checkpoint_id", ""),
        thread_id=snapshot.config["configurable"]["thread_id"],
        run_id=run_id,
        step=(snapshot.metadata or {}).get("step", 0),
        create_time=created,
        next_nodes=snapshot.next,
    )
    if has_state:
        values = snapshot.values
        checkpoint.state.update(values)
        if "max_hops" in values:  # not yet in the checkpoint of the input
            checkpoint.state["remaining_hops"] = remaining_hops(values)
    return checkpoint
