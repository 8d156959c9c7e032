"""The driver of a search: from wherever its record is to its report."""

from __future__ import annotations

import importlib
import logging
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

from hpsearch.components import Data
from hpsearch.early_stopping import (
    EarlyStopper,
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
from hpsearch.record import Record
from hpsearch.registry import user_files
from hpsearch.runs import Runs, SearchFolder
from hpsearch.samplers import Sampler, make_sampler
from hpsearch.samplers.warm_start import Earlier, warm_started
from hpsearch.spec import SearchSpec
from hpsearch.tracking import Tracker, log_report, register_best, sync
from hpsearch.training.launchers import exports_model
from hpsearch.tuning.control import SearchControl
from hpsearch.tuning.observations import Observations
from hpsearch.tuning.on_ray.experiment import count_slots, ray_cluster, run_trials
from hpsearch.tuning.on_ray.final import FinalModel, train_final_model
from hpsearch.validation import data_notes

if TYPE_CHECKING:
    from hpsearch.analysis import SearchReport

_log = logging.getLogger(__name__)
Watcher = Callable[[Record, SearchFolder], None]


@contextmanager
def cluster_for(spec: SearchSpec, address: str | None) -> Iterator[int]:
    """Join or start a Ray cluster; yields how many of the search's trials it trains at once.

    Raises ClusterError if there is none at the address, or not one trial fits it.
    """
    with ray_cluster(address):
        yield count_slots(spec.resources, spec.search.max_concurrent)


def run_to_report(
    record: Record,
    place: Runs,
    folder: SearchFolder,
    data: Data | None,
    slots: int,
    on_start: Watcher | None,
    tracking_uri: str | None = None,
) -> SearchReport:
    """Run what is left of a search, and deliver its report, its model and MLflow's view.

    The caller holds the search's lock and has a cluster. What raises here leaves the record as
    it is, and the search can be resumed. Raises SearchFailedError if the first trials all failed
    alike.
    """
    if data is not None:
        record.set_data(data_notes(record.spec, data))
    uri, artifacts = place.tracking_of(record.spec, tracking_uri)
    reported = threading.Event()
    tracker = Tracker(record, uri, artifacts, after=reported)
    tracker.start()
    threading.Thread(target=_import_ahead, args=(reported,), daemon=True).start()
    try:
        if on_start is not None:
            on_start(record, folder)
        if record.state == "running":
            _run_trials(record, place, folder, data, slots, reported)
        final = _final_model(record, folder, data)
    finally:
        from hpsearch.analysis import SearchReport, write_report

        write_report(record, folder)
        tracked = tracker.close()
    if tracked and _track_results(record, uri, folder, final):
        record.set_delivered()
    if record.state == "failed":
        raise SearchFailedError(record.reason)
    return SearchReport(record)


def _import_ahead(reported: threading.Event) -> None:
    """Import what the end of the search needs and takes seconds, beside the training, but not
    while workers start: they import torch on the same cores."""
    reported.wait()
    with suppress(Exception):  # it is imported again where it is needed
        for module in ("hpsearch.tracking.writer", "hpsearch.analysis.report"):
            importlib.import_module(module)


def close_unattended(record: Record, folder: SearchFolder) -> None:
    """Write the end of a search that its user stops while no driver works on it."""
    # They decide nothing any more: where the spec's are code of the user's, others do.
    early_stopper = make_registered_stopper(record.spec)
    sampler = _make_sampler(record, early_stopper, 1, {"name": "random"})
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
    if _track_results(record, tracking_uri, folder, None):
        record.set_delivered()


def read_earlier(place: Runs, names: Iterable[str]) -> tuple[list[Earlier], list[Problem]]:
    """Return what earlier searches can teach, and a problem for each that can't be read."""
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
    """Return what a search can teach others."""
    rungs = make_registered_stopper(record.spec).rungs
    return Earlier(record.spec, tuple(Observations(record).read()), rungs)


def _track_results(
    record: Record, tracking_uri: str, folder: SearchFolder, final: FinalModel | None
) -> bool:
    """Log the report to the parent run and register the best model; MLflow is a view, so what
    fails here is logged and fails nothing."""
    try:
        if final is not None and record.best is not None:
            name = record.best.values["model"]["name"]
            register_best(
                record,
                tracking_uri,
                record.best,
                final.module,
                final.example,
                final.test_metrics,
                code_paths=user_files(name, record.spec.folder),
            )
        files = [folder.spec, folder.report_md, folder.report_html]
        log_report(record, tracking_uri, files)
    except TrackingError:
        _log.exception("MLflow has no model and no report of %s; its folder has", record.name)
        return False
    return True


def _run_trials(
    record: Record,
    place: Runs,
    folder: SearchFolder,
    data: Data | None,
    slots: int,
    reported: threading.Event,
) -> None:
    early_stopper = make_early_stopper(record.spec)
    earlier, lost = read_earlier(place, record.spec.search.warm_start)
    for problem in lost:  # its points are in the record
        _log.warning("%s: %s goes on without its results", problem, record.name)
    control = SearchControl(
        record,
        warm_started(
            _make_sampler(record, early_stopper, slots, record.spec.search.sampler),
            record.spec,
            record.first_points,
            earlier,
        ),
        early_stopper,
        folder.checkpoints,
        folder.stop_request,
        reported,
    )
    # The sampler's matrices are small: more threads would only take time from the trials.
    with _cancelled_by_signals(control), threadpool_limits(1):
        run_trials(control, slots, data, folder)
    control.close()


def _make_sampler(
    record: Record, early_stopper: EarlyStopper, slots: int, named: Mapping[str, Any]
) -> Sampler:
    return make_sampler(
        named,
        record.space,
        seed=record.spec.search.seed,
        direction=record.spec.objective.direction,
        rungs=early_stopper.rungs,
        slots=slots,
    )


def _final_model(record: Record, folder: SearchFolder, data: Data | None) -> FinalModel | None:
    """Score the best model once on the test split, unless the search may still go on."""
    best = record.best
    if data is None or best is None or best.checkpoint is None or record.state != "finished":
        return None
    if not exports_model(record.config(best), data):
        return None
    checkpoint = folder.checkpoints / best.checkpoint
    final = train_final_model(record.config(best), data, checkpoint, record.spec.resources)
    found = {
        "test_metrics": final.test_metrics,
        "baselines": final.baselines,
        "calibration": final.calibration,
    }
    record.set_result(**{name: value for name, value in found.items() if value})
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
