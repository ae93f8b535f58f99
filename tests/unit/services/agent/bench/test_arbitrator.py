import pytest

from services.agent.bench.arbitrator import Sample, evenly_drawn, summarize
from services.agent.router.authored import LabelledQuery


def test_each_label_gets_its_share_from_all_of_the_file() -> None:
    items = [LabelledQuery(f"{label} {number}", label) for label in ("rag", "coding", "none") for number in range(100)]
    drawn = evenly_drawn(items, 9)
    assert [item.label for item in drawn] == ["coding", "none", "rag"] * 3
    assert [item.query for item in drawn if item.label == "rag"] == ["rag 0", "rag 33", "rag 66"]


def test_what_one_label_lacks_others_fill_up() -> None:
    items = [LabelledQuery("one", "rag"), *(LabelledQuery(str(number), "none") for number in range(5))]
    assert [item.label for item in evenly_drawn(items, 4)] == ["none", "rag", "none", "none"]


def sample(label: str, recommended: str, chosen: str, source: str = "model") -> Sample:
    return Sample(label, recommended, chosen, source, 1.0, 2.0)


def test_overrides_are_right_wrong_or_neither() -> None:
    samples = [
        sample("rag", "rag", "rag"),
        sample("rag", "tools", "rag"),
        sample("none", "", "coding"),
        sample("tools", "rag", "coding", "fallback"),
    ]
    values = {measure.name: measure.value for measure in summarize(samples)}
    assert values["arbitrator.overrides"] == 3
    assert values["arbitrator.overrides_right"] == 1
    assert values["arbitrator.overrides_wrong"] == 1
    assert values["arbitrator.accuracy"] == 0.5
    assert values["arbitrator.share_model"] == pytest.approx(0.75)
