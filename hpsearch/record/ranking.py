"""Which trials of a record are better: by objectives, constraints and final seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable

from hpsearch.outcome import Outcome
from hpsearch.pareto import Standing, pareto_front
from hpsearch.record.final import FinalNote
from hpsearch.record.shapes import SearchState
from hpsearch.record.trials import TrialRecord
from hpsearch.spec import Constraint, SearchSpec, sign_of


class Ranking:
    """The order of a record's trials."""

    spec: SearchSpec
    trials: list[TrialRecord]
    final: FinalNote | None
    state: SearchState

    def objective(self, trial: TrialRecord) -> float | None:
        """Return the newest value of the search's metric."""
        return trial.last(self.spec.objective.metric)

    def objectives(self, trial: TrialRecord) -> tuple[float, ...] | None:
        """Return the newest values of all objectives; None where one has none."""
        values = [trial.last(each.metric) for each in self.spec.all_objectives]
        return None if None in values else tuple(value for value in values if value is not None)

    def standing(self, trial: TrialRecord, epoch: int | None = None) -> Standing | None:
        """Return what a trial is compared by, with the newest values up to an epoch; by default
        the last. None before each objective has a value."""
        values = [trial.last(each.metric, epoch) for each in self.spec.all_objectives]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            return None
        signs = [sign_of(each.direction) for each in self.spec.all_objectives]
        scores = tuple(sign * value for sign, value in zip(signs, known, strict=True))
        broken = (-margin for margin in self.margins(trial, epoch) if not margin >= 0.0)
        return Standing(scores, sum(math.inf if math.isnan(each) else each for each in broken))

    def margins(self, trial: TrialRecord, epoch: int | None = None) -> tuple[float, ...]:
        """Return how far a trial lies within each constraint, as `standing`; NaN where the metric
        has no value."""
        found = [(each, trial.last(each.metric, epoch)) for each in self.spec.constraints]
        return tuple(math.nan if value is None else each.margin(value) for each, value in found)

    def broken(self, trial: TrialRecord, epoch: int | None = None) -> list[Constraint]:
        """Return the constraints that a trial breaks, or has no value of."""
        margins = zip(self.spec.constraints, self.margins(trial, epoch), strict=True)
        return [constraint for constraint, margin in margins if not margin >= 0.0]

    def pareto_front(self, trials: Iterable[TrialRecord] | None = None) -> list[TrialRecord]:
        """Return the completed trials that keep all constraints and that no other beats in every
        objective; the best in the first objective leads."""
        among = self.trials if trials is None else trials
        completed = [trial for trial in among if trial.outcome is Outcome.COMPLETED]
        found = [(trial, self.standing(trial)) for trial in completed]
        rated = [(trial, standing) for trial, standing in found if standing is not None]
        front = pareto_front([standing for _, standing in rated])
        return [rated[index][0] for index in front]

    def rank(self, trials: Iterable[TrialRecord]) -> list[TrialRecord]:
        """Sort trials by their newest objective, best first; those without one are left out.

        Those that break constraints come last; with several objectives those that no other
        beats in every one come first, and each of both by the first objective.
        """
        sign = -sign_of(self.spec.objective.direction)
        rated = [
            (sign * value, trial.number, trial)
            for trial in trials
            if (value := self.objective(trial)) is not None
        ]
        ordered = [trial for *_, trial in sorted(rated, key=lambda entry: entry[:2])]
        return ordered if self.spec.is_plain else self._by_standing(ordered)

    def _by_standing(self, trials: list[TrialRecord]) -> list[TrialRecord]:
        found = [(trial, self.standing(trial)) for trial in trials]
        rated = [(trial, standing) for trial, standing in found if standing is not None]
        front = set(pareto_front([standing for _, standing in rated]))
        places = {
            trial.number: (not standing.is_feasible, index not in front)
            for index, (trial, standing) in enumerate(rated)
        }
        return sorted(trials, key=lambda trial: places.get(trial.number, (True, True)))

    def ranked(self) -> list[TrialRecord]:
        """Return the completed trials, best first."""
        return self.rank(trial for trial in self.trials if trial.outcome is Outcome.COMPLETED)

    @property
    def best(self) -> TrialRecord | None:
        """The best of the completed trials that keep the constraints: by several seeds, once those
        were trained; with several objectives the one of the Pareto front that is best in the
        first."""
        if not self.spec.is_plain:
            return next(iter(self.pareto_front()), None)
        if self.final is not None and self.final.best is not None:
            return self.trials[self.final.best.trial]
        return next(iter(self.ranked()), None)

    def finalists(self, among: Iterable[TrialRecord] | None = None) -> list[TrialRecord]:
        """Return the completed trials to train again with new seeds (`search.final`), best first:
        one a configuration."""
        wanted = self.spec.search.final
        ranked = self.ranked() if among is None else self.rank(among)
        by_params = {tuple(sorted(trial.params.items())): trial for trial in reversed(ranked)}
        return [*reversed(by_params.values())][: 0 if wanted is None else wanted.top]

    def members(self) -> list[TrialRecord]:
        """Return the completed trials whose mean is to be registered (`search.ensemble`), best
        first."""
        wanted = self.spec.search.ensemble
        return [] if wanted is None else self.ranked()[: wanted.top]

    def no_ensemble(self) -> str:
        """Say why a search has no ensemble, to follow its name."""
        if self.spec.search.ensemble is None:
            return "has no ensemble: search.ensemble asks for one"
        if self.state == "finished" and len(self.members()) < 2:
            return "has no ensemble: fewer than two trials were trained in full"
        if self.state == "finished":  # its driver makes it, or died before
            return "has no ensemble yet: `hpsearch resume` makes it, unless that is under way"
        return "has no ensemble yet: it is made once the search finishes"

    def exported(self) -> list[TrialRecord]:
        """Return the trials whose models are registered, the best first: it alone, or with
        several objectives all of the Pareto front."""
        if self.spec.objectives:
            return self.pareto_front()
        return [] if self.best is None else [self.best]

    def kept(self, among: Iterable[TrialRecord] | None = None) -> list[TrialRecord]:
        """Return the ended trials whose checkpoints the search keeps, best first.

        With several objectives these are all of the Pareto front, however many.
        """
        trials = self.trials if among is None else among
        ranked = self.rank(trial for trial in trials if trial.outcome is Outcome.COMPLETED)
        num_front = len(self.pareto_front(ranked)) if self.spec.objectives else 0
        search = self.spec.search
        num_members = 0 if search.ensemble is None else search.ensemble.top
        kept = ranked[: max(search.keep_checkpoints, num_front, num_members)]
        if self.final is not None and self.final.best is not None:
            also = [trial for trial in ranked if trial.number == self.final.best.trial]
        else:
            also = self.finalists(ranked)
        return [*kept, *(trial for trial in also if trial not in kept)]
