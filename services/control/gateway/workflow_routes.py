"""Workflows over HTTP: what there is to choose from, and whether a document of one's own is good."""

from fastapi import APIRouter
from pydantic import Field

from services.control.gateway.agent_peer import ACT_TIMEOUT_S, AgentPeer
from services.control.gateway.failures import FAILURES
from services.control.gateway.parameters import Id, PageSize, PageToken
from services.control.gateway.view import ContractView, RequestBody, View
from shared.pb import agent_v1


class WorkflowProblemView(ContractView):
    """What is wrong with a workflow document."""

    contract = agent_v1.WorkflowProblem
    line: int
    """From 1; 0 when the problem has no place."""
    column: int
    path: str
    """Dotted path in the document, such as `steps.review.max_cycles`."""
    message: str


class WorkflowView(ContractView):
    """A workflow that a run can use."""

    contract = agent_v1.Workflow
    name: str
    description: str
    document: str
    """The document it was compiled from; empty for a graph defined in Python."""
    diagram: str
    """The graph as Mermaid text."""
    max_hops: int
    max_cycles: int
    """0 when the workflow has no loop."""
    graph_digest: str
    origin: str
    """`shipped`, `user` or `python`."""
    problems: list[WorkflowProblemView]
    """Why it cannot be used; empty when it can."""
    file_name: str
    """Where its document is; empty for a graph defined in Python."""


class WorkflowList(View):
    """Workflows."""

    workflows: list[WorkflowView]
    next_page_token: str


class WorkflowDocument(RequestBody):
    """A workflow document to check."""

    document: str = Field(max_length=200_000)
    file_name: Id = ""
    """For messages, and to tell YAML from TOML."""


class WorkflowCheck(View):
    """Whether a workflow document is good."""

    problems: list[WorkflowProblemView]
    """Empty when it is."""
    workflow: WorkflowView | None
    """What the document describes, when it is good."""


def workflow_routes(agent: AgentPeer) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/workflows", responses=FAILURES, tags=["workflows"])

    @router.get("")
    async def list_workflows(page_size: PageSize = 0, page_token: PageToken = "") -> WorkflowList:
        """The workflows that a run can use."""
        request = agent_v1.ListWorkflowsRequest(page_size=page_size, page_token=page_token)
        async with agent.runs() as stub:
            found = await stub.ListWorkflows(request, timeout=ACT_TIMEOUT_S)
        workflows = [WorkflowView.of(each) for each in found.workflows]
        return WorkflowList(workflows=workflows, next_page_token=found.next_page_token)

    @router.get("/{name}")
    async def get_workflow(name: str) -> WorkflowView:
        """One workflow with its document and diagram."""
        async with agent.runs() as stub:
            found = await stub.GetWorkflow(agent_v1.GetWorkflowRequest(name=name), timeout=ACT_TIMEOUT_S)
        return WorkflowView.of(found.workflow)

    @router.post("/check")
    async def check_workflow(body: WorkflowDocument) -> WorkflowCheck:
        """Check a workflow document without storing it."""
        request = agent_v1.CheckWorkflowRequest(document=body.document, file_name=body.file_name)
        async with agent.runs() as stub:
            found = await stub.CheckWorkflow(request, timeout=ACT_TIMEOUT_S)
        problems = [WorkflowProblemView.of(each) for each in found.problems]
        workflow = WorkflowView.of(found.workflow) if found.HasField("workflow") else None
        return WorkflowCheck(problems=problems, workflow=workflow)

    return router
