"""What is wrong with a workflow document: all of it at once, each with its place."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from services.agent.workflows.document import RESERVED, RESPOND, Step, WorkflowDocument, targets
from services.agent.workflows.marks import NotReadable, Path, Problem, Source, read
from services.agent.workflows.predicates import DECIDED, BadCondition, parse

MAX_PROBLEMS = 50
_MESSAGES = {
    "extra_forbidden": "There is no such field here.",
    "missing": "This field is missing.",
    "too_long": "There are {actual_length}; at most {max_length} are possible.",
    "too_short": "There are {actual_length}; at least {min_length} must be there.",
    "string_pattern_mismatch": "{input!r} does not fit {pattern}.",
    "literal_error": "{input!r} is not known: it is {expected}.",
}
_THEN = "It is a step, a list of steps that run at once, or a list of `when` and `to`."


@dataclass(frozen=True)
class Checked:
    """A document as far as it could be read, and its problems; it is good when it has none."""

    document: WorkflowDocument | None
    problems: tuple[Problem, ...]


def check(text: str, file_name: str, roles: Mapping[str, Sequence[str]] | None = None) -> Checked:
    """Read and check a document. With `roles`, those of each capability, names of capabilities are checked too."""
    try:
        source = read(text, file_name)
    except NotReadable as error:
        return Checked(None, (error.problem,))
    try:
        document = WorkflowDocument.model_validate(source.data)
    except ValidationError as error:
        return Checked(None, tuple(_field_problems(source, error))[:MAX_PROBLEMS])
    problems = [source.problem(message, path) for path, message in _problems(document, roles)]
    return Checked(document, tuple(problems[:MAX_PROBLEMS]))


def _field_problems(source: Source, error: ValidationError) -> Iterator[Problem]:
    seen: set[Path] = set()
    for item in error.errors(include_url=False):
        path = _path(source.data, item["loc"])
        where = path[: path.index("then") + 1] if "then" in path else path
        if where in seen:
            continue  # one message for all forms that a field may have
        seen.add(where)
        facts = {"input": item["input"], **item.get("ctx", {})}
        message = _THEN if where[-1:] == ("then",) else _MESSAGES.get(item["type"], f"{item['msg']}.").format(**facts)
        yield source.problem(message, where if where[-1:] == ("then",) else path)


def _path(data: Any, location: Iterable[str | int]) -> Path:
    """Where the library means, without the names of its own types."""
    path: list[str | int] = []
    parts = list(location)
    for number, part in enumerate(parts):
        is_inside = (isinstance(data, dict) and part in data) or (isinstance(data, list) and isinstance(part, int))
        if is_inside:
            data = data[part]
            path.append(part)
        elif number == len(parts) - 1 and isinstance(part, str) and isinstance(data, dict):
            path.append(part)  # a field that is missing
    return tuple(path)


Found = tuple[Path, str]


def _problems(document: WorkflowDocument, roles: Mapping[str, Sequence[str]] | None) -> Iterator[Found]:
    found = [*_names(document), *_conditions(document), *_capabilities(document, roles)]
    yield from found
    if not any(path[-1:] == ("name",) or "then" in path or path[0] in ("start", "loop") for path, _ in found):
        shape = Shape(document)  # only names that lead somewhere make a graph
        yield from _reach(document, shape)
        yield from _undecided(document, shape)
        yield from _parallel(document, shape)
        yield from _loops(document, shape)
        yield from _budget(document, shape)


class Shape:
    """A document as a graph: who follows whom."""

    def __init__(self, document: WorkflowDocument) -> None:
        self.document = document
        self.steps = {step.name: step for step in document.steps}
        self.next = {
            name: {target for edge in step.edges for target in targets(edge.to)} - {RESPOND}
            for name, step in self.steps.items()
        }

    def reached(self, start: Iterable[str], without: Callable[[Step], bool] = lambda step: False) -> set[str]:
        """The steps that can be reached from `start`, `start` included, without passing certain steps."""
        seen: set[str] = set()
        waiting = [name for name in start if name in self.steps]
        while waiting:
            name = waiting.pop()
            if name not in seen and not without(self.steps[name]):
                seen.add(name)
                waiting += self.next[name]
        return seen

    def cycle(self, without: Callable[[Step], bool]) -> str | None:
        """A step that leads back to itself without passing certain steps."""
        for name, step in self.steps.items():
            if not without(step) and name in self.reached(self.next[name], without):
                return name
        return None

    def leads_to(self, name: str) -> int:
        """How many edges lead to a step; the start is one."""
        ways = [edge for step in self.steps.values() for edge in step.edges if name in targets(edge.to)]
        return len(ways) + (name in self.document.entry)

    def groups(self) -> Iterator[tuple[Path, tuple[str, ...]]]:
        """The steps that run at once, and where the document says so."""
        if len(self.document.entry) > 1:
            yield ("start",), self.document.entry
        for index, step in enumerate(self.document.steps):
            for edge in step.edges:
                if len(targets(edge.to)) > 1:
                    yield ("steps", index, "then"), targets(edge.to)

    def at(self, name: str) -> Path:
        """Where a step stands."""
        return ("steps", [step.name for step in self.document.steps].index(name))


def _names(document: WorkflowDocument) -> Iterator[Found]:
    names = [step.name for step in document.steps]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield ("steps", index, "name"), f"Two steps are called {name}."
        if name in RESERVED:
            yield ("steps", index, "name"), f"{name} is a step that every workflow has already."
    known = {*names, RESPOND}
    for index, step in enumerate(document.steps):
        for target in (name for edge in step.edges for name in targets(edge.to) if name not in known):
            yield ("steps", index, "then"), f"There is no step {target}."
    for name in document.entry:
        if name not in names:
            yield ("start",), f"There is no step {name}."
    if document.loop and document.loop.step not in names:
        yield ("loop", "step"), f"There is no step {document.loop.step}."
    for number, name in enumerate(document.answer_from):
        if name not in [step.name for step in document.steps if step.kind == "call"]:
            yield ("answer_from", number), f"There is no step {name} that calls."


def _conditions(document: WorkflowDocument) -> Iterator[Found]:
    for index, step in enumerate(document.steps):
        for number, edge in enumerate(step.edges):
            try:
                parse(edge.when)
            except BadCondition as error:
                yield ("steps", index, "then", number, "when"), str(error)


def _capabilities(document: WorkflowDocument, roles: Mapping[str, Sequence[str]] | None) -> Iterator[Found]:
    for index, step in enumerate(document.steps):
        for name in ("capability", "role"):
            if step.kind != "call" and getattr(step, name):
                yield ("steps", index, name), f"A step of kind {step.kind} has no {name}."
        if roles is None or not step.capability:
            continue
        if step.capability not in roles:
            known = ", ".join(sorted(roles)) or "none"
            yield ("steps", index, "capability"), f"No service {step.capability} is there now; known: {known}."
        elif step.role and roles[step.capability] and step.role not in roles[step.capability]:
            known = ", ".join(roles[step.capability])
            yield ("steps", index, "role"), f"{step.capability} has no role {step.role}; known: {known}."


def _reach(document: WorkflowDocument, shape: Shape) -> Iterator[Found]:
    reached = shape.reached(document.entry)
    for step in document.steps:
        if step.name not in reached:
            yield shape.at(step.name), f"No way leads to {step.name}."
    before_recommend = shape.reached(document.entry, lambda step: step.kind == "recommend")
    for step in document.steps:
        if step.kind == "decide" and step.name in before_recommend:
            yield shape.at(step.name), f"{step.name} can be reached without a step of kind recommend before it."
        if step.kind == "ask" or (step.kind == "call" and not step.capability):
            callers = [name for name in shape.steps if step.name in shape.next[name]]
            if step.name in document.entry or any(shape.steps[name].kind != "decide" for name in callers):
                yield shape.at(step.name), f"{step.name} needs a decision, and follows a step that makes none."


def _undecided(document: WorkflowDocument, shape: Shape) -> Iterator[Found]:
    """Conditions on a decision where there may be none."""
    undecided = shape.reached(document.entry, lambda step: step.kind == "decide")
    for index, step in enumerate(document.steps):
        for number, edge in enumerate(step.edges):
            if step.name in undecided and DECIDED in edge.when:
                place = ("steps", index, "then", number, "when")
                yield place, f"{step.name} can be reached without a step of kind decide, so nothing is decided there."


def _parallel(document: WorkflowDocument, shape: Shape) -> Iterator[Found]:
    for path, group in shape.groups():
        if len(set(group)) < len(group) or RESPOND in group:
            yield path, "Steps that run at once are different ones, and respond is none of them."
            continue
        merges = {targets(edge.to) for name in group for edge in shape.steps[name].edges}
        is_plain = all(len(shape.steps[name].edges) == 1 for name in group)
        if len(merges) > 1 or not is_plain or len(next(iter(merges))) > 1:
            yield path, f"{', '.join(group)} run at once, and must all lead to one step that merges them."
        for name in group:
            if shape.leads_to(name) > 1:
                yield shape.at(name), f"{name} runs beside others, so there must be one way to it."
            if shape.steps[name].kind != "call":
                yield shape.at(name), f"{name} runs beside others, so it must be a call."
            if document.loop and name == document.loop.step:
                yield ("loop", "step"), f"{name} runs beside others, so no cycles can be counted there."


def _loops(document: WorkflowDocument, shape: Shape) -> Iterator[Found]:
    def is_counted(step: Step) -> bool:
        return document.loop is not None and step.name == document.loop.step

    if document.loop and document.loop.step not in shape.reached(shape.next[document.loop.step]):
        yield ("loop", "step"), f"{document.loop.step} is in no loop."
    unbounded = shape.cycle(lambda step: is_counted(step) or step.kind == "decide")
    idle = shape.cycle(lambda step: is_counted(step) or step.kind in ("call", "ask"))
    if unbounded:
        yield (
            shape.at(unbounded),
            f"{unbounded} leads back to itself without a bound: say `loop: {{step: …, max_cycles: …}}`.",
        )
    elif idle:
        yield shape.at(idle), f"{idle} leads back to itself without a call between."


def _budget(document: WorkflowDocument, shape: Shape) -> Iterator[Found]:
    needed = _fewest_calls(document, shape)
    if needed > document.max_hops:
        yield ("max_hops",), f"The shortest way to an answer makes {needed} calls; max_hops is {document.max_hops}."


def _fewest_calls(document: WorkflowDocument, shape: Shape) -> int:
    """Calls on the shortest way from the start to the answer."""

    def cost(group: Collection[str]) -> int:
        return sum(shape.steps[name].kind == "call" for name in group if name in shape.steps)

    best = {document.entry: cost(document.entry)}
    waiting = [document.entry]
    while waiting:
        group = min(waiting, key=best.__getitem__)
        waiting.remove(group)
        if group == (RESPOND,):
            return best[group]
        for edge in (edge for name in group if name in shape.steps for edge in shape.steps[name].edges):
            following, total = targets(edge.to), best[group] + cost(targets(edge.to))
            if total < best.get(following, total + 1):
                best[following] = total
                waiting.append(following)
    return 0
