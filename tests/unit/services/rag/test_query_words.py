from services.rag.query_words import MAX_WORDS, content_stems, query_words


def test_words_are_plain_whatever_the_user_types() -> None:
    assert query_words('"unclosed AND (near* OR col:umn) -x^2 \'; DROP') == [
        "unclosed", "near", "col", "umn", "x", "2", "drop",
    ]  # fmt: skip


def test_stop_words_are_searched_only_when_there_is_nothing_else() -> None:
    assert query_words("what is the vault") == ["vault"]
    assert query_words("who is it") == ["who", "is", "it"]
    assert query_words("?!") == []


def test_a_long_query_is_bounded() -> None:
    assert len(query_words(" ".join(f"w{number}" for number in range(1_000)))) == MAX_WORDS


def test_stems_join_the_forms_of_a_word() -> None:
    assert content_stems("searching Searches searched") == {"search"}
    assert content_stems("the bus") == {"bus"}
