"""All workflows of this agent: shipped ones, the user's documents, and graphs defined in Python."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from langgraph.graph import StateGraph

from services.agent.graph import AUTO, Graph, Kit
from services.agent.graph_shape import GraphShape, shape_of
from services.agent.state import RunContext, RunState
from services.agent.workflows.checks import check
from services.agent.workflows.compile import compile_workflow, recursion_limit
from services.agent.workflows.document import WorkflowDocument
from services.agent.workflows.marks import MAX_BYTES, Problem
from shared.capability.service import Effort
from shared.errors import NotFound, UnknownWorkflow

logger = logging.getLogger(__name__)

ENTRY_POINTS = "waystation.workflows"
"""The group under which an installed package names its `PythonWorkflow` objects."""
SUFFIXES = (".yaml", ".yml", ".toml")
MAX_FILES = 200


@dataclass(frozen=True)
class PythonWorkflow:
    """A graph defined in Python, of steps made by `services.agent.step.step`; see docs/workflows.md."""

    name: str
    description: str
    max_hops: int
    build: Callable[[Kit], StateGraph[RunState, RunContext, RunState, RunState]]
    max_cycles: int = 0


@dataclass(frozen=True)
class Workflow:
    """A workflow that runs can be made of."""

    name: str
    description: str
    origin: str
    graph: Graph
    shape: GraphShape
    max_hops: int
    max_cycles: int = 0
    effort: Effort | None = None
    timeout_s: float | None = None
    calls: tuple[str, ...] = ()
    """Its steps that call a service."""
    roles: tuple[str, ...] = ()
    """What they act as; empty when decisions name that."""
    text: str = ""
    file_name: str = ""

    @property
    def recursion_limit(self) -> int:
        """Steps that one life of a run may take."""
        return recursion_limit(len(self.shape.nodes), self.max_hops, self.max_cycles)

    @property
    def diagram(self) -> str:
        """The graph as Mermaid text."""
        return self.graph.get_graph().draw_mermaid()


@dataclass(frozen=True)
class Unusable:
    """What was meant to be a workflow, and why it is none."""

    name: str
    origin: str
    problems: tuple[Problem, ...]
    text: str = ""
    file_name: str = ""


@dataclass(frozen=True)
class Catalogue:
    """The workflows by name. Never changes while the agent lives: a run can rely on its graph."""

    workflows: Mapping[str, Workflow]
    unusable: Sequence[Unusable]
    kit: Kit

    def get(self, name: str) -> Workflow:
        """A workflow. Raises `UnknownWorkflow`, which names those that there are."""
        if name in self.workflows:
            return self.workflows[name]
        known = ", ".join(sorted(self.workflows))
        broken = next((item for item in self.unusable if item.name == name), None)
        if broken:
            message = f"The workflow {name!r} cannot be used: {broken.problems[0].message}"
            remedy = f"`waystation workflows show {name}` lists its problems. Known: {known}."
            raise UnknownWorkflow(message, remedy=remedy, known=known)
        raise UnknownWorkflow(f"There is no workflow {name!r}.", remedy=f"Known: {known}.", known=known)

    def find(self, name: str) -> Workflow | Unusable:
        """What has the name, usable or not. Raises `NotFound`."""
        found = self.workflows.get(name) or next((item for item in self.unusable if item.name == name), None)
        if not found:
            known = ", ".join(sorted(self.workflows))
            raise NotFound(f"There is no workflow {name!r}.", remedy=f"Known: {known}.", known=known)
        return found

    def check(self, text: str, file_name: str) -> Workflow | Unusable:
        """What a document would be here and now: the services that it names must be there, and its name free."""
        roles = {service.name: service.roles for service in self.kit.ports.directory.services()}
        checked = check(text, file_name, roles)
        if not checked.document or checked.problems:
            return Unusable("", "user", checked.problems, text, file_name)
        known = self.workflows.get(checked.document.name)
        if known and known.origin != "user":
            taken = Problem(f"There is a {known.origin} workflow {known.name} already.", "name")
            return Unusable(known.name, "user", (taken,), text, file_name)
        return from_document(checked.document, self.kit, "user", text, file_name)

    @property
    def saver(self) -> Any:
        """Where the checkpoints of all of them are."""
        return self.kit.saver

    def max_hops(self, name: str) -> int:
        """The budget of a workflow; when there is no such workflow, that of `auto`."""
        return self.workflows.get(name, self.workflows[AUTO]).max_hops

    def calls(self, name: str) -> Sequence[str]:
        """The steps of a workflow that call a service, and so can be skipped; none when there is no such workflow."""
        return self.workflows[name].calls if name in self.workflows else ()

    def decides(self, name: str) -> bool:
        """Whether a workflow may decide whom to call: not a document without such a step."""
        kinds = self.workflows[name].shape.kinds if name in self.workflows else {}
        return not kinds or "decide" in kinds.values()

    def roles(self, name: str) -> Sequence[str]:
        """What the calls of a workflow act as; none when decisions name that, or there is no such workflow."""
        return self.workflows[name].roles if name in self.workflows else ()


def open_catalogue(
    kit: Kit, folder: Path, auto_max_hops: int, registered: Iterable[PythonWorkflow] | None = None
) -> Catalogue:
    """Compile everything there is. What cannot be used is listed with its problems, and stops nobody.

    A name belongs to who comes first: shipped documents, then the user's `folder`, then graphs defined in Python.
    """
    workflows: dict[str, Workflow] = {}
    unusable: list[Unusable] = []
    found = [*_documents(kit, auto_max_hops, shipped_folder(), "shipped"), *_documents(kit, 0, folder, "user")]
    found += _built(kit, _installed() if registered is None else registered)
    for item in found:
        if item.name in workflows and isinstance(item, Workflow):
            taken = Problem(f"There is a {workflows[item.name].origin} workflow {item.name} already.", "name")
            item = Unusable(item.name, item.origin, (taken,), item.text, item.file_name)
        if isinstance(item, Workflow):
            workflows[item.name] = item
        else:
            logger.warning("the workflow %s cannot be used: %s", item.name, item.problems[0].message)
            unusable.append(item)
    return Catalogue(workflows, tuple(unusable), kit)


def from_document(document: WorkflowDocument, kit: Kit, origin: str, text: str, file_name: str) -> Workflow:
    """The workflow of a document that was checked."""
    graph = compile_workflow(document, kit)
    calls = [step for step in document.steps if step.kind == "call"]
    is_decided = any(not step.capability for step in calls)
    return Workflow(
        document.name,
        document.description,
        origin,
        graph,
        shape_of(graph, {step.name: step.kind for step in document.steps}),
        document.max_hops,
        document.max_cycles,
        document.effort,
        document.timeout_s,
        tuple(step.name for step in calls),
        () if is_decided else tuple(step.role or step.capability for step in calls),
        text,
        file_name,
    )


def shipped_folder() -> Path:
    """Where our own documents are: inside the installed package, or at the root of a checkout."""
    installed = Path(__file__).parent / "shipped"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "workflows"


def _documents(kit: Kit, auto_max_hops: int, folder: Path, origin: str) -> Iterator[Workflow | Unusable]:
    paths = sorted(path for path in folder.glob("*") if path.suffix in SUFFIXES) if folder.is_dir() else []
    for path in paths[:MAX_FILES]:
        try:
            with path.open(encoding="utf-8") as file:
                text = file.read(MAX_BYTES + 1)
        except (OSError, UnicodeDecodeError) as error:
            yield Unusable(path.stem, origin, (Problem(f"It cannot be read: {error}."),), file_name=str(path))
            continue
        checked = check(text, path.name)
        if not checked.document or checked.problems:
            name = checked.document.name if checked.document else path.stem
            yield Unusable(name, origin, checked.problems, text, str(path))
            continue
        document = checked.document
        if document.name == AUTO and auto_max_hops:
            document = document.model_copy(update={"max_hops": auto_max_hops})
        yield from_document(document, kit, origin, text, str(path))


def _built(kit: Kit, registered: Iterable[PythonWorkflow]) -> Iterator[Workflow | Unusable]:
    for made in registered:
        try:
            graph: Graph = made.build(kit).compile(checkpointer=kit.saver, name=made.name)
        except Exception as error:
            logger.exception("the workflow %s could not be built", made.name)
            yield Unusable(made.name, "python", (Problem(f"It could not be built: {error!r}."),))
            continue
        yield Workflow(made.name, made.description, "python", graph, shape_of(graph), made.max_hops, made.max_cycles)


def _installed() -> Iterator[PythonWorkflow]:
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            made: Any = entry.load()
        except Exception:
            logger.exception("the workflow %s could not be loaded", entry.name)
            continue
        if isinstance(made, PythonWorkflow):
            yield made
        else:
            logger.error("the entry point %s of %s is no PythonWorkflow", entry.name, ENTRY_POINTS)
