import pytest

from services.rag.index import search_words
from shared.errors import InvalidInput
from tests.unit.services.rag.conftest import Library


async def test_an_empty_collection_has_nothing_and_asks_no_model(library: Library) -> None:
    found = await library.retriever.search("water", library.scope)
    assert found.passages == () and not found.has_evidence and library.embedder.texts == []


@pytest.mark.parametrize("method", ["hybrid", "lexical", "dense"])
async def test_each_method_finds_and_ranks(library: Library, method: str) -> None:
    await library.add("a.txt", "the water pump leaks water")
    await library.add("b.txt", "steam engines and rails")
    await library.add("c.txt", "water in a glass of tea beside a lamp")
    found = await library.retriever.search("water pump", library.scope, method=method)  # type: ignore[arg-type]
    first = found.passages[0]
    assert first.stored.source == "a.txt" and found.has_evidence
    assert first.lexical_rank == (0 if method == "dense" else 1)
    assert first.dense_rank == (0 if method == "lexical" else 1)


async def test_one_passage_for_each_document(library: Library) -> None:
    section = "water pump " * 60
    await library.add("a.md", f"# One\n\n{section}\n\n# Two\n\n{section}\n\n# Three\n\n{section}")
    await library.add("b.md", "# Glass\n\nwater")
    assert (await library.sources("water pump")).count("a.md") == 3
    assert await library.sources("water pump", is_by_document=True) == ["a.md", "b.md"]
    assert await library.sources("water pump", is_by_document=True, top_k=1) == ["a.md"]


async def test_nothing_alike_is_no_evidence(library: Library) -> None:
    await library.add("a.txt", "the water pump leaks")
    found = await library.retriever.search("quantum entanglement", library.scope)
    assert not found.has_evidence


@pytest.mark.parametrize("query", ['"', "a AND", "NEAR(", "title:x", "*", "-", "'; DROP TABLE chunks", "🙂", "?"])
async def test_syntax_is_only_text(library: Library, query: str) -> None:
    await library.add("a.txt", "water")
    await library.retriever.search(query, library.scope)
    await library.retriever.search(query, library.scope, method="lexical")


@pytest.mark.parametrize(("query", "says"), [("  ", "no text"), ("x" * 70_000, "bytes"), ("a\x00b", "U\\+0000")])
async def test_a_bad_query_is_refused(library: Library, query: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        await library.retriever.search(query, library.scope)


async def test_word_forms_match(library: Library) -> None:
    await library.add("a.txt", "The passwords are rotated.")
    assert await library.sources("rotating password", method="lexical") == ["a.txt"]


async def test_a_foreign_collection_is_known_by_its_passages(library: Library) -> None:
    async def english_share() -> float:
        hits = await library.database.read(lambda connection: search_words(connection, library.scope, ["x"], 10))
        return hits.english_share

    await library.add(
        "a.jsonl", "\n".join(f'{{"_id": "{n}", "text": "Der Schlüssel {n} liegt hier."}}' for n in range(95))
    )
    assert await english_share() == pytest.approx(0.05)
    await library.add("b.jsonl", "\n".join(f'{{"_id": "{n}", "text": "The key {n} lies here."}}' for n in range(100)))
    assert await english_share() == pytest.approx(105 / 200)
