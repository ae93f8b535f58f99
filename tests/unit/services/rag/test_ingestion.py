import asyncio

import pytest

from services.rag import ingestion as module
from services.rag.index import Scope, list_documents
from tests.unit.services.rag.conftest import Library


def rows(*pairs: tuple[str, str]) -> str:
    return "\n".join(f'{{"_id": "{key}", "title": "", "text": "{text}"}}' for key, text in pairs)


async def test_added_then_unchanged_then_replaced(library: Library) -> None:
    assert (await library.add("a.md", "# Pumps\n\nwater")).state == "added"
    library.embedder.texts.clear()
    assert (await library.add("a.md", "# Pumps\n\nwater")).state == "unchanged"
    assert library.embedder.texts == []
    assert (await library.add("a.md", "# Pumps\n\nsteam")).state == "replaced"
    assert await library.sources("water", method="lexical") == []
    assert await library.sources("steam", method="lexical") == ["a.md"]
    assert len(library.memory) == 1


async def test_text_that_moved_is_cited_where_it_is_now(library: Library) -> None:
    await library.add("a.txt", "water")
    await library.add("a.txt", "\n\nwater")
    found = await library.retriever.search("water", library.scope)
    assert found.passages[0].stored.chunk.start_line == 3


async def test_a_bad_document_is_skipped_and_the_stored_one_stays(library: Library) -> None:
    await library.add("a.txt", "water")
    outcome = await library.add("a.txt", b"\x00\x01")
    assert outcome.state == "skipped" and outcome.is_bad and "binary" in outcome.message
    assert await library.sources("water") == ["a.txt"]


async def test_jsonl_rows_are_documents_that_come_and_go(library: Library) -> None:
    first = await library.add("r.jsonl", rows(("a", "apples"), ("b", "bananas"), ("c", "cherries")))
    assert (first.state, first.document_count, first.chunk_count) == ("added", 3, 3)
    library.embedder.texts.clear()
    second = await library.add("r.jsonl", rows(("a", "apples"), ("b", "blueberries")))
    assert (second.state, second.document_count) == ("replaced", 2)
    assert len(library.embedder.texts) == 1, "the row that stayed is not embedded again"
    assert await library.sources("cherries bananas", method="lexical") == []
    assert await library.sources("blueberries", method="lexical") == ["b"]


async def test_a_broken_line_is_reported_and_the_rest_stored(library: Library) -> None:
    outcome = await library.add("r.jsonl", rows(("a", "apples")) + "\n{oops")
    assert outcome.state == "added" and outcome.is_bad and "Line 2" in outcome.message
    assert await library.sources("apples") == ["a"]


async def test_an_interrupted_jsonl_goes_on_where_it_stopped(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS_PER_BATCH", 2)
    text = rows(*((str(number), f"word{number}") for number in range(5)))
    embed, calls = library.embedder.aembed, 0

    async def fail_later(texts):  # type: ignore[no-untyped-def]
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("power cut")
        return await embed(texts)

    monkeypatch.setattr(library.embedder, "aembed", fail_later)
    with pytest.raises(RuntimeError):
        await library.add("r.jsonl", text)
    assert await library.ingestion.unchanged(library.scope, {"r.jsonl": "0" * 64}) == []
    library.embedder.texts.clear()
    outcome = await library.add("r.jsonl", text)
    assert outcome.document_count == 5 and len(library.embedder.texts) == 3
    assert (await library.add("r.jsonl", text)).state == "unchanged"


async def test_a_caller_that_leaves_does_not_part_memory_and_disk(library: Library) -> None:
    writing = asyncio.Event()
    write = library.database.write

    async def slow_write(work):  # type: ignore[no-untyped-def]
        writing.set()
        return await write(work)

    library.database.write = slow_write  # type: ignore[method-assign]
    task = asyncio.create_task(library.add("a.txt", "water"))
    await writing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await library.add("b.txt", "steam")
    assert sorted(await library.sources("water steam")) == ["a.txt", "b.txt"]
    assert len(await library.reloaded()) == len(library.memory) == 2


async def test_a_restart_finds_the_same(library: Library) -> None:
    await library.add("a.txt", "water pump")
    await library.add("b.txt", "steam engine", Scope("other"))
    await library.add("a.txt", "water wheel")
    memory = await library.reloaded()
    vector = (await library.embedder.aembed(["water wheel"]))[0]
    before, after = library.memory.of(library.scope), memory.of(library.scope)
    assert before is not None and after is not None
    assert before.search(vector, 5) == after.search(vector, 5)
    assert len(memory) == 2


async def test_tenants_and_collections_are_apart(library: Library) -> None:
    await library.add("a.txt", "water", Scope("one"))
    await library.add("a.txt", "water", Scope("two", "x"))
    for scope, count in ((Scope("one"), 1), (Scope("two", "x"), 1), (Scope("two"), 0), (Scope(), 0)):
        assert len((await library.retriever.search("water", scope)).passages) == count
    assert await library.ingestion.delete_collection(Scope("one")) == 1
    assert len((await library.retriever.search("water", Scope("two", "x"))).passages) == 1


async def test_deleting_leaves_no_trace(library: Library) -> None:
    for source in ("docs/a.txt", "docs/b.txt", "do%s/c.txt", "other.txt"):
        await library.add(source, "water")
    assert await library.ingestion.delete(library.scope, ["nowhere"]) == 0
    assert await library.ingestion.delete(library.scope, [], "do%") == 1
    assert await library.ingestion.delete(library.scope, ["other.txt"], "docs/a") == 2
    assert await library.sources("water", method="lexical") == ["docs/b.txt"]
    assert await library.ingestion.delete_collection(library.scope) == 1
    assert await library.ingestion.delete_collection(library.scope) == 0
    assert library.retriever.is_empty(library.scope)
    left = await library.database.read(
        lambda connection: [
            connection.execute(f"SELECT count(*) FROM {table}").get
            for table in ("collections", "sources", "documents", "chunks")
        ]
    )
    assert left == [0, 0, 0, 0]
    assert (await library.add("docs/a.txt", "water")).state == "added"


async def test_documents_are_listed_in_pages(library: Library) -> None:
    await library.add("b.txt", "two")
    await library.add("a.jsonl", rows(("2", "x"), ("1", "y")))

    first = await library.database.read(lambda c: list_documents(c, library.scope, "", ("", ""), 2))
    assert [(item.source, item.key) for item in first] == [("a.jsonl", "1"), ("a.jsonl", "2")]
    rest = await library.database.read(lambda c: list_documents(c, library.scope, "", ("a.jsonl", "2"), 2))
    assert [(item.source, item.chunk_count, item.ingest_time_ms) for item in rest] == [("b.txt", 1, 1_700_000_000_000)]
    only = await library.database.read(lambda c: list_documents(c, library.scope, "b", ("", ""), 9))
    assert [item.source for item in only] == ["b.txt"]
