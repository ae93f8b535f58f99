"""Workflows and their problems as messages."""

from services.agent.workflows.catalogue import Unusable, Workflow
from services.agent.workflows.marks import Problem
from shared.pb import agent_v1


def workflow_to_proto(workflow: Workflow | Unusable) -> agent_v1.Workflow:
    """The message for a workflow, or for what cannot be used as one."""
    message = agent_v1.Workflow(
        name=workflow.name, document=workflow.text, origin=workflow.origin, file_name=workflow.file_name
    )
    if isinstance(workflow, Unusable):
        message.problems.extend(problem_to_proto(problem) for problem in workflow.problems)
        return message
    message.description = workflow.description
    message.diagram = workflow.diagram
    message.max_hops = workflow.max_hops
    message.max_cycles = workflow.max_cycles
    message.graph_digest = workflow.shape.digest
    return message


def problem_to_proto(problem: Problem) -> agent_v1.WorkflowProblem:
    """The message for a problem."""
    return agent_v1.WorkflowProblem(
        line=problem.line, column=problem.column, path=problem.path, message=problem.message
    )
