"""What a search may use, and whether it has."""

from __future__ import annotations

from collections.abc import Callable

from hpsearch.formatting import show_count, show_seconds
from hpsearch.record import Record

#: seconds, of which only differences count
Clock = Callable[[], float]


class Budgets:
    """The budgets of a search but its trials: time, epochs, GPU-hours."""

    def __init__(self, record: Record, clock: Clock) -> None:
        self._record = record
        self._settings = record.spec.search
        self._clock = clock
        self.restart_clock()
        self._epochs = 0

    def restart_clock(self) -> None:
        """Count time from what the record has: that of earlier drivers, without pauses."""
        self._started = self._clock() - self._record.seconds_used(self._record.now())

    def count_epochs(self, number: int) -> str | None:
        """Count epochs that were trained; says why the search must end, if it must."""
        self._epochs += number
        budget = self._settings.epochs
        if budget is None or self._epochs < budget:
            return None
        return f"budget of {show_count(budget, 'epoch')} used"

    def time_used(self) -> str | None:
        """Say why the search must end, if its time is over."""
        limit = self._settings.time_limit
        if limit is None or self._clock() - self._started < limit:
            return None
        return f"time_limit of {show_seconds(limit)} reached"

    def gpu_time_used(self) -> str | None:
        """Say why the search must end, if its trials had GPUs for as long as they may."""
        budget = self._settings.gpu_hours
        if budget is None or self._record.gpu_seconds() < budget * 3600:
            return None
        return f"budget of {budget:g} GPU-hours used"
