"""What users did to the search, taken into its record and done there: each exactly once.

An act is written to the record before anything acts on it. What it changes there can be seen from
the record too, so that a driver that dies in between leaves the rest to the next one.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from hpsearch.acts import pending, refusal, withdraw
from hpsearch.acts.checks import clone_params, narrowed
from hpsearch.outcome import Outcome
from hpsearch.record import Act, Goal, Origin, Record, TrialRecord
from hpsearch.runs import SearchFolder
from hpsearch.training.checkpoints import CheckpointStore

_log = logging.getLogger(__name__)


class UserActs:
    """The acts of one search, whose requests lie in `folder`: without it there are none."""

    def __init__(self, record: Record, checkpoints: Path, folder: SearchFolder | None) -> None:
        self._record = record
        self._checkpoints = checkpoints
        self._folder = folder

    def take(self, why_not: str | None = None) -> Iterator[Act]:
        """Take the acts that users asked for into the record, and yield those to be done.

        `why_not` is why no act can be done any more.
        """
        if self._folder is None:
            return
        known = {act.id for act in self._record.acts}
        for request in pending(self._folder):
            if request.id not in known:
                act, refused = refusal(self._record, request)
                taken = replace(act, taken_at=self._record.now(), refused=why_not or refused)
                self._record.note_act(taken)
                _log.info("%s: %s by %s%s", self._record.name, taken.told, taken.user, _no(taken))
                if taken.refused is None:
                    self.write(taken)
                    yield taken
            withdraw(self._folder, request.id)

    def write_all(self) -> None:
        """Write what acts change in the record, as far as a driver that died hasn't."""
        acts = self._record.taken_acts
        for act in acts:
            self.write(act)
        if any(act.action == "narrow" for act in acts):
            self._write_spec()

    def write(self, act: Act) -> None:
        """Write what an act changes in the record; twice is as once."""
        match act.action:
            case "stop_trial":
                self._stop(act)
            case "extend_trial":
                self._extend(act)
            case "clone_trial":
                if self.made_by(act) is None:
                    assert act.trial is not None
                    params = clone_params(self._record, act)
                    self._record.add_trial(params, origin=Origin(act.id, act.trial))
            case "narrow":
                self._narrow(act)
            case "pause" | "go_on":
                pass  # the act itself says it

    def made_by(self, act: Act) -> TrialRecord | None:
        """Return the trial that an act added."""
        trials = self._record.trials
        return next((t for t in trials if t.origin is not None and t.origin.act == act.id), None)

    def _stop(self, act: Act) -> None:
        assert act.trial is not None
        if self._record.trials[act.trial].outcome is None:
            note = f"stopped by {act.user}"
            self._record.end_trial(act.trial, Outcome.STOPPED_BY_USER, note)

    def _extend(self, act: Act) -> None:
        assert act.trial is not None and act.to_epoch is not None
        trial = self._record.trials[act.trial]
        if self._is_superseded(act, trial.goal) or self.made_by(act) is not None:
            return
        if trial.outcome is None:
            since = trial.epochs if trial.goal is None else trial.goal.since
            self._record.set_goal(trial.number, Goal(act.id, act.to_epoch, since))
            if trial.paused:
                self._record.set_paused(trial.number, False)
        else:
            self._continue(trial, act)

    def _is_superseded(self, act: Act, goal: Goal | None) -> bool:
        """Whether a goal is this act's, or that of a later one."""
        order = {each.id: place for place, each in enumerate(self._record.acts)}
        return goal is not None and order.get(goal.act, -1) >= order[act.id]

    def _continue(self, trial: TrialRecord, act: Act) -> None:
        """Add a trial that goes on where an ended one was, from its checkpoint if that is kept."""
        assert act.to_epoch is not None
        store = CheckpointStore(self._checkpoints, trial.number)
        newest, epochs = store.newest(), 0
        if newest is not None and trial.checkpoint is not None:
            epochs = min(int(newest.stem.removeprefix("epoch-")), trial.epochs)
            copy = CheckpointStore(self._checkpoints, len(self._record.trials)).folder
            shutil.copytree(store.folder, copy, symlinks=True, dirs_exist_ok=True)
        origin, goal = Origin(act.id, trial.number, epochs), Goal(act.id, act.to_epoch, epochs)
        added = self._record.add_trial(trial.params, origin=origin, goal=goal)
        if epochs:
            newest = CheckpointStore(self._checkpoints, added.number).newest()
            assert newest is not None
            place = str(newest.relative_to(self._checkpoints))
            self._record.set_checkpoint(added.number, place)

    def _narrow(self, act: Act) -> None:
        assert act.parameter is not None and act.low is not None and act.high is not None
        now = self._record.space.distributions[act.parameter]
        low, high = getattr(now, "low", act.low), getattr(now, "high", act.high)
        if low <= act.low and act.high <= high and (low, high) != (act.low, act.high):
            self._record.change_space(narrowed(self._record.spec, act))
            self._write_spec()

    def _write_spec(self) -> None:
        if self._folder is not None:
            self._folder.write_spec(self._record.spec)


def _no(act: Act) -> str:
    return "" if act.refused is None else f", refused: {act.refused}"
