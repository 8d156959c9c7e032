"""Which trials share which worker, without Ray: what joins, what leaves, what a death means."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from hpsearch.spec import TrialConfig
from hpsearch.tuning.control import SearchControl
from hpsearch.tuning.report import LaneReports


@dataclass(frozen=True)
class Change:
    """The trials that leave a worker and those that join it; none continues if `is_over`.

    Those to `keep` will go on elsewhere: their states are written as they leave.
    """

    stop: list[int] = field(default_factory=list)
    start: list[TrialConfig] = field(default_factory=list)
    is_over: bool = False
    keep: list[int] = field(default_factory=list)


@dataclass
class _Worker:
    trials: set[int]
    last: LaneReports | None = None


class LanePool:
    """Gives trials of a control to workers that train up to `num_lanes` at once.

    A worker's death is blamed on a trial that was alone in it. Otherwise its trials continue in
    two halves, by themselves until they report, so that one that kills its workers is found.
    """

    def __init__(
        self, control: SearchControl, num_lanes: int, max_concurrent: int | None, *, measured: bool
    ) -> None:
        self._control = control
        self._num_lanes, self._max_concurrent = num_lanes, max_concurrent
        self._measured = measured
        self._workers: dict[str, _Worker] = {}
        self._halves: deque[list[int]] = deque()

    @property
    def num_workers(self) -> int:
        """Workers that have trials."""
        return len(self._workers)

    @property
    def has_halves(self) -> bool:
        """Whether trials of a worker that died wait for one."""
        return bool(self._halves)

    @property
    def is_over(self) -> bool:
        """Whether no worker begins any more: a half of one that dies would."""
        may_divide = any(len(mine.trials) > 1 for mine in self._workers.values())
        is_last = self._control.is_held or (self._control.is_over and not self._control.num_live)
        is_last = is_last or self._control.ending is not None
        return is_last and not self._halves and not may_divide

    def begin(self, worker: str) -> list[TrialConfig]:
        """Return the trials that a new worker begins with; none where there are none now."""
        if self._halves and not self._control.ending:
            numbers = self._halves.popleft()
            self._workers[worker] = _Worker(set(numbers))
            return [self._config(number) for number in numbers]
        capacity = 1 if self._measured else self._num_lanes
        trials = list(self._next_trials(capacity))
        if trials:
            self._workers[worker] = _Worker({trial.number for trial in trials})
        return trials

    def start(self, worker: str) -> None:
        """Note that a worker starts on its trials."""
        mine = self._workers.get(worker)
        # Tune starts a worker once more that none of its trials continues in
        self._start(sorted(mine.trials) if mine is not None else ())

    def take(self, worker: str, said: LaneReports) -> Change:
        """Write what a worker's trials report; returns what changes for it."""
        mine = self._workers.get(worker)
        if mine is None:
            return Change(is_over=True)
        self._note(mine, said)
        crowded = [number for number, report in said.reports if report.is_crowded]
        taken = [each for each in said.reports if not each[1].is_crowded]
        ended = self._control.take_reports(taken)
        stop = [number for (number, _), is_over in zip(taken, ended, strict=True) if is_over]
        keep = [number for number in stop if self._control.is_kept(number)]
        mine.trials -= {*stop, *crowded}
        start = [] if self._control.ending else list(self._next_trials(said.capacity, mine))
        for number in crowded:  # not before, or it would be among them
            self._control.take_back(number)
        self._start(trial.number for trial in start)
        mine.trials |= {trial.number for trial in start}
        if not mine.trials:
            del self._workers[worker]
        return Change(stop + crowded, start, is_over=not mine.trials, keep=keep)

    def lose(
        self, worker: str, reason: str, *, out_of_memory: bool = False, is_blameless: bool = False
    ) -> list[TrialConfig]:
        """Note that a worker died; returns the trials with which it is started again."""
        numbers = sorted(self._workers.pop(worker).trials)
        is_alone = len(numbers) == 1
        left = [
            number
            for number in numbers
            if not self._control.lose_worker(
                number,
                reason,
                out_of_memory=out_of_memory and is_alone,
                is_blameless=is_blameless or not is_alone,
            )
        ]
        if not left:
            return []
        middle = len(left) if is_alone or is_blameless else (len(left) + 1) // 2
        if left[middle:]:
            self._halves.append(left[middle:])
        self._workers[worker] = _Worker(set(left[:middle]))
        return [self._config(number) for number in left[:middle]]

    def give_up(self, worker: str) -> None:
        """Take back the trials of a worker that isn't started again."""
        mine = self._workers.pop(worker, None)
        for number in sorted(mine.trials) if mine is not None else ():
            if self._control.record.trials[number].outcome is None:
                self._control.take_back(number)

    def worker_of(self, number: int) -> str | None:
        """Return the worker that trains a trial."""
        return next((name for name, mine in self._workers.items() if number in mine.trials), None)

    def _next_trials(self, capacity: int, mine: _Worker | None = None) -> Iterator[TrialConfig]:
        """Hand out trials until a worker is full, or no more may be trained at once."""
        num_trials = len(mine.trials) if mine is not None else 0
        while num_trials < min(capacity, self._num_lanes) and not self._control.is_over:
            limit = self._max_concurrent
            if limit is not None and self._control.num_live >= limit:
                return
            trial = self._control.next_trial()
            if trial is None:
                return
            num_trials += 1
            yield self._control.config(trial)

    def _start(self, numbers: Iterable[int]) -> None:
        with self._control.record.batch():
            for number in numbers:
                self._control.start_attempt(number)

    def _config(self, number: int) -> TrialConfig:
        return self._control.config(self._control.record.trials[number])

    def _note(self, mine: _Worker, said: LaneReports) -> None:
        """Add what is new of a worker's counts to the record."""
        last = mine.last or LaneReports((), 1)
        mine.last = said
        self._control.record.note_lanes(
            said.num_fused - last.num_fused,
            said.num_alone - last.num_alone,
            said.reasons,
            said.speedup,
        )
