"""Numbers, durations and sizes as people read them."""

from __future__ import annotations

import doctest

import pytest

from hpsearch import formatting
from hpsearch.formatting import show_bytes, show_count, show_seconds


def test_examples() -> None:
    found = doctest.testmod(formatting)
    assert (found.failed, found.attempted) == (0, 8)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3599.7, "1 h 0 min")],
)
def test_no_unit_holds_a_whole_one_of_the_next(seconds: float, text: str) -> None:
    assert show_seconds(seconds) == text


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(999.4, "999 B"), (999.6, "1 kB"), (999_600, "1 MB"), (1.5e12, "1.5 TB")],
)
def test_sizes_have_three_digits(num_bytes: float, text: str) -> None:
    assert show_bytes(num_bytes) == text


def test_one_thing_is_singular() -> None:
    assert [show_count(number, "epoch") for number in range(3)] == [
        "0 epochs",
        "1 epoch",
        "2 epochs",
    ]
