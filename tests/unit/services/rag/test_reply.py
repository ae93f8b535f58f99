import pytest

from services.rag.reply import Reply


def read(pieces: list[str], passages: int = 2) -> tuple[Reply, list[str]]:
    reply = Reply(passages)
    shown = [reply.feed(piece) for piece in pieces]
    return reply, [*shown, reply.finish()]


@pytest.mark.parametrize("text", ["NO ANSWER", "no answer.", "**NO ANSWER**", " NO ANSWER: nothing there", "", "  "])
def test_a_refusal_is_never_shown(text: str) -> None:
    reply, shown = read(list(text))
    assert reply.is_refusal and "".join(shown) == "" and reply.text == ""


@pytest.mark.parametrize("text", ["NO ANSWERING machines are kept [1].", "No.", "Yes", "No answers are hidden here."])
def test_what_only_starts_alike_is_shown(text: str) -> None:
    reply, shown = read(list(text))
    assert not reply.is_refusal and "".join(shown) == text == reply.text


def test_markers_to_no_passage_are_taken_out_however_the_text_is_cut() -> None:
    text = "It is blue [1][7]. Also red [3], and green [2, 9] in array[0] and x[i]."
    for size in (1, 2, 3, 5, 100):
        reply, shown = read([text[at : at + size] for at in range(0, len(text), size)])
        assert "".join(shown) == reply.text == "It is blue [1]. Also red, and green [2] in array and x[i]."
        assert reply.cited == [1, 2]


def test_text_is_shown_while_it_comes() -> None:
    _, shown = read(["The answer is long ", "enough [", "1] to be shown."])
    assert shown == ["The answer is long", " enough", " [1] to be shown.", ""]


def test_an_unfinished_marker_at_the_end_is_text() -> None:
    reply, _ = read(["This is the end of it [1"])
    assert reply.text == "This is the end of it [1" and reply.cited == []
