"""What a search does until code of a user's has trained its dry epoch."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping

from hpsearch.errors import nearest_names
from hpsearch.importing import is_users_file
from hpsearch.outcome import RaisedError
from hpsearch.record import Record, needs_dry_epoch, passed_dry_epoch
from hpsearch.tuning.budgets import Clock

#: seconds after which others start beside the first trial: its epochs may take hours
ALONE_S = 60.0
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')
_log = logging.getLogger(__name__)


class DryRun:
    """The time until a trial has reported the objective: what fails then, fails for all trials.

    The epoch is the first trial's own, so that one that passes costs nothing.
    """

    def __init__(self, record: Record, clock: Clock) -> None:
        self._record, self._clock = record, clock
        self._began = clock()
        self._is_said = False
        #: whether the objective is still to come
        self.is_due = needs_dry_epoch(record.spec) and passed_dry_epoch(record) is None

    def holds_back(self, live: Collection[int]) -> bool:
        """Whether other trials wait for the first."""
        if not live:
            self._began = self._clock()
        return self.is_due and bool(live) and self._clock() - self._began < ALONE_S

    def see(self, number: int, metrics: Mapping[str, float]) -> None:
        """Take note of an epoch that was reported."""
        spec = self._record.spec
        missing = [n for n in (spec.objective.metric, *spec.other_metrics) if n not in metrics]
        if self.is_due and missing and not spec.stages and not self._is_said:
            self._is_said = True
            near = nearest_names(missing[0], metrics)
            meant = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
            kind = "metric" if spec.objective.metric in metrics else "objective"
            lack = f"no {kind} {missing[0]!r} in the first report, only {', '.join(metrics)}"
            _log.warning("trial %d: %s%s", number, lack, meant)
        if spec.objective.metric in metrics:
            self.is_due = False

    def failure(self, why: str, trace: str | None, error: RaisedError | None) -> str:
        """Return why the search ends: place, cause, the user's line, what to do."""
        spec = self._record.spec
        what = spec.trainable or (spec.command and " ".join(spec.command.run))
        key = "trainable" if spec.trainable else "command" if spec.command else ""
        place = f"{key}: the dry epoch of {what}" if what else "the dry epoch"
        line = _users_line(trace) or _line_of(error)
        advice = f"no trial was counted: correct it, then `hpsearch resume {spec.name}`"
        return f"{place} failed: {why}{f' ({line})' if line else ''}; {advice}"


def _users_line(trace: str | None) -> str:
    """Return the last line of a traceback that is in the user's own code."""
    found = [match for match in _FRAME.finditer(trace or "") if is_users_file(match["file"])]
    return f"line {found[-1]['line']} of {found[-1]['file']}" if found else ""


def _line_of(error: RaisedError | None) -> str:
    if error is None or error.file is None or not is_users_file(error.file):
        return ""
    return f"line {error.line} of {error.file}"
