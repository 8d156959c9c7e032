"""`run_search`: a spec in, a report out. The wiring of all the other modules."""

from __future__ import annotations

import importlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

from hpsearch.components import Data
from hpsearch.errors import SearchFailedError, TrackingError
from hpsearch.provenance import collect_facts
from hpsearch.record import Record
from hpsearch.registry import user_files
from hpsearch.runs import Runs, SearchFolder
from hpsearch.samplers import make_sampler
from hpsearch.spec import SearchSpec
from hpsearch.tracking import Tracker, log_report, register_best
from hpsearch.tuning.control import SearchControl
from hpsearch.tuning.early_stopping import make_early_stopper
from hpsearch.tuning.experiment import count_slots, ray_cluster, run_trials
from hpsearch.tuning.final import FinalModel, train_final_model
from hpsearch.validation import check_spec

if TYPE_CHECKING:
    from hpsearch.analysis import SearchReport

_log = logging.getLogger(__name__)
Watcher = Callable[[Record, SearchFolder], None]


def run_search(
    spec: SearchSpec,
    runs: str | Path = "runs",
    *,
    address: str | None = None,
    on_start: Watcher | None = None,
) -> SearchReport:
    """Run a search to its end and return its report.

    Everything is kept in the folder `runs`. `address` joins a Ray cluster; without it Ray is
    started on this machine. `on_start` is given the record before the first trial, to watch it.
    Ctrl-C ends the search cleanly. Raises SpecError before anything starts, and
    SearchFailedError if the first trials all fail alike.
    """
    place = Runs(runs)
    place.check_new(spec.name)
    data = check_spec(spec)
    _import_ahead("hpsearch.analysis.report")
    folder = place.create(spec)
    record = Record.create(folder.journal, spec, collect_facts(spec.folder))
    tracker = Tracker(record, place.tracking_uri, place.artifacts)
    tracker.start()
    try:
        if on_start is not None:
            on_start(record, folder)
        with ray_cluster(address):
            _run_trials(record, folder, data, tracker)
            final = _final_model(record, folder, data)
    finally:
        from hpsearch.analysis import SearchReport, write_report

        write_report(record, folder)
        tracker.notify()
        tracked = tracker.close()
    if tracked:
        _track_results(record, place, folder, final)
    if record.state == "failed":
        raise SearchFailedError(record.reason)
    return SearchReport(record)


def _import_ahead(module: str) -> None:
    """Import what takes seconds, and is needed at the end, while Ray starts."""
    threading.Thread(target=importlib.import_module, args=[module], daemon=True).start()


def _track_results(
    record: Record, place: Runs, folder: SearchFolder, final: FinalModel | None
) -> None:
    """Log the report to the parent run and register the best model; MLflow is a view, so what
    fails here is logged and fails nothing."""
    try:
        if final is not None and record.best is not None:
            name = record.best.values["model"]["name"]
            register_best(
                record,
                place.tracking_uri,
                record.best,
                final.module,
                final.example,
                final.test_metrics,
                code_paths=user_files(name, record.spec.folder),
            )
        files = [folder.spec, folder.report_md, folder.report_html]
        log_report(record, place.tracking_uri, files)
    except TrackingError:
        _log.exception("MLflow has no model and no report of %s; its folder has", record.name)


def _run_trials(record: Record, folder: SearchFolder, data: Data | None, tracker: Tracker) -> None:
    spec = record.spec
    slots = count_slots(spec.resources, spec.search.max_concurrent)
    early_stopper = make_early_stopper(spec)
    sampler = make_sampler(
        spec.search.sampler,
        record.space,
        seed=spec.search.seed,
        direction=spec.objective.direction,
        rungs=early_stopper.rungs,
        slots=slots,
    )
    control = SearchControl(record, sampler, early_stopper, folder.checkpoints, [tracker.notify])
    try:
        # The sampler's matrices are small: more threads would only take time from the trials.
        with _cancelled_by_signals(control), threadpool_limits(1):
            run_trials(control, spec, slots, data, folder)
    finally:
        control.close()


def _final_model(record: Record, folder: SearchFolder, data: Data | None) -> FinalModel | None:
    """Score the best model once on the test split, unless the search may still go on."""
    best = record.best
    if data is None or best is None or best.checkpoint is None or record.state != "finished":
        return None
    checkpoint = folder.checkpoints / best.checkpoint
    final = train_final_model(record.config(best), data, checkpoint, record.spec.resources)
    if final.test_metrics is not None:
        record.set_result(test_metrics=final.test_metrics)
    return final


@contextmanager
def _cancelled_by_signals(control: SearchControl) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM end the search cleanly; the second one interrupts."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    previous: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def cancel(number: int, frame: object) -> None:
        restore()
        control.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, cancel)
    try:
        yield
    finally:
        restore()
