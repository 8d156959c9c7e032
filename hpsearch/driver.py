"""The driver of a search: it runs a search from its record to its report."""

from __future__ import annotations

import importlib
import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

from hpsearch.components import Data
from hpsearch.early_stopping import (
    make_early_stopper,
    make_registered_stopper,
)
from hpsearch.errors import (
    Problem,
    RecordError,
    SearchFailedError,
    SearchNotFoundError,
    TrackingError,
)
from hpsearch.importing import outliving_exits
from hpsearch.outcome import DefaultResult, Outcome
from hpsearch.process import yield_processor
from hpsearch.record import EnsembleNote, Record, SearchState, TrialRecord
from hpsearch.record.observations import Observations
from hpsearch.runs import Runs, SearchFolder
from hpsearch.samplers import Sampler
from hpsearch.samplers.shipped_portfolio import shipped_points
from hpsearch.samplers.warm_start import Earlier, alike, transfers
from hpsearch.spec import SearchSpec
from hpsearch.spec.settings import ALL_ALIKE, PORTFOLIO
from hpsearch.tracking import (
    Tracker,
    import_ahead,
    log_report,
    register_best,
    register_ensemble,
    register_files,
    sync,
)
from hpsearch.training.launchers import exports_model
from hpsearch.training.user_code.saved import read_saved, write_saved
from hpsearch.tuning.control import SearchControl
from hpsearch.tuning.fusing import num_lanes, obstacle
from hpsearch.tuning.on_ray.experiment import Workers, run_trials
from hpsearch.tuning.on_ray.final import (
    FinalModel,
    Trained,
    average_models,
    learned_policy,
    train_final_model,
)
from hpsearch.tuning.on_ray.lr_range import narrow_lr_ranges
from hpsearch.tuning.on_ray.repeats import train_repeats
from hpsearch.tuning.repeats import begin_final
from hpsearch.tuning.sampling import informed_sampler, note_default, sampler_of, transfers_told
from hpsearch.tuning.signals import cancelled_by_signals
from hpsearch.user_code import loaded_modules
from hpsearch.validation import data_notes
from hpsearch.validation.defaults import default_values

if TYPE_CHECKING:
    from hpsearch.analysis import SearchReport

_log = logging.getLogger(__name__)
#: searches that `warm_start: auto` finds at most
MAX_ALIKE = 16
Watcher = Callable[[Record, SearchFolder], None]


@dataclass
class Driver:
    """One run of a search, from the state of its record to report, model and MLflow's view.

    The caller holds the search's lock and a cluster with room for `slots` concurrent trials.
    `on_start` is called before the first trial, with the record and the folder. `tracking_uri`
    replaces the address of the search's MLflow store.
    """

    record: Record
    runs: Runs
    folder: SearchFolder
    data: Data | None
    slots: int
    on_start: Watcher | None = None
    tracking_uri: str | None = None
    #: set when the first trial has reported: what isn't urgent waits for that
    _reported: threading.Event = field(default_factory=threading.Event, init=False)
    #: of the ensemble or the report, for which the best model must not be lost
    _error: Exception | None = field(default=None, init=False)

    def run(self) -> SearchReport:
        """Run the rest of the search.

        An error leaves the record as it is, and the search can be resumed. Raises
        SearchFailedError if the newest trials all failed alike.
        """
        if self.data is not None:
            self.record.set_data(data_notes(self.record.spec, self.data))
            narrow_lr_ranges(self.record, self.data, self.folder)
        uri, artifacts = self.runs.tracking_of(self.record.spec, self.tracking_uri)
        tracker = Tracker(self.record, uri, artifacts, after=self._reported)
        tracker.start()
        importing = threading.Thread(target=_import_ahead, args=(self._reported, uri), daemon=True)
        importing.start()
        try:
            if self.on_start is not None:
                self.on_start(self.record, self.folder)
            with outliving_exits():  # of samplers, rules and models of the user's
                if self.record.state == "running":
                    self._run()
                finals, ensemble = self._final_models(), self._kept(self._ensemble)
        finally:
            tracker.finish()
            from hpsearch.analysis import SearchReport, write_report

            self._kept(partial(write_report, self.record, self.folder))
            tracked = tracker.close()
            importing.join()
        is_registered = tracked and _track_results(
            self.record, uri, artifacts, self.folder, finals, ensemble
        )
        if self._error is not None:  # the best trial is registered; `resume` tries again
            raise self._error
        if is_registered:
            self.record.set_delivered()
        if self.record.state == "failed":
            raise SearchFailedError(self.record.reason)
        return SearchReport(self.record)

    def _kept(self, make: Callable[[], FinalModel | None]) -> FinalModel | None:
        """Make something after the best model, and keep its error until that is registered."""
        try:
            return make()
        except Exception as error:
            self._error = self._error or error
            return None

    def _run(self) -> None:
        """Run the trials, then those that train the best again with new seeds, and end."""
        record = self.record
        state, reason = ("finished", None) if record.final else self._run_trials()
        if state == "finished" and record.final is None:
            begin_final(record, reason)
        if record.final is not None and not record.final.is_ranked:
            state, reason = train_repeats(
                record, self.folder, self.data, self._workers, self.on_start
            )
        record.end(state, reason)

    @property
    def _workers(self) -> Workers:
        return Workers(self.slots, num_lanes(self.record.spec, self.data, self.slots))

    def _run_trials(self) -> tuple[SearchState, str | None]:
        """Run the trials; returns how the search ends, and why."""
        record = self.record
        early_stopper = make_early_stopper(record.spec)
        earlier, lost = read_earlier(self.runs, record.spec.search.earlier_searches)
        for problem in lost:  # its points are in the record
            _log.warning("%s: %s continues without its results", problem, record.name)
        if record.spec.fuse != "off" and not record.spec.is_own_code:
            record.note_lanes(reasons=list(filter(None, [obstacle(record.spec, self.data)])))
        found = transfers(record.spec, earlier, default_values(record.spec))
        note_default(record, found)
        record.note_transfers(transfers_told(record, found))
        workers = self._workers

        def sampler() -> Sampler:
            """Return the sampler of the search space as it is now."""
            concurrent = workers.slots * workers.num_lanes
            return informed_sampler(record, early_stopper, concurrent, earlier)

        control = SearchControl(
            record,
            sampler(),
            early_stopper,
            self.folder.checkpoints,
            self.folder.stop_request,
            self._reported,
            folder=self.folder,
            remake_sampler=sampler,
        )
        # The sampler's matrices are small: more threads would only take time from the trials.
        with cancelled_by_signals(control), threadpool_limits(1):
            run_trials(control, workers, self.data, self.folder)
        return control.end_trials()

    def _final_models(self) -> dict[int, FinalModel]:
        """Score the best model once on the test split, unless the search may be resumed.

        Returns it by its trial's number; with several objectives those of the Pareto front, of
        which the best is the last.
        """
        record, best = self.record, self.record.best
        if best is None or record.state != "finished":
            return {}
        found = {
            trial.number: final
            for trial in reversed(record.exported())
            if (final := self._final_model(trial)) is not None
        }
        if best.number in found:
            final = found[best.number]
            result = {
                "test_metrics": final.test_metrics,
                "baselines": final.baselines,
                "calibration": final.calibration,
            }
            record.set_result(**{name: value for name, value in result.items() if value})
        return found

    def _final_model(self, trial: TrialRecord) -> FinalModel | None:
        if self.record.spec.environment is not None and trial.checkpoint is not None:
            checkpoint = self.folder.checkpoints / trial.checkpoint
            return learned_policy(self.record.config(trial), checkpoint)
        trained = self._trained(trial)
        if trained is None or self.data is None:
            return None
        return train_final_model(trained, self.data, self.record.spec.resources)

    def _ensemble(self) -> FinalModel | None:
        """Put the best trials together, where that is asked for, and note what it comes to."""
        record = self.record
        found = [(trial.number, self._trained(trial)) for trial in record.members()]
        members = {number: trained for number, trained in found if trained is not None}
        if record.state != "finished" or self.data is None or len(members) < 2:
            return None
        wanted, spec = record.spec.search.ensemble, record.spec
        goal = spec.objective if wanted is not None and wanted.selection == "greedy" else None
        made = average_models([*members.values()], self.data, spec.resources, goal)
        numbers = [*members]
        counts = {numbers[place]: count for place, count in made.counts.items()}
        record.set_ensemble(EnsembleNote.of(counts, made.metrics, made.test_metrics or {}))
        return made

    def _trained(self, trial: TrialRecord) -> Trained | None:
        """Return a trial of whose checkpoint the model of the spec's sections can be made."""
        config = self.record.config(trial)
        if trial.checkpoint is None or self.data is None or not exports_model(config, self.data):
            return None
        return Trained(config, self.folder.checkpoints / trial.checkpoint)


def _import_ahead(reported: threading.Event, tracking_uri: str) -> None:
    """Import what the end of the search needs, which takes seconds, during the training; but not
    while workers start: they import torch on the same cores."""
    reported.wait()
    yield_processor()
    with suppress(Exception):  # it is done again where it is needed
        importlib.import_module("hpsearch.analysis.report")
        import_ahead(tracking_uri)


def close_unattended(record: Record, folder: SearchFolder) -> None:
    """Write the end of a search that its user stops while no driver works on it."""
    # They decide nothing any more: where the spec's are code of the user's, others do.
    early_stopper = make_registered_stopper(record.spec)
    sampler = sampler_of(record, early_stopper, 1, {"name": "random"})
    control = SearchControl(record, sampler, early_stopper, folder.checkpoints)
    control.cancel()
    control.close()


def deliver_closed(
    record: Record, folder: SearchFolder, tracking_uri: str, artifacts: Path | None
) -> None:
    """Write the report of a search that nobody drives, and MLflow's view of it.

    Raises TrackingError where MLflow can't be reached.
    """
    from hpsearch.analysis import write_report

    write_report(record, folder)
    sync(record, tracking_uri, artifacts)
    if _track_results(record, tracking_uri, artifacts, folder, {}, None):
        record.set_delivered()


def with_warm_start(spec: SearchSpec, place: Runs) -> SearchSpec:
    """Return a spec whose `warm_start: auto` names the searches that are alike, the newest; where
    there are none the portfolio, if the search space has hyperparameters of it."""
    if spec.search.warm_start != ALL_ALIKE:
        return spec
    names = [name for name in place.names() if name != spec.name]
    earlier, lost = read_earlier(place, names)
    for problem in lost:
        _log.warning("%s: warm start of %s without it", problem, spec.name)
    found = tuple(each.spec.name for each in alike(spec, earlier)[-MAX_ALIKE:])
    if not found and shipped_points(spec):
        found = (PORTFOLIO,)
    _log.info("%s: warm start from: %s", spec.name, ", ".join(found) or "nothing")
    search = spec.search.model_copy(update={"warm_start": found})
    return spec.model_copy(update={"search": search})


def read_earlier(place: Runs, names: Iterable[str]) -> tuple[list[Earlier], list[Problem]]:
    """Return the trials of earlier searches, and a problem for each that can't be read."""
    earlier, problems = [], []
    for name in names:
        try:
            record = place.search(name).open_record()
        except (SearchNotFoundError, RecordError) as error:
            problems.append(Problem("search.warm_start", str(error)))
            continue
        earlier.append(earlier_of(record))
    return earlier, problems


def earlier_of(record: Record) -> Earlier:
    """Return a search as a warm start of others."""
    rungs = make_registered_stopper(record.spec).rungs
    observations = tuple(Observations(record).read())
    return Earlier(record.spec, observations, rungs, _lasting(record.default_result))


def _lasting(default: DefaultResult | None) -> DefaultResult | None:
    """Return what came of a default configuration, unless it still runs or says nothing of it."""
    unknown = (None, Outcome.FAILED, Outcome.CANCELLED, Outcome.STOPPED_BY_USER)
    return None if default is None or default.outcome in unknown else default


def _track_results(
    record: Record,
    tracking_uri: str,
    artifacts: Path | None,
    folder: SearchFolder,
    finals: Mapping[int, FinalModel],
    ensemble: FinalModel | None,
) -> bool:
    """Log the report to the parent run and register the best model, and the ensemble if there is
    one; MLflow is a view, so what fails here is logged and fails nothing."""
    try:
        for number, final in finals.items():
            register_best(
                record,
                tracking_uri,
                record.trials[number],
                final.module,
                final.example,
                final.test_metrics,
                modules=loaded_modules(record.spec),
            )
        if ensemble is not None:
            modules = loaded_modules(record.spec)
            register_ensemble(record, tracking_uri, ensemble.module, ensemble.example, modules)
        if record.spec.trainable is not None and record.state == "finished":
            for trial in reversed(record.exported()):
                _register_saved(record, tracking_uri, folder, trial)
        files = [folder.spec, folder.report_md, folder.report_html]
        log_report(record, tracking_uri, [path for path in files if path.exists()])
        sync_repeats(folder, tracking_uri, artifacts)
    except TrackingError:
        _log.exception("MLflow has no model and no report of %s; its folder has", record.name)
        return False
    return True


def sync_repeats(folder: SearchFolder, tracking_uri: str, artifacts: Path | None) -> None:
    """Make MLflow's runs of the best configurations with new seeds agree with their record."""
    if folder.final.journal.is_file():
        sync(folder.final.open_record(), tracking_uri, artifacts)


def _register_saved(
    record: Record, tracking_uri: str, folder: SearchFolder, trial: TrialRecord
) -> None:
    """Register what a trial's function saved, if it did, with its hyperparameters."""
    if trial.checkpoint is None:
        return
    saved = read_saved(folder.checkpoints / trial.checkpoint)
    space = record.config(trial).values["space"]

    def write(target: Path) -> None:
        write_saved(saved, target)
        (target / "config.json").write_text(json.dumps(space, indent=2))

    if saved is not None:
        register_files(record, tracking_uri, trial, write)
