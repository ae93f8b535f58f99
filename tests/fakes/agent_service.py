"""A fake agent: a real servicer that remembers its requests, with dials for failing."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc

from shared.errors import NotFound, WaystationError
from shared.pb import agent_v1, common_v1
from shared.rpc.status import status_code, to_trailers

RUN_ID = "run-1"


def event(sequence: int, **payload: Any) -> agent_v1.RunEvent:
    """An event of the fake's run."""
    return agent_v1.RunEvent(run_id=RUN_ID, sequence=sequence, **payload)


def ended(sequence: int, **fields: Any) -> agent_v1.RunEvent:
    """The run's last event: it succeeded."""
    values = {"run_id": RUN_ID, "thread_id": "thread-1", "state": agent_v1.Run.STATE_SUCCEEDED, **fields}
    return event(sequence, state_changed=agent_v1.RunStateChanged(run=agent_v1.Run(**values)))


@dataclass
class FakeAgent(agent_v1.AgentServiceServicer):
    """Serves one run with the events it is given."""

    events: list[agent_v1.RunEvent] = field(default_factory=list)
    drop_after: list[int] = field(default_factory=list)
    """For each coming watch, after how many events the stream breaks."""
    close_after: int | None = None
    """After how many events the next watch is closed as if all were well."""
    failures: list[WaystationError] = field(default_factory=list)
    """What the coming calls other than watches raise."""
    requests: list[object] = field(default_factory=list)

    def StartRun(self, request: agent_v1.StartRunRequest, context: grpc.ServicerContext) -> agent_v1.StartRunResponse:
        self._enter(request, context)
        return agent_v1.StartRunResponse(run=agent_v1.Run(run_id=RUN_ID, thread_id="thread-1"))

    def GetRun(self, request: agent_v1.GetRunRequest, context: grpc.ServicerContext) -> agent_v1.GetRunResponse:
        self._enter(request, context)
        if request.run_id != RUN_ID:
            abort(context, NotFound(f"There is no run {request.run_id}.", remedy="`waystation runs list` lists them."))
        changes = [item.sequence for item in self.events if item.WhichOneof("payload") == "state_changed"]
        run = agent_v1.Run(run_id=RUN_ID, state=agent_v1.Run.STATE_RUNNING, last_sequence=max(changes, default=0))
        return agent_v1.GetRunResponse(run=run)

    def ListWorkflows(
        self, request: agent_v1.ListWorkflowsRequest, context: grpc.ServicerContext
    ) -> agent_v1.ListWorkflowsResponse:
        self._enter(request, context)
        if request.page_token:
            problem = agent_v1.WorkflowProblem(line=4, column=7, path="steps.a", message="No way leads to a.")
            bad = agent_v1.Workflow(name="bad", origin="user", file_name="bad.yaml", problems=[problem])
            return agent_v1.ListWorkflowsResponse(workflows=[bad])
        good = agent_v1.Workflow(name="review", origin="shipped", max_hops=5, max_cycles=2, description="[bold]Reviews")
        return agent_v1.ListWorkflowsResponse(workflows=[good], next_page_token="1")

    def GetWorkflow(
        self, request: agent_v1.GetWorkflowRequest, context: grpc.ServicerContext
    ) -> agent_v1.GetWorkflowResponse:
        self._enter(request, context)
        fields = {"document": "name: review\n", "diagram": "graph TD;\n", "file_name": "review.yaml"}
        shown = agent_v1.Workflow(name="review", origin="shipped", max_hops=5, max_cycles=2, **fields)
        return agent_v1.GetWorkflowResponse(workflow=shown)

    def CheckWorkflow(
        self, request: agent_v1.CheckWorkflowRequest, context: grpc.ServicerContext
    ) -> agent_v1.CheckWorkflowResponse:
        self._enter(request, context)
        if "bad" in request.document:
            problem = agent_v1.WorkflowProblem(line=4, column=7, path="steps.a", message="No way leads to a.")
            return agent_v1.CheckWorkflowResponse(problems=[problem])
        return agent_v1.CheckWorkflowResponse(workflow=agent_v1.Workflow(name="good"))

    def ListRuns(self, request: agent_v1.ListRunsRequest, context: grpc.ServicerContext) -> agent_v1.ListRunsResponse:
        self._enter(request, context)
        runs = [agent_v1.Run(run_id=RUN_ID, query="why?", state=agent_v1.Run.STATE_SUCCEEDED)]
        return agent_v1.ListRunsResponse(runs=runs)

    def PruneRuns(
        self, request: agent_v1.PruneRunsRequest, context: grpc.ServicerContext
    ) -> agent_v1.PruneRunsResponse:
        self._enter(request, context)
        return agent_v1.PruneRunsResponse(deleted_runs=3, freed_bytes=0 if request.is_dry_run else 2_500_000)

    def ForkRun(self, request: agent_v1.ForkRunRequest, context: grpc.ServicerContext) -> agent_v1.ForkRunResponse:
        self._enter(request, context)
        return agent_v1.ForkRunResponse(run=agent_v1.Run(run_id="run-2", state=agent_v1.Run.STATE_PENDING))

    def UpdateState(
        self, request: agent_v1.UpdateStateRequest, context: grpc.ServicerContext
    ) -> agent_v1.UpdateStateResponse:
        self._enter(request, context)
        return agent_v1.UpdateStateResponse(checkpoint=agent_v1.Checkpoint(checkpoint_id="c2", run_id=RUN_ID))

    def SendMessage(
        self, request: agent_v1.SendMessageRequest, context: grpc.ServicerContext
    ) -> agent_v1.SendMessageResponse:
        self._enter(request, context)
        return agent_v1.SendMessageResponse(message=request.message)

    def ListMessages(
        self, request: agent_v1.ListMessagesRequest, context: grpc.ServicerContext
    ) -> agent_v1.ListMessagesResponse:
        self._enter(request, context)
        message = common_v1.A2aMessage(
            message_id="m-1", sender_role="reviewer", recipient_role="coder", sequence=1, hop_index=2, state=4
        )
        message.dead_letter_reason = "expired"
        message.payload.update({"line": 3})
        return agent_v1.ListMessagesResponse(messages=[message])

    def ListCheckpoints(
        self, request: agent_v1.ListCheckpointsRequest, context: grpc.ServicerContext
    ) -> agent_v1.ListCheckpointsResponse:
        self._enter(request, context)
        checkpoint = agent_v1.Checkpoint(checkpoint_id="c1", run_id=RUN_ID, step=2, next_nodes=["respond"])
        if request.has_state:
            checkpoint.state.update({"query": "why?"})
        return agent_v1.ListCheckpointsResponse(checkpoints=[checkpoint])

    def WatchRun(
        self, request: agent_v1.WatchRunRequest, context: grpc.ServicerContext
    ) -> Iterator[agent_v1.WatchRunResponse]:
        self.requests.append(request)
        left = self.drop_after.pop(0) if self.drop_after else None
        closed, self.close_after = self.close_after, None
        sent = 0
        for item in self.events:
            if item.sequence <= request.after_sequence:
                continue
            if sent == left:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the connection was lost")
            if sent == closed:
                return
            sent += 1
            yield agent_v1.WatchRunResponse(event=item)

    def GetThread(
        self, request: agent_v1.GetThreadRequest, context: grpc.ServicerContext
    ) -> agent_v1.GetThreadResponse:
        self._enter(request, context)
        turn = agent_v1.Thread.Turn
        turns = [
            turn(run_id="run-1", query="one", summary="one -> 1", treatment=agent_v1.Thread.TREATMENT_SUMMARIZED),
            turn(run_id="run-2", query="two", answer="[bold]2", treatment=agent_v1.Thread.TREATMENT_KEPT),
        ]
        return agent_v1.GetThreadResponse(
            thread=agent_v1.Thread(thread_id=request.thread_id, context_budget_tokens=600, turns=turns)
        )

    def RecommendRoute(
        self, request: agent_v1.RecommendRouteRequest, context: grpc.ServicerContext
    ) -> agent_v1.RecommendRouteResponse:
        self._enter(request, context)
        recommendation = agent_v1.Recommendation(router="embedding")
        recommendation.latency.FromMicroseconds(4_500)
        if "hi" not in request.query:
            recommendation.top = "rag"
            recommendation.candidates.add(service="rag", confidence=0.9, matched_tags=["docs"])
        return agent_v1.RecommendRouteResponse(recommendation=recommendation)

    def _enter(self, request: object, context: grpc.ServicerContext) -> None:
        self.requests.append(request)
        if self.failures:
            abort(context, self.failures.pop(0))


def abort(context: grpc.ServicerContext, error: WaystationError) -> NoReturn:
    """End the call with the error as our servers send it."""
    context.set_trailing_metadata(to_trailers(error))
    context.abort(status_code(error), error.message)
    raise AssertionError("abort raises")


@contextmanager
def serving(add: object, servicer: object) -> Iterator[str]:
    """Serve on a free port, in threads of its own; gives host:port."""
    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    add(servicer, server)  # type: ignore[operator]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
