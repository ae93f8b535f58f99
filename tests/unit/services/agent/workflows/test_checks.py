"""Bad documents: what is wrong, and where; and that checking costs nothing that can be abused."""

import pytest

from services.agent.workflows.catalogue import shipped_folder
from services.agent.workflows.checks import check

HEAD = "name: mine\nmax_hops: 3\n"
ROLES = {"rag": (), "coding": ("coder", "reviewer")}


def problems(text: str, file_name: str = "mine.yaml") -> list[tuple[int, str, str]]:
    return [(item.line, item.path, item.message) for item in check(text, file_name, ROLES).problems]


def test_shipped_documents_are_good() -> None:
    paths = sorted(shipped_folder().glob("*.yaml"))
    assert [path.stem for path in paths] == ["auto", "debate", "linear", "review"]
    for path in paths:
        checked = check(path.read_text(), path.name, ROLES)
        assert checked.problems == () and checked.document and checked.document.name == path.stem


@pytest.mark.parametrize(
    ("steps", "line", "path", "said"),
    [
        (
            "  - {name: a, capability: rag, then: b}\n  - {name: b, capability: rag, then: a}",
            4,
            "steps.a",
            "without a bound",
        ),
        ("  - {name: a, capability: rag, then: a}", 4, "steps.a", "without a bound"),
        ("  - {name: a, kind: recommend, then: a}", 4, "steps.a", "without a bound"),
        ("  - {name: a, capability: rag}\n  - {name: b, capability: rag}", 5, "steps.b", "No way leads to b"),
        ("  - {name: a, capability: cook}", 4, "steps.a.capability", "known: coding, rag"),
        ("  - {name: a, capability: coding, role: cook}", 4, "steps.a.role", "known: coder, reviewer"),
        ("  - {name: a, kind: cook}", 4, "steps.a.kind", "is not known"),
        (
            "  - name: a\n    capability: rag\n    then:\n      - {when: tasty, to: respond}",
            7,
            "steps.a.then.0.when",
            "no predicate 'tasty'",
        ),
        (
            "  - name: a\n    capability: rag\n    then:\n      - {when: 'approved and', to: respond}",
            7,
            "steps.a.then.0.when",
            "is no condition",
        ),
        ("  - {name: a, capability: rag, then: a2}\n  - {name: a, capability: rag}", 5, "steps.a.name", "Two steps"),
        ("  - {name: a, capability: rag, then: c}", 4, "steps.a.then", "There is no step c"),
        ("  - {name: respond, capability: rag}", 4, "steps.respond.name", "already"),
        ("  - {name: a, kind: decide}", 4, "steps.a", "without a step of kind recommend"),
        ("  - {name: a}", 4, "steps.a", "needs a decision"),
        (
            "  - name: a\n    capability: rag\n    then:\n      - {when: not decided_call, to: respond}",
            7,
            "steps.a.then.0.when",
            "nothing is decided there",
        ),
        ("  - {name: a, kind: judge, capability: rag}", 4, "steps.a.capability", "has no capability"),
        ("  - {name: a, capability: rag, timeout_s: -1}", 4, "steps.a.timeout_s", "greater than 0"),
        ("  - {name: a, capability: rag, effort: huge}", 4, "steps.a.effort", "is not known"),
        ("  - {name: a, capability: rag, colour: red}", 4, "steps.a.colour", "no such field"),
        ("  - {capability: rag}", 4, "steps.0.name", "is missing"),
        ("  - {name: a, capability: rag, then: {}}", 4, "steps.a.then", "It is a step"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(steps: str, line: int, path: str, said: str) -> None:
    found = problems(f"{HEAD}steps:\n{steps}\n")
    assert any((at, where) == (line, path) and said in message for at, where, message in found), found


@pytest.mark.parametrize(
    ("head", "steps", "path", "said"),
    [
        ("max_hops: 1", "a: b, b: respond", "max_hops", "makes 2 calls; max_hops is 1"),
        ("max_hops: 99", "a: respond", "max_hops", "less than or equal to 20"),
        ("max_hops: 3\nloop: {step: b, max_cycles: 2}", "a: respond", "loop.step", "There is no step b"),
        ("max_hops: 3\nloop: {step: a, max_cycles: 2}", "a: respond", "loop.step", "is in no loop"),
        ("max_hops: 3\nloop: {step: a, max_cycles: 99}", "a: a", "loop.max_cycles", "less than or equal to 10"),
        ("max_hops: 3\nstart: [a, b]", "a: c, b: respond, c: respond", "start", "one step that merges them"),
        ("max_hops: 3\nstart: [a, b]", "a: c, b: c, c: a", "steps.a", "one way to it"),
        ("max_hops: 3\nanswer_from: [z]", "a: respond", "answer_from.0", "no step z that calls"),
        ("max_hops: 3\nstart: z", "a: respond", "start", "There is no step z"),
    ],
)
def test_bounds_loops_and_parallel_steps_are_checked(head: str, steps: str, path: str, said: str) -> None:
    lines = [part.split(": ") for part in steps.split(", ")]
    listed = "".join(f"  - {{name: {name}, capability: rag, then: {to}}}\n" for name, to in lines)
    found = problems(f"name: mine\n{head}\nsteps:\n{listed}")
    assert any(where == path and said in message for _, where, message in found), found


def test_a_loop_with_its_step_named_is_good() -> None:
    steps = "  - {name: a, capability: rag, then: b}\n  - {name: b, capability: rag, then: a}\n"
    assert problems(f"{HEAD}loop: {{step: a, max_cycles: 2}}\nsteps:\n{steps}") == []


def test_a_thousand_steps_are_refused_with_the_limit() -> None:
    steps = "".join(f"  - {{name: s{n}, capability: rag}}\n" for n in range(1000))
    [(line, path, message)] = problems(f"{HEAD}steps:\n{steps}")
    assert (line, path, message) == (3, "steps", "There are 1000; at most 50 are possible.")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("name: [", 1, "not YAML"),
        ("name: mine\nname: yours\n", 2, "same key twice"),
        ("a: &a [1, 1]\nb: [*a, *a]\n", 1, "an alias"),
        ("a: !!python/object:os.system x\n", 1, "could not determine a constructor"),
        ("[" * 60_000, 0, "nested too deeply"),
        ("#" * 70_000, 0, "larger than 65536 bytes"),
        ("", 0, "valid dictionary"),
        ("\x00", 0, "not YAML"),
        ("- 1", 1, "valid dictionary"),
    ],
)
def test_what_is_no_document_is_refused_cheaply(text: str, line: int, said: str) -> None:
    at, _, message = problems(text)[0]
    assert at == line and said in message


def test_toml_is_read_with_places() -> None:
    good = 'name = "mine"\nmax_hops = 1\n\n[[steps]]\nname = "a"\ncapability = "rag"\n'
    assert problems(good, "mine.toml") == []
    assert problems(good.replace("rag", "cook"), "mine.toml")[0][:2] == (6, "steps.a.capability")
    second = good + '\n[[steps]]\nname = "b"\ncapability = "cook"\n'
    assert problems(second, "mine.toml")[0][:2] == (10, "steps.b.capability")
    assert problems("name = 1 1", "mine.toml")[0][0] == 1
