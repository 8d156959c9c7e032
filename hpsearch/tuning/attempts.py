"""The trials that are handed out: since when workers train them, and how often these died."""

from __future__ import annotations

import math
from collections.abc import Collection

from hpsearch.tuning.budgets import Clock

#: seconds that a trial's worker may take to end its epoch, once a user has stopped the trial
STOP_PATIENCE_S = 10.0


class Attempts:
    """What is known of the workers of trials, by the trials' numbers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began: dict[int, float] = {}  # inf: it waits for a worker
        self._deaths: dict[int, int] = {}
        self._stopped: dict[int, float] = {}  # by users, until their workers report → when

    @property
    def live(self) -> Collection[int]:
        """The trials that have been handed out and have not ended, as they are at any time."""
        return self._began.keys()

    def hand_out(self, number: int) -> None:
        """Note that a trial waits for a worker."""
        self._began[number] = math.inf

    def begin(self, number: int) -> None:
        """Note that a worker starts on a trial."""
        self._began[number] = self._clock()

    def end(self, number: int) -> None:
        """Note that no worker trains a trial any more."""
        self._began.pop(number, None)

    def stop(self, number: int) -> None:
        """Note that a user has stopped a trial, which a worker may still train."""
        if math.isfinite(self._began.pop(number, math.inf)):
            self._stopped[number] = self._clock()

    def hear_of(self, number: int) -> None:
        """Note that a trial's worker has reported, or has died."""
        self._stopped.pop(number, None)

    def live_on(self, number: int) -> None:
        """Note that a trial's worker has trained a new epoch."""
        self._deaths.pop(number, None)

    def die(self, number: int) -> int:
        """Note that a trial's worker died; returns how many did so without a new epoch."""
        self._deaths[number] = self._deaths.get(number, 0) + 1
        return self._deaths[number]

    def overdue(self, limit: float) -> list[int]:
        """Return the trials that have been trained for longer than so many seconds."""
        now = self._clock()
        return [number for number, since in self._began.items() if now - since > limit]

    def slow_to_stop(self) -> list[int]:
        """Return, once each, the trials that users stopped, but whose workers go on."""
        now = self._clock()
        slow = [each for each, since in self._stopped.items() if now - since > STOP_PATIENCE_S]
        for number in slow:
            del self._stopped[number]
        return slow
