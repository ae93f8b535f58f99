"""The router names only services that are there at that moment and have the tags that are asked for."""

import pytest

from services.agent.router.example_router import heuristic_router
from services.agent.routing import LiveRouter
from shared.capability import Descriptor

WORDS = Descriptor("words", "Counts words.", ("text", "count"), ("count the words: a b c", "how many words are here"))
CODING = Descriptor("coding", "Writes code.", ("python", "count"), ("write a function", "fix this bug in my code"))
QUERY = "count the words: to be or not to be"


async def candidates(present: list[Descriptor], *tags: str) -> set[str]:
    router = heuristic_router()
    await router.update([WORDS, CODING])
    recommended = await LiveRouter(router, lambda: present).recommend(QUERY, tags)
    assert not recommended["top"] or recommended["top"] in {item["service"] for item in recommended["candidates"]}
    return {item["service"] for item in recommended["candidates"]}


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ((), {"words", "coding"}),
        (("count",), {"words", "coding"}),
        (("text",), {"words"}),
        (("python",), {"coding"}),
        (("count", "text"), {"words"}),
        (("python", "text"), set()),
        (("Count",), set()),
    ],
)
async def test_only_who_has_all_the_tags_is_named(tags: tuple[str, ...], expected: set[str]) -> None:
    assert await candidates([WORDS, CODING], *tags) == expected


async def test_who_is_not_healthy_now_is_not_named_though_its_examples_are_known() -> None:
    assert await candidates([CODING]) == {"coding"}
    assert await candidates([], "count") == set()
