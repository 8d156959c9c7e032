"""The best configurations of a search, trained again with new seeds: a search of their own.

Its record lies in the folder of the search, and replays as every record does: a driver that dies
goes on where it was.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence

from hpsearch.outcome import Outcome
from hpsearch.record import Finalist, FinalNote, Record, TrialRecord
from hpsearch.runs import Runs, SearchFolder, name_of_repeats
from hpsearch.samplers import Observation
from hpsearch.spec import EarlyStopping, Scalar, SearchSpec
from hpsearch.training.seeds import derive_seed

#: settings of the search that its repeats don't have
_NOT_REPEATED = ("epochs", "time_limit", "gpu_hours", "stop_when", "final", "ensemble")
#: in the result of the record of repeats, the metrics on the test split by trial
TEST = "test"


class Repeats:
    """The sampler of repeats: each configuration until it has been tried so many times."""

    def __init__(
        self, record: Record, configurations: Sequence[Mapping[str, Scalar]], seeds: int
    ) -> None:
        self._record, self._configurations, self._seeds = record, configurations, seeds

    def suggest(
        self, number: int, observations: Sequence[Observation]
    ) -> dict[str, Scalar] | None:
        """See Sampler: the first configuration of those that have been tried least."""
        counts = self._counts()
        least = min(self._configurations, key=lambda each: counts[_key(each)])
        return dict(least) if counts[_key(least)] < self._seeds else None

    @property
    def num_missing(self) -> int:
        """How many are still to be tried."""
        counts = self._counts()
        return sum(max(self._seeds - counts[_key(each)], 0) for each in self._configurations)

    def _counts(self) -> Counter[frozenset[tuple[str, Scalar]]]:
        tried = (t for t in self._record.trials if t.outcome is not Outcome.CANCELLED)
        return Counter(_key(trial.params) for trial in tried)


def begin_final(record: Record, reason: str | None) -> None:
    """Note which configurations are trained again, after the search that ended by `reason`."""
    wanted, finalists = record.spec.search.final, record.finalists()
    if wanted is not None and finalists:
        noted = tuple(Finalist(trial.number) for trial in finalists)
        record.set_final(FinalNote(noted, wanted.seeds, reason))


def open_repeats(record: Record, final: FinalNote, folder: SearchFolder) -> tuple[Record, Repeats]:
    """Return the record of the repeats in a search's folder, and what is to be tried in it."""
    spec = spec_of_repeats(record.spec)
    if not folder.final.journal.is_file():
        Runs(folder.path).create(spec, code=record.code)
    repeats = folder.final.take_over()
    configurations = [record.trials[each.trial].params for each in final.finalists]
    sampler = Repeats(repeats, configurations, final.seeds)
    tried = sum(trial.outcome is not Outcome.CANCELLED for trial in repeats.trials)
    search = spec.search.model_copy(update={"trials": max(tried + sampler.num_missing, 1)})
    spec = spec.model_copy(update={"search": search})
    if record.code is not None:
        repeats.bind(record.spec.folder, record.code)
    if record.code_folder is not None and repeats.code_folder is not None:
        shutil.copytree(record.code_folder, repeats.code_folder, dirs_exist_ok=True)
    if repeats.state != "running" or repeats.spec.search != search:
        repeats.go_on(spec)
        folder.final.write_spec(spec)
    return repeats, sampler


def spec_of_repeats(spec: SearchSpec) -> SearchSpec:
    """Return the spec of a search's repeats: full budgets, other seeds, no budget of time."""
    wanted = spec.search.final
    num_trials = 1 if wanted is None else wanted.top * wanted.seeds
    search = spec.search.model_copy(
        update={
            "trials": num_trials,
            "seed": derive_seed(spec.search.seed, 0, "final"),
            "sampler": {"name": "random"},
            "early_stopping": EarlyStopping(name="none", max_epochs=spec.max_epochs),
            "keep_checkpoints": num_trials,  # until they are scored on the test split
            **dict.fromkeys(_NOT_REPEATED),
            **dict.fromkeys(("points", "warm_start"), ()),
            "dry_epoch": False,
        }
    )
    update = {"name": name_of_repeats(spec.name), "search": search, "storage": None}
    return spec.model_copy(update=update)


def results_of(record: Record, final: FinalNote, repeats: Record) -> FinalNote:
    """Return the ranking of the finalists by their repeats."""
    by_params: dict[frozenset[tuple[str, Scalar]], list[TrialRecord]] = {}
    for trial in repeats.trials:
        if trial.outcome not in (None, Outcome.CANCELLED):
            by_params.setdefault(_key(trial.params), []).append(trial)
    found = [
        _finalist(each.trial, by_params.get(_key(record.trials[each.trial].params), []), repeats)
        for each in final.finalists
    ]
    return final.ranked(found, maximize=record.spec.objective.direction == "maximize")


def _finalist(number: int, trials: Sequence[TrialRecord], repeats: Record) -> Finalist:
    completed = [trial for trial in trials if trial.outcome is Outcome.COMPLETED]
    values = [repeats.objective(trial) for trial in completed]
    scores = [_test_metrics(repeats, trial) for trial in completed]
    names = list(dict.fromkeys(name for each in scores for name in each))
    return Finalist(
        number,
        tuple(value for value in values if value is not None),
        failed=len(trials) - len(completed),
        test={name: tuple(each[name] for each in scores if name in each) for name in names},
    )


def _test_metrics(repeats: Record, trial: TrialRecord) -> dict[str, float]:
    """Return a repeat's metrics on the test split: as scored, or as the user's code reported."""
    scored: dict[str, dict[str, float]] = repeats.result.get(TEST, {})
    last = {name: trial.last(name) for name in trial.curve.get(trial.epochs, {})}
    reported = {
        name: value
        for name, value in last.items()
        if name.startswith("test_") and value is not None
    }
    return scored.get(str(trial.number), reported)


def _key(params: Mapping[str, Scalar]) -> frozenset[tuple[str, Scalar]]:
    return frozenset(params.items())
