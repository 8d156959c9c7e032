"""Whether further trials are worth their budget, by a forecast from the record (`stop_when`)."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

from hpsearch.outcome import Outcome
from hpsearch.record import OutlookNote, Record
from hpsearch.samplers import Observation
from hpsearch.samplers.outlook import outlook
from hpsearch.spec.settings import StopWhen

_log = logging.getLogger(__name__)


#: successive forecasts, after a trial each, that must agree that the rest isn't worth it: else the
#: first lucky one of many ends the search
NUM_AGREEING = 3


class Worth:
    """Asks the forecast after each trial that ended, and notes its answer in the record.

    A function of the record alone: a driver that takes over decides as the one before.
    """

    def __init__(self, record: Record, rungs: Sequence[int]) -> None:
        self._record = record
        self._rungs = rungs
        self._settings = record.spec.search
        self._asked_at = -1

    def why_stop(self, observations: Sequence[Observation]) -> str | None:
        """Say why the search should end, if the rest of its budget isn't worth it."""
        wanted = self._settings.stop_when
        num_ended = sum(trial.state != "running" for trial in observations)
        if wanted is None or num_ended == self._asked_at:
            return None
        self._asked_at = num_ended
        note = self._note(observations, num_ended, wanted)
        if note is None:
            return None
        self._record.set_outlook(note)
        if note.num_agreeing < NUM_AGREEING:
            return None
        objective = self._record.spec.objective
        reason = (
            f"stop_when: {note.told(objective.direction)}, less than {wanted.improvement_below:g} "
            f"in {objective.metric} with a probability of {note.probability:.2f}"
        )
        _log.info("%s ends: %s", self._record.name, reason)
        return reason

    def _note(
        self, observations: Sequence[Observation], num_ended: int, wanted: StopWhen
    ) -> OutlookNote | None:
        found = outlook(
            observations,
            self._record.space,
            self._rungs,
            self._record.spec.objective.direction,
            self._num_further(),
            self._settings.seed,
        )
        if found is None:
            return None
        probability = found.probability_below(wanted.improvement_below)
        num_agreeing, before = 0, self._record.outlook
        if probability >= wanted.probability:
            num_agreeing = 1
            if before is not None and before.num_agreeing:
                # A driver that takes over may ask again after the same trial.
                num_agreeing = before.num_agreeing + (num_ended > before.num_ended)
        return OutlookNote(found.num_trials, found.expected, probability, num_ended, num_agreeing)

    def _num_further(self) -> int:
        """Return how many new trials the budgets of trials and epochs leave, about."""
        trials = self._record.trials
        chosen = [
            trial for trial in trials if trial.origin is None
        ]  # users' are beside the budget
        num_tried = sum(trial.outcome is not Outcome.CANCELLED for trial in chosen)
        left = self._settings.trials - num_tried
        used = sum(len(trial.curve) for trial in trials)
        if self._settings.epochs is not None and used:
            rest = max(self._settings.epochs - used, 0)
            left = min(left, math.ceil(rest * len(trials) / used))
        return max(left, 0)
