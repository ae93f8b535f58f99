"""Surface vectors: length, likeness of style, odd texts."""

import time

import numpy as np
import pytest

from services.agent.router.surface import DIMENSIONS, surfaces, words


def test_every_text_with_words_has_length_one() -> None:
    rows = surfaces(["sqrt(2)", "Wie spät ist es?", "天気はどうですか", "a"])
    assert rows.shape == (4, DIMENSIONS)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-5)


def test_blank_text_has_length_zero() -> None:
    assert not surfaces(["", " \n\t"]).any()


def test_style_outweighs_subject() -> None:
    one, other, question = surfaces(
        [
            "Write a function to add two primes.",
            "Write a function to reverse a string.",
            "When was the first prime found?",
        ]
    )
    assert one @ other > 2 * (one @ question)


def test_numbers_are_alike_and_addresses_too() -> None:
    assert words("add 12.5 and 7,000") == words("add 3 and 41")
    assert words("get https://a.example/x?y=1") == ["get", "url"]


def test_megabyte_costs_no_more_than_a_page() -> None:
    started = time.process_time()
    row = surfaces(["lorem ipsum 12 " * 80_000])
    assert np.linalg.norm(row) == pytest.approx(1, abs=1e-5)
    assert time.process_time() - started < 0.5


def test_lone_surrogate_is_just_a_sign() -> None:
    assert np.isfinite(surfaces(["broken \ud800 text"])).all()
