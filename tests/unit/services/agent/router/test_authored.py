"""The authored texts: enough, varied, apart from each other; and labelled files that are bad."""

import re
from collections import Counter
from pathlib import Path

import pytest

from services.agent.router.authored import (
    BUILTIN,
    NONE,
    builtin_services,
    example_groups,
    labelled_queries,
    newcomers,
)
from services.agent.router.catalogue import check_services
from shared.errors import InvalidInput


def plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower())) or text


def test_every_capability_has_many_examples_in_several_groups() -> None:
    for label in (*BUILTIN, NONE):
        groups = example_groups(label)
        assert len(groups) >= 6
        assert sum(map(len, groups)) >= 150


def test_no_example_is_written_twice() -> None:
    texts = Counter(plain(text) for label in (*BUILTIN, NONE) for group in example_groups(label) for text in group)
    assert [text for text, count in texts.items() if count > 1] == []


def test_built_in_services_are_accepted() -> None:
    entries, errors = check_services(builtin_services())
    assert [entry.name for entry in entries] == list(BUILTIN)
    assert not errors


def test_bench_set_is_large_has_all_labels_and_shares_nothing_with_the_examples() -> None:
    items = labelled_queries()
    assert len(items) >= 160
    assert min(Counter(item.label for item in items)[label] for label in (*BUILTIN, NONE)) >= 40
    examples = {plain(text) for label in (*BUILTIN, NONE) for group in example_groups(label) for text in group}
    assert [item.query for item in items if plain(item.query) in examples] == []
    assert len({plain(item.query) for item in items}) == len(items)


def test_newcomers_have_examples_and_other_queries() -> None:
    for newcomer in newcomers():
        assert len(newcomer.service.examples) == 8
        assert newcomer.service.tags
        assert not set(newcomer.queries) & set(newcomer.service.examples)


def test_chitchat_means_none(tmp_path: Path) -> None:
    path = tmp_path / "queries.jsonl"
    path.write_text('{"query": "hi", "label": "chitchat", "source": "me"}\n\n{"query": "1+1", "label": "tools"}\n')
    assert [(item.label, item.source) for item in labelled_queries(path)] == [(NONE, "me"), ("tools", "")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no labelled query"),
        ("nonsense", "Line 1"),
        ('{"query": "hi"}', "Line 1"),
        ("[1]", "Line 1"),
        ('{"query": "hi", "label": "none"}\n{"query": "hi", "label": "spam"}', "Line 2 .* 'spam'"),
    ],
)
def test_bad_file_is_refused_with_its_line(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "queries.jsonl"
    path.write_text(content)
    with pytest.raises(InvalidInput, match=said):
        labelled_queries(path)


def test_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("absent", "binary"):
        with pytest.raises(InvalidInput, match="cannot be read"):
            labelled_queries(tmp_path / name)
