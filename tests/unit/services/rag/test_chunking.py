from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from services.rag.chunking import MAX_CHARACTERS, chunk_segments
from services.rag.document import Segment
from services.rag.parsing.markdown import parse_markdown
from services.rag.parsing.plain import parse_text


def test_a_short_document_is_one_passage() -> None:
    chunks = chunk_segments(parse_text("one\n\ntwo\nthree\n\n\n\nfour"))
    assert [(chunk.start_line, chunk.end_line) for chunk in chunks] == [(1, 8)]
    assert "three" in chunks[0].text


def test_nothing_makes_no_passage() -> None:
    assert chunk_segments([]) == () and chunk_segments([Segment("  \n ")]) == ()


def test_sections_start_passages_of_their_own() -> None:
    text = "\n\n".join(f"# Part {number}\n\n" + f"word{number} " * 90 for number in range(3))
    chunks = chunk_segments(parse_markdown(text)[1])
    assert [chunk.heading for chunk in chunks] == ["Part 0", "Part 1", "Part 2"]
    assert all(chunk.text.startswith("# Part") for chunk in chunks)


def test_long_text_overlaps_and_lines_are_exact() -> None:
    lines = [f"Sentence number {number} says something of about sixty characters." for number in range(100)]
    chunks = chunk_segments(parse_text("\n".join(lines)))
    assert len(chunks) > 4
    for chunk in chunks:
        assert chunk.text == "\n".join(lines[chunk.start_line - 1 : chunk.end_line])
        assert len(chunk.text) <= MAX_CHARACTERS + 50
    for before, after in pairwise(chunks):
        assert before.start_line < after.start_line <= before.end_line


def test_a_page_is_never_left_within_a_passage() -> None:
    segments = [Segment("text " * 30, page=page) for page in (1, 1, 2, 2, 3)]
    assert [chunk.page for chunk in chunk_segments(segments)] == [1, 2, 3]


def test_one_endless_line_is_cut() -> None:
    chunks = chunk_segments([Segment("x" * 10_000, 1, 1)])
    assert len(chunks) > 8 and all((chunk.start_line, chunk.end_line) == (1, 1) for chunk in chunks)
    assert max(len(chunk.text) for chunk in chunks) <= MAX_CHARACTERS + 10


def test_wide_characters_make_shorter_passages() -> None:
    chunks = chunk_segments([Segment("漢字仮名。" * 500, 1, 1)])
    assert max(len(chunk.text) for chunk in chunks) <= MAX_CHARACTERS / 3


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet="ab .\n#漢\t", max_size=4_000))
def test_every_word_is_in_some_passage(text: str) -> None:
    chunks = chunk_segments(parse_text(text))
    kept = "".join("".join(chunk.text.split()) for chunk in chunks)
    assert len(kept) >= len("".join(text.split()))
    last = text.count("\n") + 1
    assert all(1 <= chunk.start_line <= chunk.end_line <= last for chunk in chunks)
