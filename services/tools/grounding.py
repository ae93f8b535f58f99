"""Holds an answer to the results it was made from: no number that no tool gave, no result left unsaid."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from services.tools.tool import ToolOutput

MAX_RENDERED_CHARS = 1_500

_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?")
_WEEKDAY = re.compile(r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b", re.IGNORECASE)
_LIST_NUMBER = re.compile(r"^\s*\d+[.)]\s", re.MULTILINE)
_ROUNDED_TO_INTEGER_FROM = 10
"""A smaller value must not lose its decimals: 1.4 is not 1."""


@dataclass(frozen=True)
class Step:
    """One call and what came of it."""

    name: str
    arguments: Mapping[str, Any]
    output: ToolOutput


class Grounding:
    """What an answer to a task may say after some steps, and what it has to."""

    def __init__(self, task: str, steps: Sequence[Step]) -> None:
        self._steps = [step for step in steps if not step.output.is_error]
        texts = [task, *(step.output.text for step in self._steps)]
        self._numbers = {number for text in texts for number in _numbers(text)}
        self._weekdays = {day for text in texts for day in _weekdays(text)}

    def supports(self, text: str) -> bool:
        """Whether every number and weekday in a piece of an answer is the task's or a tool's, rounded perhaps."""
        written = _numbers(_LIST_NUMBER.sub("", text))
        return _weekdays(text) <= self._weekdays and all(self._is_known(number) for number in written)

    def unsaid(self, answer: str) -> list[Step]:
        """The steps whose value an answer does not give, those aside that only fed a later call."""
        return [
            step
            for position, step in enumerate(self._steps)
            if step.output.values
            and not any(_states(answer, value) for value in step.output.values)
            and not self._is_used_later(position)
        ]

    def render(self) -> str:
        """All results in the tools' own words: the answer when there is no model, or none that can be trusted."""
        return render([step for position, step in enumerate(self._steps) if not self._is_used_later(position)])

    def _is_known(self, number: Decimal) -> bool:
        return number in self._numbers or any(_is_rounded(number, known) for known in self._numbers)

    def _is_used_later(self, position: int) -> bool:
        later = " ".join(json.dumps(dict(step.arguments), default=str) for step in self._steps[position + 1 :])
        return any(_states(later, value) for value in self._steps[position].output.values)


def untouched(task: str, steps: Sequence[Step]) -> list[str]:
    """The words of a task with numbers in them, such as "1999-12-31", that no successful call was given."""
    done = [step for step in steps if not step.output.is_error]
    used = {number for step in done for number in _numbers(json.dumps(dict(step.arguments), default=str))}
    words = (word.strip(".,;:?!\"'()") for word in task.split())
    return [word for word in words if not all(_is_used(number, used) for number in _numbers(word))]


def _is_used(number: Decimal, used: Collection[Decimal]) -> bool:
    """Whether a number was used as it is, or, a percentage, as a share or a factor: 25 as 0.25, 0.75 or 1.25."""
    share = number / 100
    return any(form in used for form in (number, share, 1 - share, 1 + share))


def render(steps: Sequence[Step]) -> str:
    """The texts of steps, each bounded, equal ones once."""
    texts = dict.fromkeys(step.output.text for step in steps)
    return "\n".join(text if len(text) <= MAX_RENDERED_CHARS else f"{text[:MAX_RENDERED_CHARS]}…" for text in texts)


def _numbers(text: str) -> list[Decimal]:
    return [Decimal(match.replace(",", "")) for match in _NUMBER.findall(text)]


def _weekdays(text: str) -> set[str]:
    return {match.lower() for match in _WEEKDAY.findall(text)}


def _is_rounded(number: Decimal, known: Decimal) -> bool:
    places = -int(number.as_tuple().exponent)
    if places <= 0 and known < _ROUNDED_TO_INTEGER_FROM:
        return False
    return abs(known - number) <= Decimal(1).scaleb(-places) / 2


def _states(text: str, value: str) -> bool:
    match = _NUMBER.fullmatch(value.removeprefix("-"))
    if match:
        known = Decimal(match.group().replace(",", ""))
        return any(number == known or _is_rounded(number, known) for number in _numbers(text))
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text, re.IGNORECASE) is not None
