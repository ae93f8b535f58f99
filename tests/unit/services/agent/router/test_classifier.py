"""The classifier on numbers small enough to check by thought."""

import numpy as np
import pytest

from services.agent.router.calibration import Calibration
from services.agent.router.classifier import Classifier, Evidence, Rows, probabilities
from services.agent.router.surface import surfaces

CALIBRATION = Calibration(linear_weight=6, kernel_weight=1.5, sharpness=15, surface_share=0.25)


def rows(*points: tuple[float, float, float], texts: tuple[str, ...] | None = None) -> Rows:
    vectors = np.array(points, dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Rows(vectors, surfaces(texts or ("same words",) * len(points)))


EXAMPLES = rows((1, 0, 0), (0.9, 0.1, 0), (0.9, 0, 0.1), (0, 1, 0), (0, 0, 1), (0.1, 0, 0.9))


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(EXAMPLES, np.array([3, 1, 2]), CALIBRATION)


@pytest.mark.parametrize(("point", "expected"), [((1, 0.05, 0), 0), ((0, 1, 0.05), 1), ((0.05, 0, 1), 2)])
def test_nearest_class_wins_even_with_one_example(
    classifier: Classifier, point: tuple[float, float, float], expected: int
) -> None:
    query = rows(point)
    found = classifier.probabilities(query, classifier.similarities(query))
    assert found.sum() == pytest.approx(1)
    assert found[0].argmax() == expected
    assert found[0, expected] > 0.8


def test_query_in_the_middle_is_uncertain(classifier: Classifier) -> None:
    query = rows((1, 1, 1))
    assert classifier.probabilities(query, classifier.similarities(query)).max() < 0.8


def test_many_queries_at_once_say_the_same_as_one_by_one(classifier: Classifier) -> None:
    both = rows((1, 0.2, 0), (0, 0.3, 1), texts=("same words", "quite different ones"))
    together = classifier.probabilities(both, classifier.similarities(both))
    for index in range(2):
        one = Rows(both.vectors[index : index + 1], both.surfaces[index : index + 1])
        assert classifier.probabilities(one, classifier.similarities(one))[0] == pytest.approx(
            together[index], abs=1e-4
        )


def test_surface_decides_when_there_are_no_vectors() -> None:
    texts = ("write a function", "write a class", "what is the capital", "what is the river")
    classifier = Classifier(Rows(np.zeros((4, 0), np.float32), surfaces(texts)), np.array([2, 2]), CALIBRATION)
    query = Rows(np.zeros((1, 0), np.float32), surfaces(["what is the mountain"]))
    assert classifier.probabilities(query, classifier.similarities(query))[0, 1] > 0.8


def test_surfaces_come_back_as_given(classifier: Classifier) -> None:
    assert np.array_equal(classifier.surfaces(3, 6), EXAMPLES.surfaces[3:6])


def test_evidence_is_weighted_as_the_calibration_says() -> None:
    evidence = Evidence(np.array([[0.5, 0.0]]), np.array([[0.0, 1.0]]))
    level = Calibration(linear_weight=2, kernel_weight=1, sharpness=1, surface_share=0)
    assert probabilities(evidence, level)[0] == pytest.approx([0.5, 0.5])
    assert probabilities(Evidence(np.array([[1e6, 0.0]]), np.zeros((1, 2))), level)[0] == pytest.approx([1, 0])
