"""What templates know of a search in the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import FloatDistribution, IntDistribution

from hpsearch.analysis.diagnosis import Diagnosis, at_work, diagnoses_of
from hpsearch.analysis.leaders import leaders
from hpsearch.formatting import show, show_outcome
from hpsearch.outcome import Outcome
from hpsearch.record import Record, TrialRecord
from hpsearch.service.database.search_table import ACTIVE, ENDED
from hpsearch.service.database.tokens import User
from hpsearch.service.permissions import allowed_actions

#: trials of a page that can be acted on: those that run, and those that lead
MAX_RUNNING, MAX_LEADING = 8, 4


@dataclass(frozen=True)
class ShownTrial:
    """A trial that a user may act on; `params` are its hyperparameters by name."""

    number: int
    outcome: str
    facts: str
    sentences: tuple[str, ...]
    params: tuple[tuple[str, str], ...]
    is_running: bool
    can_extend: bool
    #: the epoch to which it is trained unless a user wants more
    max_epochs: int


def shown_trials(record: Record) -> list[ShownTrial]:
    """Return the trials that run, those that are furthest first, and those that lead."""
    running = at_work(record)[:MAX_RUNNING]
    others = [trial for trial in leaders(record) if trial not in running]
    trials = [*running, *others[:MAX_LEADING]] if record.state == "running" else []
    said = diagnoses_of(record, trials)
    return [_shown(record, trial, said.get(trial.number, [])) for trial in trials]


def ranges(record: Record) -> list[tuple[str, str, str]]:
    """Return the ranges that can be narrowed: name, low and high."""
    found = record.space.distributions.items()
    if record.spec.search.is_population:
        return []
    return [
        (name, show(each.low), show(each.high))
        for name, each in found
        if isinstance(each, IntDistribution | FloatDistribution)
    ]


def _shown_params(trial: TrialRecord) -> tuple[tuple[str, str], ...]:
    return tuple((name, show(value)) for name, value in trial.params.items())


def _shown(record: Record, trial: TrialRecord, said: Sequence[Diagnosis]) -> ShownTrial:
    longest = record.max_epochs(trial)
    facts = f"epoch {trial.epochs} of {longest}, "
    facts += f"{record.spec.objective.metric} {show(record.objective(trial))}"
    return ShownTrial(
        trial.number,
        "paused" if trial.paused else show_outcome(trial.outcome),
        facts,
        tuple(map(str, said)),
        () if record.spec.search.is_population else _shown_params(trial),
        trial.outcome is None,
        trial.outcome in (None, Outcome.COMPLETED, Outcome.STOPPED_EARLY, Outcome.STOPPED_BY_USER)
        and not trial.ended_itself
        and record.continuation(trial.number) is None
        and not record.spec.search.is_population,
        longest,
    )


@dataclass(frozen=True)
class ShownSearch:
    """A search, as one user sees it; `row` has what lists of the API have."""

    row: Mapping[str, Any]
    user: User

    @property
    def summary(self) -> dict[str, Any]:
        """The numbers of its record, as the reconciler last saw them; few before it starts."""
        summary: dict[str, Any] = self.row["summary"]
        return summary

    @property
    def is_active(self) -> bool:
        """Whether it runs, or is about to or to end."""
        return self.row["state"] in ACTIVE

    @property
    def best(self) -> tuple[float, str] | None:
        """The best value, or before there is one the leading one, and what to say of it."""
        if (value := self.summary.get("best_value")) is not None:
            return value, ""
        if (value := self.summary.get("leader_value")) is not None:
            return value, f"after {self.summary.get('leader_epochs') or 'some'} epochs"
        return None

    @property
    def actions(self) -> tuple[str, ...]:
        """What the user may do with it now."""
        row = self.row
        recorded = self.summary.get("state")
        is_paused = bool(self.summary.get("paused_by"))
        about = (row["name"], row["owner"], row["state"], recorded, is_paused)
        allowed = allowed_actions(self.user, *about)
        is_ending = row["desired"] not in ("queued", "running")  # it has been asked to stop
        return tuple(action for action in allowed if not (action == "stop" and is_ending))


def states(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the number of searches in each state, those that may still change first."""
    return {state: counts.get(state, 0) for state in ("queued", *ACTIVE, *ENDED)}
