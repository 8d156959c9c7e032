"""What an act is called."""

from __future__ import annotations

from hpsearch.record import Act


def test_a_range_that_no_driver_has_narrowed_yet_has_the_ends_that_were_given() -> None:
    act = Act("1", "ann", 0.0, "narrow", parameter="lr", high=0.1)
    assert act.told == "lr to 0.1"


def test_a_narrowed_range_has_its_old_ends() -> None:
    ends = {"low": 0.1, "high": 0.5, "old_low": 0.0, "old_high": 1.0}
    assert Act("1", "ann", 0.0, "narrow", parameter="x", **ends).told == (
        "x from 0.1 to 0.5, before 0 to 1"
    )
