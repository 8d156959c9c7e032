"""The record of a search: all that happened, in one Optuna study, written before it is acted on.

Everything else (MLflow runs, reports, status, the rungs of early stopping) is derived from it.
A search has one writer, its driver; anyone may read. The study holds, as attributes: of the
study, the spec, facts about the run and its state; of a trial, its resolved values, attempts,
the metrics of each epoch (`epoch:3`), its checkpoint, and how it ended.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpsearch.errors import RecordError, SearchExistsError, SearchNotFoundError
from hpsearch.outcome import Outcome as Outcome
from hpsearch.space import SearchSpace
from hpsearch.spec import Scalar, SearchSpec, TrialConfig, draft_spec

#: What Optuna is told. PRUNED teaches its samplers, FAIL they ignore.
OPTUNA_STATES = {
    Outcome.COMPLETED: TrialState.COMPLETE,
    Outcome.STOPPED_EARLY: TrialState.PRUNED,
    Outcome.DIVERGED: TrialState.PRUNED,
    Outcome.OUT_OF_MEMORY: TrialState.PRUNED,
    Outcome.BAD_CONFIGURATION: TrialState.PRUNED,
    Outcome.FAILED: TrialState.FAIL,
    Outcome.CANCELLED: TrialState.FAIL,
}

SearchState = Literal["running", "finished", "stopped", "failed"]


@dataclass
class TrialRecord:
    """What is known of one trial. Times are seconds since 1970; epochs count from 1."""

    number: int
    params: dict[str, Scalar]  # by name of the search space's parameter; active ones only
    values: dict[str, Any]  # the trial sections, resolved
    started_at: float
    attempts: int = 0
    curve: dict[int, dict[str, float]] = field(default_factory=dict)  # metrics by epoch
    reported_at: dict[int, float] = field(default_factory=dict)
    checkpoint: str | None = None  # path relative to the search's folder
    outcome: Outcome | None = None  # None while it runs
    reason: str | None = None
    traceback: str | None = None
    ended_at: float | None = None

    @property
    def epochs(self) -> int:
        """The newest epoch that was reported; 0 before the first."""
        return max(self.curve, default=0)

    def metric(self, name: str) -> dict[int, float]:
        """Return the finite values of a metric by epoch."""
        return {
            epoch: metrics[name]
            for epoch, metrics in sorted(self.curve.items())
            if name in metrics and math.isfinite(metrics[name])
        }

    def last(self, name: str) -> float | None:
        """Return the newest finite value of a metric."""
        values = self.metric(name)
        return values[max(values)] if values else None


class Record:
    """The record of one search, mirrored in memory."""

    def __init__(self, storage: BaseStorage, study_id: int, name: str) -> None:
        self._storage = storage
        self._study_id = study_id
        self._trial_ids: dict[int, int] = {}
        self.name = name
        attrs = storage.get_study_user_attrs(study_id)
        draft = draft_spec(attrs["spec"], attrs["folder"])
        if draft.spec is None:
            raise RecordError(f"{name}: its spec can't be read: {draft.problems}")
        self.spec: SearchSpec = draft.spec
        self.facts: dict[str, Any] = attrs["facts"]
        self.created_at: float = attrs["created_at"]
        self.state: SearchState = attrs["state"]
        self.reason: str | None = attrs.get("reason")
        self.ended_at: float | None = attrs.get("ended_at")
        self.result: dict[str, Any] = attrs.get("result", {})
        self.space = SearchSpace.of(self.spec)
        self.trials: list[TrialRecord] = []
        for frozen in storage.get_all_trials(study_id, deepcopy=False):
            self._trial_ids[frozen.number] = frozen._trial_id
            self.trials.append(_trial_record(frozen))

    @classmethod
    def create(
        cls, path: Path, spec: SearchSpec, facts: Mapping[str, Any] | None = None
    ) -> Record:
        """Begin the record of a new search. `facts` are versions and such, as plain values."""
        storage = _open_journal(path)
        direction = StudyDirection[spec.objective.direction.upper()]
        try:
            study_id = storage.create_new_study([direction], spec.name)
        except optuna.exceptions.DuplicatedStudyError as error:
            raise SearchExistsError(f"{path} holds a search named {spec.name!r}") from error
        for key, value in {
            "spec": spec.to_dict(),
            "folder": str(Path(spec.folder).resolve()),
            "facts": dict(facts or {}),
            "created_at": time.time(),
            "state": "running",
        }.items():
            storage.set_study_user_attr(study_id, key, value)
        return cls(storage, study_id, spec.name)

    @classmethod
    def open(cls, path: Path, name: str) -> Record:
        """Read the record of a search."""
        if not path.is_file():
            raise SearchNotFoundError(f"no search {name!r}: there is no record {path}")
        storage = _open_journal(path)
        try:
            study_id = storage.get_study_id_from_name(name)
            return cls(storage, study_id, name)
        except KeyError as error:
            raise RecordError(f"{path} holds no complete record of {name!r}") from error

    @property
    def study(self) -> optuna.Study:
        """The study, for Optuna's own analysis; only this class writes to it."""
        return optuna.load_study(
            study_name=self.name, storage=self._storage, sampler=optuna.samplers.RandomSampler()
        )

    def config(self, trial: TrialRecord) -> TrialConfig:
        """Return all that a worker needs to train a trial."""
        return TrialConfig(
            number=trial.number,
            seed=self.spec.search.seed,
            max_epochs=self.spec.max_epochs,
            values=trial.values,
            metric=self.spec.objective.metric,
            trainable=self.spec.trainable,
            precision=self.spec.precision,
            compile=self.spec.compile,
            cpu=self.spec.resources.cpu,
            gpu=self.spec.resources.gpu,
            folder=self.spec.folder,
        )

    def objective(self, trial: TrialRecord) -> float | None:
        """Return the newest value of the search's metric."""
        return trial.last(self.spec.objective.metric)

    def rank(self, trials: Iterable[TrialRecord]) -> list[TrialRecord]:
        """Sort trials by their newest objective, best first; those without one are left out."""
        sign = -1.0 if self.spec.objective.direction == "maximize" else 1.0
        rated = [
            (sign * value, trial.number, trial)
            for trial in trials
            if (value := self.objective(trial)) is not None
        ]
        return [trial for *_, trial in sorted(rated, key=lambda entry: entry[:2])]

    def ranked(self) -> list[TrialRecord]:
        """Return the trials that trained their full budget, best first."""
        return self.rank(trial for trial in self.trials if trial.outcome is Outcome.COMPLETED)

    @property
    def best(self) -> TrialRecord | None:
        """The best of the trials that trained their full budget."""
        return next(iter(self.ranked()), None)

    def running(self) -> Iterator[TrialRecord]:
        """Yield the trials that have not ended."""
        return (trial for trial in self.trials if trial.outcome is None)

    def add_trial(self, params: Mapping[str, Scalar]) -> TrialRecord:
        """Write a configuration before its trial starts; the trial gets the next number."""
        distributions = self.space.distributions
        values = self.space.resolve(params)
        now = time.time()
        template = create_trial(
            state=TrialState.RUNNING,
            params=dict(params),
            distributions={name: distributions[name] for name in params},
            user_attrs={"values": values, "started_at": now},
        )
        trial_id = self._storage.create_new_trial(self._study_id, template)
        trial = TrialRecord(len(self.trials), dict(params), values, now)
        self._trial_ids[trial.number] = trial_id
        self.trials.append(trial)
        return trial

    def start_attempt(self, number: int) -> None:
        """Note that a trial starts, for the first time or again."""
        trial = self.trials[number]
        trial.attempts += 1
        self._set(number, "attempts", trial.attempts)

    def report(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Write the metrics of an epoch, before early stopping or MLflow sees them."""
        trial = self.trials[number]
        now = time.time()
        self._set(number, f"epoch:{epoch}", {"metrics": dict(metrics), "at": now})
        value = metrics.get(self.spec.objective.metric)
        if value is not None and math.isfinite(value):
            self._storage.set_trial_intermediate_value(self._trial_ids[number], epoch, value)
        trial.curve[epoch] = dict(metrics)
        trial.reported_at[epoch] = now

    def set_checkpoint(self, number: int, path: str) -> None:
        """Note where a running trial's newest checkpoint lies, relative to the search's folder."""
        self.trials[number].checkpoint = path
        self._set(number, "checkpoint", path)

    def end_trial(
        self,
        number: int,
        outcome: Outcome,
        reason: str | None = None,
        traceback: str | None = None,
    ) -> None:
        """Write how a trial ended, before its resources go to another."""
        trial = self.trials[number]
        trial.ended_at = time.time()
        end = {"outcome": outcome.value, "reason": reason, "at": trial.ended_at}
        self._set(number, "end", {**end, "traceback": traceback})
        value = self.objective(trial)
        values = [value] if outcome is Outcome.COMPLETED and value is not None else None
        self._storage.set_trial_state_values(
            self._trial_ids[number], OPTUNA_STATES[outcome], values
        )
        trial.reason, trial.traceback, trial.outcome = (
            reason,
            traceback,
            outcome,
        )  # read by threads

    def end(self, state: SearchState, reason: str | None = None) -> None:
        """Write how the search ended."""
        self.ended_at, self.reason, self.state = time.time(), reason, state
        for key in ("ended_at", "reason", "state"):
            self._storage.set_study_user_attr(self._study_id, key, getattr(self, key))

    def set_result(self, **result: Any) -> None:
        """Note what the search found at its end, such as the best trial's test metrics."""
        self.result |= result
        self._storage.set_study_user_attr(self._study_id, "result", self.result)

    def _set(self, number: int, key: str, value: Any) -> None:
        self._storage.set_trial_user_attr(self._trial_ids[number], key, value)


def _open_journal(path: Path) -> BaseStorage:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return JournalStorage(JournalFileBackend(str(path)))


def _trial_record(frozen: FrozenTrial) -> TrialRecord:
    attrs = frozen.user_attrs
    trial = TrialRecord(
        number=frozen.number,
        params=dict(frozen.params),
        values=attrs["values"],
        started_at=attrs["started_at"],
        attempts=attrs.get("attempts", 0),
        checkpoint=attrs.get("checkpoint"),
    )
    for key, entry in attrs.items():
        if key.startswith("epoch:"):
            epoch = int(key.removeprefix("epoch:"))
            trial.curve[epoch], trial.reported_at[epoch] = entry["metrics"], entry["at"]
    if frozen.state.is_finished():
        end = attrs["end"]
        trial.outcome, trial.reason = Outcome(end["outcome"]), end["reason"]
        trial.traceback, trial.ended_at = end["traceback"], end["at"]
    return trial
