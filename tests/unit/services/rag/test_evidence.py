import pytest

from services.rag.evidence import Signal, signal


@pytest.mark.parametrize(
    ("similarity", "coverage", "is_evidence"),
    [
        (0.5, 0.0, True),
        (0.36, 0.2, False),
        (0.36, 0.4, True),
        (0.26, 0.4, False),
        (0.26, 0.8, True),
        (0.1, 1.0, False),
    ],
)
def test_the_less_alike_the_more_words_must_be_there(similarity: float, coverage: float, is_evidence: bool) -> None:
    assert Signal(similarity, coverage).is_evidence is is_evidence


def test_coverage_counts_content_words_in_any_form() -> None:
    assert signal("How are the keys rotated?", "A key is in rotation: rotates", 0.0).coverage == pytest.approx(0.5)
    assert signal("what is it", "anything", 0.0).coverage == 0.0
