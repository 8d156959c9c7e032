"""What can be asked of a record."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import optuna
from optuna.storages import BaseStorage

from hpsearch.code_snapshot import snapshot_name
from hpsearch.errors import RecordError, SearchNotFoundError
from hpsearch.outcome import DefaultResult
from hpsearch.record import earlier_versions
from hpsearch.record.acts import ACT_PREFIX, Act, read_act
from hpsearch.record.ensemble import EnsembleNote
from hpsearch.record.final import FinalNote
from hpsearch.record.notes import DataNotes, LaneNotes, LrCurve, LrRangeNote, OutlookNote
from hpsearch.record.places import found_folder, search_folder
from hpsearch.record.ranking import Ranking
from hpsearch.record.shapes import SearchShape, SearchState, parse, parse_count
from hpsearch.record.storage import Place, open_storage
from hpsearch.record.trials import TrialRecord, read_trial
from hpsearch.space import SearchSpace
from hpsearch.spec import Scalar, SearchSpec, TrialConfig, draft_spec

#: attributes that a driver may change as it begins, and that are read once
_OF_DRIVERS = ("spec", "folder", "code")


class ReadableRecord(Ranking):
    """The record of one search, read into memory."""

    def __init__(
        self,
        place: Place,
        storage: BaseStorage,
        study_id: int,
        name: str,
        home: Path | None = None,
    ) -> None:
        self.place = place
        self._home = home
        self._storage = storage
        self._study_id = study_id
        self._trial_ids: dict[int, int] = {}
        self.name = name
        attrs = storage.get_study_user_attrs(study_id)
        if "state" not in attrs:  # written last
            raise RecordError(f"there is no complete record of {name!r}")
        read = self._read_state(attrs)
        #: the search's folder, unless that isn't known
        self.search_folder = search_folder(place, home, attrs)
        raw = earlier_versions.spec(read.spec)
        draft = draft_spec(raw, found_folder(attrs, self.search_folder))
        if draft.spec is None:
            why = "; ".join(map(str, draft.problems))
            raise RecordError(f"{name}: its spec can't be read: {why}")
        self.spec: SearchSpec = draft.spec
        self.facts: dict[str, Any] = read.facts
        #: hashes of the user's code when a driver last began, by path from the spec's folder
        self.code: dict[str, str] | None = read.code
        self.created_at: float = read.created_at
        #: configurations to try first, those of earlier searches included
        self.first_points: list[dict[str, Scalar]] = [
            earlier_versions.params(point, self.spec.trial_sections) for point in read.first_points
        ]
        self.space = SearchSpace.of(self.spec)
        self.trials: list[TrialRecord] = []
        self._read_trials()

    @classmethod
    def open(cls, place: Place, name: str, home: Path | None = None) -> Self:
        """Read the record of a search, whose folder is `home`: by default where the journal is."""
        if isinstance(place, Path) and not place.is_file():
            raise SearchNotFoundError(f"no search {name!r}: there is no record {place}")
        storage = open_storage(place)
        try:
            study_id = storage.get_study_id_from_name(name)
            return cls(place, storage, study_id, name, home)
        except KeyError as error:
            raise RecordError(f"there is no complete record of {name!r}") from error

    def refresh(self) -> set[int]:
        """Read what the driver has written since; returns the numbers of the trials that changed.

        The spec stays as it was: it is another's only when another driver takes over.
        """
        self._read_state(self._storage.get_study_user_attrs(self._study_id))
        return self._read_trials()

    def newest(self) -> Self:
        """Return the record as it is now: itself if nothing has changed.

        This one stays as it was, for those who still read it.
        """
        newest = copy.copy(self)
        newest.trials, newest._trial_ids = list(self.trials), dict(self._trial_ids)
        changed = newest.refresh()
        # Another driver has more budget, or other code.
        if any(newest._attrs.get(key) != self._attrs.get(key) for key in _OF_DRIVERS):
            return self.open(self.place, self.name, self._home)
        return newest if changed or newest._attrs != self._attrs else self

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
            max_epochs=self.max_epochs(trial),
            values=trial.values,
            draws_of=None if trial.origin is None else self.first_of(trial).number,
            metric=self.spec.objective.metric,
            other_metrics=self.spec.other_metrics,
            trainable=self.spec.trainable,
            command=self.spec.plain_command,
            metrics=self.spec.metrics,
            precision=self.spec.precision,
            compile=self.spec.compile,
            process_launcher=self.spec.resources.launcher,
            processes=self.spec.resources.num_processes,
            nodes=self.spec.resources.nodes,
            device_type=self.spec.device,
            loader=self.spec.loader.model_dump(),
            cpu=self.spec.resources.cpu,
            gpu=max(self.spec.resources.gpu, 1.0) if trial.alone else self.spec.resources.gpu,
            folder=self.spec.folder,
            code=self.code_copy,
            # how far a command got is a few bytes; its checkpoints are its own files
            copied_epochs=0 if trial.copied_from is None else trial.copied_from.epoch,
            copied_values=self._copied_values(trial),
            checkpoint_every=1 if self.spec.command else self.spec.search.checkpoint_every,
        )

    def _copied_values(self, trial: TrialRecord) -> dict[str, Any] | None:
        origin = trial.copied_from
        is_known = origin is not None and origin.trial < len(self.trials)
        return self.trials[origin.trial].values if origin is not None and is_known else None

    def max_epochs(self, trial: TrialRecord) -> int:
        """Return how many epochs a trial is trained at most: the spec's, or as a user wanted."""
        return self.spec.max_epochs if trial.goal is None else trial.goal.epochs

    def first_of(self, trial: TrialRecord) -> TrialRecord:
        """Return the trial that a user let a trial continue, or itself."""
        while trial.origin is not None and trial.origin.continues:
            trial = self.trials[trial.origin.trial]
        return trial

    def whole_curve(self, trial: TrialRecord, metric: str) -> dict[int, float]:
        """Return the finite values of a metric by epoch, those before a continuation included."""
        origin = trial.origin
        if origin is None or not origin.epochs:
            return trial.metric(metric)
        before = self.whole_curve(self.trials[origin.trial], metric)
        return {e: v for e, v in before.items() if e <= origin.epochs} | trial.metric(metric)

    def continuation(self, number: int) -> TrialRecord | None:
        """Return the trial that continues a trial that had ended, if a user wanted it."""
        for trial in self.trials[number + 1 :]:
            origin = trial.origin
            if origin is not None and origin.continues and origin.trial == number:
                return trial
        return None

    @property
    def default_result(self) -> DefaultResult | None:
        """What came of the default configuration, here or in an earlier search; None: untried."""
        if self.default is None:
            return self.earlier_default
        tried = next((trial for trial in self.trials if trial.params == self.default), None)
        if tried is None:
            return None
        values = tried.metric(self.spec.objective.metric)
        return DefaultResult(self.name, tried.number, tried.outcome, values)

    @property
    def taken_acts(self) -> list[Act]:
        """What users did, and wasn't refused."""
        return [act for act in self.acts if act.refused is None]

    @property
    def paused_by(self) -> Act | None:
        """The act that paused the search, while it is paused."""
        acts = [act for act in self.taken_acts if act.action in ("pause", "go_on")]
        return acts[-1] if acts and acts[-1].action == "pause" else None

    @property
    def code_folder(self) -> Path | None:
        """The folder of the copy of the user's code, if there is any."""
        if not self.code or self.search_folder is None:
            return None
        return self.search_folder / "code" / snapshot_name(self.code)

    @property
    def code_copy(self) -> str | None:
        """`code_folder` as a plain value."""
        return None if self.code_folder is None else str(self.code_folder)

    def running(self) -> Iterator[TrialRecord]:
        """Yield the trials that have not ended."""
        return (trial for trial in self.trials if trial.outcome is None)

    @property
    def is_resting(self) -> bool:
        """Whether it is paused, and its workers have let go: its time doesn't count."""
        return self.state == "running" and self.sessions[-1][1] is not None

    @property
    def is_suspended(self) -> bool:
        """Whether it failed by no trial's fault, and its unfinished trials continue once it is
        resumed."""
        return self.state == "failed" and any(
            error.get("excused") for trial in self.running() for error in trial.errors
        )

    def history(self) -> list[tuple[int, int, float, bool]]:
        """Return (trial, epoch, objective, False) of each epoch with a finite one, oldest first.

        A trial that ended itself has its last once more, with True, when it ended.
        """
        metric = self.spec.objective.metric
        entries = []
        for trial in self.trials:
            curve = trial.metric(metric)
            for epoch, value in curve.items():
                entries.append((trial.reported_at[epoch], trial.number, epoch, value, False))
            if trial.ended_itself and trial.ended_at is not None and curve:
                entries.append((trial.ended_at, trial.number, epoch, value, True))
        return [entry[1:] for entry in sorted(entries)]

    def seconds_used(self, now: float, since: float = 0.0) -> float:
        """Return for how long drivers have worked on the search, from `since` until `now`."""
        last = self.ended_at or (now if self.state == "running" else self._last_sign_of_life())
        spans = ((begin or 0.0, last if end is None else end) for begin, end in self.sessions)
        return sum(max(end - max(begin, since), 0.0) for begin, end in spans)

    def gpu_seconds(self) -> float:
        """Return the seconds for which trials had GPUs, times the GPUs that each had."""
        if self.spec.resources.gpu == 0:
            return 0.0
        resources = self.spec.resources
        if self.lanes.num_fused:  # trials shared the GPUs: each epoch has its share of the time
            seconds = (sum(trial.metric("seconds").values()) for trial in self.trials)
            return resources.gpu * sum(seconds)
        return sum(
            self.config(trial).gpu * resources.nodes * trial.seconds_trained()
            for trial in self.trials
        )

    def _read_state(self, attrs: Mapping[str, Any]) -> SearchShape:
        self._attrs = attrs
        read = parse(SearchShape, attrs, f"the record of {self.name}")
        self.state: SearchState = read.state
        #: when the code was another than before, and which files differed
        self.code_changes: list[tuple[float, list[str]]] = read.code_changes
        self.reason: str | None = read.reason
        self.ended_at: float | None = read.ended_at
        #: when it last failed; it may have been extended since
        self.failed_at: float | None = read.failed_at
        self.result: dict[str, Any] = read.result
        self.data = DataNotes.read(attrs.get("data"))
        self.lanes = LaneNotes.read(attrs.get("lanes"))
        #: whether the report, the model and MLflow's view were finished after the end
        self.delivered: bool = read.delivered
        #: the default configuration, which is tried before all others; None: not tried
        self.default: dict[str, Scalar] | None = read.default
        #: what came of it in an earlier search of the same task, so that it isn't tried again
        self.earlier_default: DefaultResult | None = (
            None if read.earlier_default is None else read.earlier_default.result
        )
        #: what further trials would bring, if that is asked and known
        self.outlook: OutlookNote | None = (
            None if read.outlook is None else OutlookNote(**read.outlook.model_dump())
        )
        #: what was taken from each earlier search of `warm_start`
        self.transfers: list[str] = read.transfers
        #: the best configurations, while they are trained again with new seeds and after it
        self.final = FinalNote.read(read.final)
        #: what the mean of the best trials comes to, once the search has finished
        self.ensemble = EnsembleNote.read(read.ensemble)
        #: what range tests of the learning rate found; None: there were none
        self.lr_ranges: list[LrRangeNote] | None = _read_lr_ranges(read)
        #: begin and end of each driver's work; the end of one that works, or died, is not known
        self.sessions: list[list[float | None]] = read.sessions
        #: what users did to the search while it ran, in the order in which the driver took it
        self.acts: list[Act] = _read_acts(attrs, self.name)
        return read

    def _read_trials(self) -> set[int]:
        changed = set()
        for frozen in self._storage.get_all_trials(self._study_id, deepcopy=False):
            number = frozen.number
            if number == len(self.trials):
                self._trial_ids[number] = frozen._trial_id
                self.trials.append(read_trial(frozen))
            elif self.trials[number].outcome is None and (
                (trial := read_trial(frozen)) != self.trials[number]
            ):
                self.trials[number] = trial
            else:
                continue
            changed.add(number)
        finalists = self.final.finalists if self.final else ()
        members = self.ensemble.trials if self.ensemble else ()
        for place, named in (
            ("final", [each.trial for each in finalists]),
            ("ensemble", members),
        ):
            if any(not 0 <= number < len(self.trials) for number in named):
                rule = f"{place}: no such trial"
                raise RecordError(f"the record of {self.name} can't be read: {rule}")
        return changed

    def _last_sign_of_life(self) -> float:
        times = [self.created_at, self.sessions[-1][0] or 0.0]
        for trial in self.trials:
            times += [trial.started_at, trial.ended_at or 0.0, *trial.reported_at.values()]
        return max(times)


def _read_acts(attrs: Mapping[str, Any], name: str) -> list[Act]:
    where = f"the record of {name}"
    found = {
        parse_count(key.removeprefix(ACT_PREFIX), where): value
        for key, value in attrs.items()
        if key.startswith(ACT_PREFIX)
    }
    return [read_act(found[number], where) for number in sorted(found)]


def _read_lr_ranges(read: SearchShape) -> list[LrRangeNote] | None:
    if read.lr_ranges is None:
        return None
    return [
        LrRangeNote(
            **each.model_dump(exclude={"curves"}),
            curves=tuple(LrCurve(**curve.model_dump()) for curve in each.curves),
        )
        for each in read.lr_ranges
    ]
