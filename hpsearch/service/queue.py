"""Which of the queued searches start now: a pure function of what waits and what runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hpsearch.formatting import show_count


@dataclass(frozen=True)
class Waiting:
    """A search in the queue."""

    name: str
    owner: str
    priority: int
    queued_at: float


@dataclass(frozen=True)
class Quota:
    """What a user may use; None is no limit."""

    max_running: int | None = None
    gpu_hours_per_month: float | None = None


def to_start(
    waiting: Iterable[Waiting],
    running: Iterable[str],
    max_running: int,
    quotas: Mapping[str, Quota] | None = None,
    gpu_hours: Mapping[str, float] | None = None,
) -> list[str]:
    """Return the names of the searches that start now, in order.

    `running` has the owner of each search that runs, `gpu_hours` what each user used this month.
    The highest priority comes first; within it the user who runs the fewest; then who came first.

    >>> queue = [Waiting("a", "ann", 0, 1.0), Waiting("b", "ann", 0, 2.0),
    ...          Waiting("c", "bob", 0, 3.0)]
    >>> to_start(queue, ["ann"], max_running=3)
    ['c', 'a']
    """
    quotas, gpu_hours = quotas or {}, gpu_hours or {}
    counts = Counter(running)
    left = [each for each in waiting if not _is_used_up(each.owner, quotas, gpu_hours)]
    started: list[str] = []
    while counts.total() < max_running:
        allowed = [each for each in left if _may_run(each.owner, counts, quotas)]
        if not allowed:
            break
        first = min(allowed, key=lambda each: (-each.priority, counts[each.owner], each.queued_at))
        left.remove(first)
        counts[first.owner] += 1
        started.append(first.name)
    return started


def why_waiting(
    owner: str, running: Iterable[str], quota: Quota, gpu_hours: float, max_running: int
) -> str:
    """Return why a queued search does not start."""
    counts = Counter(running)
    if quota.gpu_hours_per_month is not None and gpu_hours >= quota.gpu_hours_per_month:
        return f"{owner} has used this month's {show_count(quota.gpu_hours_per_month, 'GPU-hour')}"
    if quota.max_running is not None and counts[owner] >= quota.max_running:
        return f"{owner} runs {counts[owner]} of at most {_searches(quota.max_running)}"
    return f"the service runs {counts.total()} of at most {_searches(max_running)}"


def _searches(number: int) -> str:
    return show_count(number, "search", "searches")


def _is_used_up(owner: str, quotas: Mapping[str, Quota], gpu_hours: Mapping[str, float]) -> bool:
    limit = quotas.get(owner, Quota()).gpu_hours_per_month
    return limit is not None and gpu_hours.get(owner, 0.0) >= limit


def _may_run(owner: str, counts: Mapping[str, int], quotas: Mapping[str, Quota]) -> bool:
    limit = quotas.get(owner, Quota()).max_running
    return limit is None or counts[owner] < limit
