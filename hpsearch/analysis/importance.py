"""How much of what made trials good each hyperparameter explains."""

from __future__ import annotations

import math
import warnings
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpsearch.process import quiet
from hpsearch.record import Outcome, Record, TrialRecord
from hpsearch.spec import Scalar

MIN_TRIALS = 10  # fewer say nothing
MANY_TRIALS = 100  # from here on shares are steady enough not to warn
NUM_RESAMPLES = 20  # of the trials, for intervals
MAX_RESAMPLED = 500  # trials; each resample of more takes long
MIN_AT_EPOCH = 8  # trials that reached the epoch whose values are compared
MIN_TOP = 5  # PED-ANOVA is unsteady with fewer in the top group, says its documentation
MIN_ACTIVE = 5  # trials that have a conditional hyperparameter


@dataclass(frozen=True)
class Importances:
    """Shares that add up to 1, the largest first, and how they came about.

    `note` says how they were measured, or why there are none. `intervals` hold nine tenths of the
    shares in resamples of the trials (bootstrap).
    """

    note: str
    shares: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    is_rough: bool = False  # of few trials: another search may give other shares
    left_out: tuple[str, ...] = ()  # hyperparameters that too few trials have


def importances(record: Record) -> Importances:
    """Measure importances by conditional PED-ANOVA (Watanabe et al., IJCAI 2023; KDD 2026).

    It asks how the configurations of the top trials differ from those of all. Trials are compared
    at one epoch, the highest that enough of them reached; those that were stopped before it or
    failed by their configuration count as worse.
    """
    names = [p.name for p in record.space.parameters if not p.distribution.single()]
    if not names:
        return Importances("Nothing was searched: the spec has no range and no choices.")
    if record.spec.search.is_population:
        return Importances(
            "Members of a population inherit weights and hyperparameters: what made them good "
            "can't be told from their values."
        )
    judged = [trial for trial in record.trials if _is_judged(record, trial)]
    if len(judged) < MIN_TRIALS:
        return Importances(
            f"Importances need {MIN_TRIALS} trials with a result; there are {len(judged)}."
        )
    num_top = max(MIN_TOP, math.ceil(len(judged) / 10))
    enough = max(MIN_AT_EPOCH, num_top)
    found = _comparable_epoch(record, judged, enough)
    if found is None:
        return Importances(f"Importances need an epoch that {enough} trials reached.")
    epoch, losses = found
    # A trial that was satisfied sooner is neither better nor worse.
    judged = [t for t in judged if t.number in losses or t.outcome is not Outcome.COMPLETED]
    counts = {name: sum(name in trial.params for trial in judged) for name in names}
    measured = [name for name in names if counts[name] >= MIN_ACTIVE]
    compared = _compared(record, judged, losses, measured)
    shares = _shares(compared, measured, num_top)
    if not shares:
        return Importances("The best trials' hyperparameters do not differ from the others'.")
    intervals = _intervals(compared, measured, num_top)
    told = f" Intervals: nine tenths of {NUM_RESAMPLES} resamples of the trials."
    return Importances(
        f"What sets the best {num_top} trials at epoch {epoch} apart from all {len(judged)} "
        "(PED-ANOVA); trials that did not reach it count as worse."
        + (" With so few trials it is a rough estimate." if len(judged) < MANY_TRIALS else "")
        + (told if intervals else ""),
        shares,
        intervals,
        len(judged) < MANY_TRIALS,
        tuple(name for name in names if name not in measured),
    )


def _is_judged(record: Record, trial: TrialRecord) -> bool:
    """Whether a trial's end says how good it is; one that a budget cut off could be anything."""
    if trial.outcome is None:
        return False
    return (
        trial.outcome is Outcome.COMPLETED
        or trial.outcome.is_bad_configuration
        or trial.stopped_by is not None
    )


def _comparable_epoch(
    record: Record, trials: list[TrialRecord], enough: int
) -> tuple[int, dict[int, float]] | None:
    """Return the highest epoch with values of enough trials, and the losses there by trial."""
    sign = -1.0 if record.spec.objective.direction == "maximize" else 1.0
    losses: dict[int, dict[int, float]] = {}
    for trial in trials:
        for epoch, value in trial.metric(record.spec.objective.metric).items():
            losses.setdefault(epoch, {})[trial.number] = sign * value
    epochs = [epoch for epoch, values in losses.items() if len(values) >= enough]
    return (max(epochs), losses[max(epochs)]) if epochs else None


def _compared(
    record: Record, trials: list[TrialRecord], losses: dict[int, float], names: list[str]
) -> list[FrozenTrial]:
    """Return the trials as Optuna has them; only the order of their losses matters."""
    distributions = record.space.distributions
    worst = max(losses.values()) + 1.0
    frozen = []
    for trial in trials:
        params = {name: trial.params[name] for name in names if name in trial.params}
        known = {name: distributions[name] for name in params}
        frozen.append(_frozen(trial.number, losses.get(trial.number, worst), params, known))
    return frozen


def _shares(trials: list[FrozenTrial], names: list[str], num_top: int) -> dict[str, float]:
    """Return the shares, the largest first; none where nothing sets the best trials apart."""
    # a resample may have none of the few trials with a conditional hyperparameter
    names = [name for name in names if any(name in trial.params for trial in trials)]
    with _quiet():
        # Half a trial less, so that rounding can't put one more trial into the top group.
        evaluator = PedAnovaImportanceEvaluator(target_quantile=(num_top - 0.5) / len(trials))
        raw = evaluator.evaluate(_Study(trials), params=names)
    total = sum(raw.values())
    return {name: share / total for name, share in raw.items()} if total > 0 else {}


def _intervals(
    trials: list[FrozenTrial], names: list[str], num_top: int
) -> dict[str, tuple[float, float]]:
    """Return the 5th and the 95th percentile of each share over resamples of the trials."""
    if len(trials) > MAX_RESAMPLED:
        return {}
    rng = np.random.default_rng(0)
    found = []
    for _ in range(NUM_RESAMPLES):
        drawn = [trials[i] for i in rng.integers(0, len(trials), len(trials))]
        shares = _shares(drawn, names, num_top)
        found.append([shares.get(name, 0.0) for name in names])
    low, high = np.percentile(found, [5, 95], axis=0)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(names)}


class _Study(optuna.Study):
    """A study of trials that are there: to add them one by one takes as long as all else."""

    def __init__(self, trials: list[FrozenTrial]) -> None:
        storage = optuna.storages.InMemoryStorage()
        storage.create_new_study([StudyDirection.MINIMIZE], "importances")
        super().__init__("importances", storage)
        self._given = trials

    def get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        return self._given


def _frozen(
    number: int,
    loss: float,
    params: dict[str, Scalar],
    distributions: dict[str, BaseDistribution],
) -> FrozenTrial:
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=TrialState.COMPLETE,
        value=loss,
        params=params,
        distributions=distributions,
        datetime_start=None,
        datetime_complete=None,
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna from announcing the study that only lives here, and from warning of few
    trials."""
    with quiet("optuna.storages._in_memory"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
