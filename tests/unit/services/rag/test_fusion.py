import pytest

from services.rag.fusion import DENSE_WEIGHT, FOREIGN_WEIGHT, LEAST_WEIGHT, fuse, meaning_weight
from services.rag.index import WordHits


def ids(words: WordHits, meaning: list[tuple[int, float]], similarities: dict[int, float]) -> list[int]:
    return [item.chunk_id for item in fuse(words, meaning, similarities)]


def test_a_chance_word_does_not_beat_meaning() -> None:
    words = WordHits(((1, 2.0),), full_score=20.0)
    assert ids(words, [(2, 0.6), (1, 0.2)], {1: 0.2, 2: 0.6}) == [2, 1]


def test_all_the_words_beat_a_little_more_meaning() -> None:
    words = WordHits(((1, 20.0),), full_score=20.0)
    assert ids(words, [(2, 0.6), (1, 0.5), (3, 0.1)], {1: 0.5, 2: 0.6, 3: 0.1}) == [1, 2, 3]


def test_ranks_say_where_each_list_had_it() -> None:
    words = WordHits(((1, 3.0), (2, 1.0)), full_score=5.0)
    by_id = {item.chunk_id: item for item in fuse(words, [(2, 0.9), (3, 0.5)], {1: 0.1, 2: 0.9, 3: 0.5})}
    assert {key: (item.lexical_rank, item.dense_rank) for key, item in by_id.items()} == {
        1: (1, 0),
        2: (2, 1),
        3: (0, 2),
    }


def test_the_weight_chooses_between_the_two() -> None:
    words = WordHits(((1, 5.0), (2, 1.0)), full_score=5.0)
    similarities = {1: 0.1, 2: 0.9}
    assert fuse(words, [(2, 0.9), (1, 0.1)], similarities, weight=0.0)[0].chunk_id == 1
    assert fuse(words, [(2, 0.9), (1, 0.1)], similarities, weight=1.0)[0].chunk_id == 2


def test_empty_and_equal_lists_are_no_trouble() -> None:
    assert fuse(WordHits(), [], {}) == []
    assert ids(WordHits(), [(1, 0.5), (2, 0.5)], {1: 0.5, 2: 0.5}) == [1, 2]


@pytest.mark.parametrize(
    ("query", "english_share", "weight"),
    [
        ("how are keys rotated", 0.95, DENSE_WEIGHT),
        ("1999-12-31", 0.95, DENSE_WEIGHT),
        ("Wie werden Schlüssel getauscht", 0.05, FOREIGN_WEIGHT),
        ("half of it", 0.2, (DENSE_WEIGHT + FOREIGN_WEIGHT) / 2),
        ("كيف يتم تدوير المفاتيح", 0.95, LEAST_WEIGHT),
        ("как gRPC", 0.95, DENSE_WEIGHT * 4 / 7),
    ],
)
def test_meaning_counts_less_the_further_from_english(query: str, english_share: float, weight: float) -> None:
    assert meaning_weight(query, english_share) == pytest.approx(weight)
