"""Which of the queued searches start."""

from __future__ import annotations

import pytest

from hpsearch.service.queue import Quota, Waiting, to_start, why_waiting


def queue(*entries: tuple[str, str, int]) -> list[Waiting]:
    return [
        Waiting(name, owner, priority, float(at))
        for at, (name, owner, priority) in enumerate(entries)
    ]


def test_as_many_start_as_may_run() -> None:
    waiting = queue(("a", "ann", 0), ("b", "ann", 0), ("c", "ann", 0))
    assert to_start(waiting, ["bob"], max_running=3) == ["a", "b"]
    assert to_start(waiting, ["bob"] * 3, max_running=3) == []
    assert to_start([], [], max_running=3) == []


def test_a_higher_priority_comes_first_whoever_has_it() -> None:
    waiting = queue(("a", "ann", 0), ("b", "bob", 1), ("c", "bob", 1))
    assert to_start(waiting, ["bob"], max_running=4) == ["b", "c", "a"]


def test_users_take_turns() -> None:
    waiting = queue(("a1", "ann", 0), ("a2", "ann", 0), ("a3", "ann", 0), ("b1", "bob", 0))
    assert to_start(waiting, [], max_running=3) == ["a1", "b1", "a2"]
    assert to_start(waiting, ["ann"], max_running=3) == ["b1", "a1"]


def test_a_quota_of_one_user_does_not_hold_up_another() -> None:
    waiting = queue(("a1", "ann", 5), ("a2", "ann", 5), ("b1", "bob", 0))
    quotas = {"ann": Quota(max_running=1)}
    assert to_start(waiting, [], 4, quotas) == ["a1", "b1"]
    assert to_start(waiting, ["ann"], 4, quotas) == ["b1"]


def test_gpu_hours_of_the_month_can_be_used_up() -> None:
    waiting = queue(("a", "ann", 0), ("b", "bob", 0))
    quotas = {"ann": Quota(gpu_hours_per_month=10), "bob": Quota(gpu_hours_per_month=10)}
    assert to_start(waiting, [], 4, quotas, {"ann": 10.0, "bob": 9.9}) == ["b"]


@pytest.mark.parametrize(
    ("quota", "used", "text"),
    [
        (Quota(gpu_hours_per_month=10), 11.0, "used this month's 10 GPU-hours"),
        (Quota(max_running=1), 0.0, "ann runs 1 of at most 1 search"),
        (Quota(), 0.0, "the service runs 2 of at most 2 searches"),
    ],
)
def test_who_waits_is_told_why(quota: Quota, used: float, text: str) -> None:
    assert text in why_waiting("ann", ["ann", "bob"], quota, used, max_running=2)
