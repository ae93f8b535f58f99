"""What a thread remembers."""

from hypothesis import given
from hypothesis import strategies as st

from services.agent.state import Turn
from services.agent.threads.conversation import BYTES_PER_TOKEN, cut, is_kept, remember, tokens


def told(count: int, answer: str, budget_tokens: int) -> list[Turn]:
    turns: list[Turn] = []
    for number in range(count):
        turns = remember(turns, f"run-{number}", f"question {number}", answer, budget_tokens)
    return turns


def test_a_short_conversation_is_kept_whole() -> None:
    turns = told(3, "fine", 200)
    assert [(turn["run_id"], turn["query"], turn["answer"]) for turn in turns] == [
        (f"run-{number}", f"question {number}", "fine") for number in range(3)
    ]
    assert all(is_kept(turn) for turn in turns)


def test_older_turns_become_a_line_and_the_oldest_go() -> None:
    turns = told(40, "a word or two " * 10, 300)
    kinds = ["kept" if is_kept(turn) else "summarized" for turn in turns]
    assert kinds == sorted(kinds, reverse=True)
    assert {"kept", "summarized"} == set(kinds)
    assert len(turns) < 40
    assert turns[-1]["run_id"] == "run-39"
    assert turns[0]["summary"].startswith("question ")
    assert turns[0]["query"] == turns[0]["answer"] == ""


def test_what_was_decided_is_not_taken_back() -> None:
    turns = told(8, "a word or two " * 10, 300)
    lines = {turn["run_id"] for turn in turns if not is_kept(turn)}
    assert lines
    later = remember(turns, "run-next", "short", "short", 300)
    assert lines >= {turn["run_id"] for turn in later if turn["run_id"] in lines}
    assert not any(is_kept(turn) for turn in later if turn["run_id"] in lines)


def test_one_long_answer_leaves_room_for_others() -> None:
    turns = remember(told(2, "fine", 400), "run-long", "q", "x" * 100_000, 400)
    assert len(turns) == 3
    assert turns[-1]["answer"].endswith("…")
    assert tokens(turns[-1]["answer"]) <= 100


def test_turns_of_older_versions_are_kept() -> None:
    assert is_kept(Turn(query="q", answer="a"))
    assert len(remember([Turn(query="q", answer="a")], "run-1", "next", "yes", 100)) == 2


def test_cutting_never_splits_a_character() -> None:
    assert cut("ä" * 10, 8) == "ää…"
    assert cut("short", 5) == "short"


@given(
    st.lists(st.tuples(st.text(max_size=300), st.text(max_size=3_000)), min_size=1, max_size=20),
    st.integers(40, 2_000),
)
def test_the_budget_holds_and_order_stays(said: list[tuple[str, str]], budget: int) -> None:
    turns: list[Turn] = []
    for number, (query, answer) in enumerate(said):
        turns = remember(turns, f"run-{number:03}", query, answer, budget)
    size = sum(len((turn["query"] + turn["answer"] + turn.get("summary", "")).encode()) for turn in turns)
    assert size <= budget * BYTES_PER_TOKEN
    numbers = [turn["run_id"] for turn in turns]
    assert numbers == sorted(numbers)
    assert numbers[-1] == f"run-{len(said) - 1:03}"
