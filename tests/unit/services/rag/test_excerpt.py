from services.rag.document import Chunk
from services.rag.excerpt import excerpt

FILLER = "Nothing of interest stands here at all today."


def test_the_sentence_that_fits_is_kept_with_its_lines() -> None:
    lines = [FILLER] * 30 + ["The warranty lasts 24 months."] + [FILLER] * 30
    cut = excerpt(Chunk("\n".join(lines), 101, 161), "How long is the warranty?", max_words=40)
    assert "The warranty lasts 24 months." in cut.text
    assert len(cut.text.split()) <= 40
    where = cut.text.split("\n").index("The warranty lasts 24 months.")
    assert cut.start_line + where == 131 and cut.end_line == cut.start_line + cut.text.count("\n")


def test_a_short_passage_is_kept_whole() -> None:
    cut = excerpt(Chunk("One. Two.\nThree.", 5, 6), "zebra")
    assert (cut.text, cut.start_line, cut.end_line) == ("One. Two.\nThree.", 5, 6)


def test_one_huge_sentence_is_cut_at_a_word() -> None:
    cut = excerpt(Chunk("word " * 500, 1, 1), "word", max_words=50)
    assert len(cut.text.split()) == 50


def test_a_passage_without_lines_has_none() -> None:
    assert excerpt(Chunk("Text.", page=3), "text").start_line == 0
