"""An answer is held to the results: nothing invented, nothing left unsaid."""

import pytest

from services.tools.grounding import Grounding, Step, untouched
from services.tools.tool import ToolOutput

SHARE = Step("calculate", {"expression": "17.5% of 2,340"}, ToolOutput("17.5% of 2,340 = 409.5", {}, ("409.5",)))
DAY = Step("weekday", {"date": "1999-12-31"}, ToolOutput("1999-12-31 was a Friday", {}, ("Friday",)))
FAILED = Step("calculate", {"expression": "x"}, ToolOutput("77 is not expected there", is_error=True))
PAGE = Step("read_file", {"path": "a"}, ToolOutput("a, lines 1-1:\nport: 8088"))


def converted(number: str, value: str) -> Step:
    return Step("convert_units", {"quantity": f"{number} feet"}, ToolOutput(f"{number} feet = {value} m", {}, (value,)))


def grounding(*steps: Step, task: str = "what is 17.5 % of 2,340, and what day was 1999-12-31") -> Grounding:
    return Grounding(task, steps)


@pytest.mark.parametrize(
    "text",
    [
        "17.5% of 2,340 is 409.5, and 1999-12-31 was a Friday.",
        "It is 409.50.",
        "About 410.",
        "On December 31, 1999 it was Friday.",
        "1. The share is 409.5.\n2. The day was a friday.",
        "I have done both.",
    ],
)
def test_what_the_task_and_the_results_say_is_supported(text: str) -> None:
    assert grounding(SHARE, DAY).supports(text)


@pytest.mark.parametrize("text", ["It is 408.5.", "It was a Thursday.", "That is 409.5, or 3 parts.", "It is 77."])
def test_what_no_tool_said_is_not(text: str) -> None:
    assert not grounding(SHARE, DAY, FAILED).supports(text)


def test_a_small_value_may_not_lose_its_decimals() -> None:
    root = Step("calculate", {}, ToolOutput("sqrt(2) ≈ 1.4142135623731", {}, ("1.4142135623731",)))
    assert grounding(root, task="").supports("It is 1.414.")
    assert not grounding(root, task="").supports("It is 1.")


def test_a_value_that_is_not_given_is_unsaid() -> None:
    assert grounding(SHARE, DAY).unsaid("The share is 409.5.") == [DAY]
    assert grounding(SHARE, DAY).unsaid("409.5, on a FRIDAY") == []


def test_a_value_that_only_fed_a_later_call_need_not_be_given() -> None:
    steps = (SHARE, converted("409.5", "124.8156"))
    assert grounding(*steps).unsaid("That is 124.8 metres.") == []
    assert grounding(*steps).render() == "409.5 feet = 124.8156 m"


def test_words_count_only_as_whole_words() -> None:
    verdict = Step("calculate", {}, ToolOutput("1 > 2 is false", {}, ("false", "no")))
    assert grounding(verdict).unsaid("I know nothing.") == [verdict]
    assert grounding(verdict).unsaid("No, it is not.") == []


def test_a_page_has_no_value_to_state_but_its_numbers_may_be_used() -> None:
    assert grounding(PAGE).unsaid("Done.") == []
    assert grounding(PAGE).supports("The port is 8088.")


def test_rendering_gives_each_text_once_and_bounded() -> None:
    long = Step("read_file", {}, ToolOutput("x" * 5_000))
    assert grounding(SHARE, SHARE, FAILED).render() == "17.5% of 2,340 = 409.5"
    assert len(grounding(long).render()) < 1_600


def test_what_no_call_was_given_is_untouched() -> None:
    task = "what is 17.5 % of 2,340, and what day was 1999-12-31?"
    assert untouched(task, [SHARE]) == ["1999-12-31"]
    assert untouched(task, [FAILED, DAY]) == ["17.5", "2,340"]
    assert untouched(task, [SHARE, DAY]) == []
    assert untouched("no numbers at all", []) == []


@pytest.mark.parametrize("expression", ["48 * 0.75 * 3", "48 * (1 - 0.25) * 3", "3 * (25% off 48)"])
def test_a_percentage_may_be_used_as_a_factor(expression: str) -> None:
    step = Step("calculate", {"expression": expression}, ToolOutput("= 108", {}, ("108",)))
    assert untouched("48 euros with a 25% discount, 3 tickets", [step]) == []
