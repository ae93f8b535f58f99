"""Descriptors as strangers send them: bounds, doubles, nothing to go by."""

from dataclasses import replace

import pytest

from services.agent.router import catalogue
from services.agent.router.catalogue import Entry, check_services, none_examples
from shared.capability import Descriptor
from shared.errors import InvalidInput

SERVICE = Descriptor("depot", "Keeps goods.", ("storage",), ("show the crates", "count the crates"))


def test_entry_keeps_examples_then_description() -> None:
    entry = Entry.of(SERVICE)
    assert entry.texts == ("show the crates", "count the crates", "Keeps goods.")
    assert entry.example_count == 2


def test_doubles_and_blanks_are_dropped() -> None:
    entry = Entry.of(replace(SERVICE, examples=("a", " a ", "", "b", "a"), description="b"))
    assert entry.texts == ("a", "b")


def test_without_examples_the_description_speaks_and_without_that_the_name_and_tags() -> None:
    assert Entry.of(replace(SERVICE, examples=())).texts == ("Keeps goods.",)
    assert Entry.of(replace(SERVICE, examples=(), description=" ")).texts == ("depot storage",)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"examples": tuple(f"request {number}" for number in range(10_000))}, "10,000 examples"),
        ({"examples": ("x" * 501,)}, "501 characters in an example"),
        ({"description": "x" * 1_001}, "1,001 characters in the description"),
        ({"tags": tuple(f"tag-{number}" for number in range(17))}, "17 tags"),
    ],
)
def test_too_much_is_refused_with_the_service_and_the_bound(change: dict[str, tuple[str, ...]], said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        Entry.of(replace(SERVICE, **change))  # type: ignore[arg-type]
    assert caught.value.metadata["service"] == "depot"
    assert "most" in str(caught.value)


def test_nameless_service_is_refused() -> None:
    with pytest.raises(InvalidInput, match="name"):
        Entry.of(replace(SERVICE, name=" "))


def test_bad_services_are_left_out_and_the_others_kept_in_order_of_name() -> None:
    bad = replace(SERVICE, name="bad", examples=("x" * 501,))
    entries, errors = check_services([SERVICE, bad, replace(SERVICE, name="alpha"), SERVICE])
    assert [entry.name for entry in entries] == ["alpha", "depot"]
    assert ["bad" in str(errors[0]), "two services" in str(errors[1])] == [True, True]


def test_too_many_rows_are_shared_fairly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "MAX_ROWS", 10)
    big = replace(SERVICE, name="big", examples=tuple(f"request {number}" for number in range(50)))
    entries, errors = check_services([SERVICE, big])
    assert [(len(entry.texts), entry.example_count) for entry in entries] == [(5, 5), (3, 2)]
    assert entries[0].texts[:2] == ("request 0", "request 1")
    assert not errors


def test_examples_of_none_are_many_and_single_lines() -> None:
    assert len(none_examples()) >= 60
    assert all(text == text.strip() and text for text in none_examples())
