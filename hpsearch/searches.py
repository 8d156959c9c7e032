"""Running, resuming, extending and stopping searches, and syncing them to MLflow.

What imports torch or Ray Tune is imported inside the functions, once Ray is starting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpsearch.binding import BoundSpec, bind_code
from hpsearch.code_snapshot import CodeSnapshot
from hpsearch.errors import Problem, SearchEndedError, SpecError
from hpsearch.process import borrowed_process
from hpsearch.provenance import collect_facts
from hpsearch.record import Finalist, FinalNote, Record
from hpsearch.runs import Runs, SearchFolder
from hpsearch.spec import SearchSpec
from hpsearch.tracking import sync
from hpsearch.tuning.on_ray.cluster import fills_machine, may_have_lanes, ray_cluster
from hpsearch.user_code import take_snapshot

if TYPE_CHECKING:
    from hpsearch.analysis import SearchReport
    from hpsearch.components import Data
    from hpsearch.driver import Watcher
    from hpsearch.samplers.warm_start import Earlier

#: seconds between checks whether a driver has stopped
POLL_S = 0.2
#: seconds that workers outlive a killed driver; they may still write checkpoints
WORKERS_END_S = 3.0


@borrowed_process()
def run_search(
    spec: SearchSpec,
    runs: str | Path = "runs",
    *,
    address: str | None = None,
    on_start: Watcher | None = None,
    progress: bool = True,
) -> SearchReport:
    """Run a search to its end and return its report.

    All files are kept in the folder `runs`. `address` joins a Ray cluster; by default Ray is
    started on this machine. `on_start` is called with the record before the first trial; without
    it the progress is shown in the terminal or the notebook, unless `progress` is False. Ctrl-C
    ends the search cleanly. Raises SpecError before anything starts, and SearchFailedError if the
    newest trials all fail alike or the checkpoints exceed the quota.
    """
    place = Runs(runs)
    place.check_new(spec.name)
    with _watched(spec.name, on_start, progress) as watch:
        return _run(spec, place, address, watch)


def _run(
    spec: SearchSpec, place: Runs, address: str | None, on_start: Watcher | None
) -> SearchReport:
    snapshot = take_snapshot(spec)
    with _prepared(spec, snapshot, place.existing_folder, address) as (spec, data, slots):
        from hpsearch.driver import Driver, read_earlier, with_warm_start

        spec = with_warm_start(spec, place)
        earlier, problems = read_earlier(place, spec.search.earlier_searches)
        if problems:
            raise SpecError(problems)
        facts = collect_facts(spec.folder)
        folder = create_search(spec, place, earlier, facts, snapshot.hashes)
        with folder.drive():
            record = folder.take_over()
            _keep(snapshot, record)
            return Driver(record, place, folder, data, slots, on_start).run()


@contextmanager
def _watched(name: str, on_start: Watcher | None, progress: bool) -> Iterator[Watcher | None]:
    """Yield who is told that a search begins: by default what shows it where this runs."""
    if on_start is not None:
        yield on_start
        return
    from hpsearch.notebook import view_here

    with view_here(name, progress) as view:
        yield None if view is None else view.watch


def create_search(
    spec: SearchSpec,
    place: Runs,
    earlier: Sequence[Earlier],
    facts: Mapping[str, Any],
    code: Mapping[str, str] | None,
    give: Callable[[Path], None] | None = None,
) -> SearchFolder:
    """Create the folder and the record of a checked search, for `resume_search` to run.

    See `Runs.create`.
    """
    from hpsearch.samplers.warm_start import first_points
    from hpsearch.validation.defaults import default_values

    try:
        points = first_points(spec, earlier, default_values(spec) if earlier else None)
    except SpecError as error:
        raise error.below("search.warm_start") from error
    return place.create(spec, facts, points, code, give)


@borrowed_process()
def resume_search(
    name: str,
    runs: str | Path = "runs",
    *,
    address: str | None = None,
    folder: str | Path | None = None,
    changed_code: bool = False,
    on_start: Watcher | None = None,
    progress: bool = True,
    budget: Mapping[str, float] | None = None,
    repeats: int = 0,
    tracking_uri: str | None = None,
) -> SearchReport:
    """Resume an unfinished search from its record.

    Ended trials are kept, the others continue from their newest checkpoints. A search that its
    user stopped is resumed too, with new trials in place of the cancelled ones. `folder` is the
    new path of the spec's folder; changed code is refused unless `changed_code` is set. `budget`
    replaces the spec's (see `SearchSpec.budget`), `tracking_uri` the address of the search's
    MLflow store. With `repeats` a finished search has its best trained with so many new seeds, as
    by `repeat_search`, unless it has a larger budget now. Raises SearchEndedError if it has
    ended, SearchRunningError if a driver works on it, CodeChangedError, and what `run_search`
    raises.
    """
    place = Runs(runs)
    search = place.search(name)
    with search.drive(), _watched(name, on_start, progress) as watch:
        record = search.take_over()
        spec = record.spec if budget is None else record.spec.with_budget(budget)
        final = None
        if spec == record.spec and wants_repeats(record, repeats):
            final = _repeats(record, repeats)
        elif spec == record.spec:
            check_resumable(record)
        bound = bind_code(record, folder, changed_code)
        bound = replace(bound, spec=bound.spec.with_budget(spec.budget))
        if final is not None:
            bound = replace(bound, spec=bound.spec.with_repeats(repeats))
        return _go_on(record, bound, place, search, address, watch, tracking_uri, final)


def check_resumable(record: Record) -> None:
    """Raise SearchEndedError for a search that has ended, and has nothing left to do."""
    has_ended = record.state in ("finished", "failed") and record.delivered
    if has_ended and not record.is_suspended:
        rule = f"{record.name} has {record.state}: `hpsearch extend {record.name}` gives it more"
        raise SearchEndedError(f"{rule} budget")


@borrowed_process()
def extend_search(
    name: str,
    runs: str | Path = "runs",
    *,
    trials: int = 0,
    epochs: int = 0,
    seconds: float = 0.0,
    num_bytes: int = 0,
    address: str | None = None,
    folder: str | Path | None = None,
    changed_code: bool = False,
    on_start: Watcher | None = None,
    progress: bool = True,
) -> SearchReport:
    """Add trials, epochs, seconds or bytes of disk to a search's budget, and resume it.

    Raises SpecError for epochs, seconds or bytes where its spec has no such budget, and what
    `resume_search` raises; see there for the other arguments.
    """
    place = Runs(runs)
    search = place.search(name)
    with search.drive(), _watched(name, on_start, progress) as watch:
        record = search.take_over()
        bound = bind_code(record, folder, changed_code)
        extended = bound.spec.extended(trials, epochs, seconds, num_bytes)
        bound = replace(bound, spec=extended)
        return _go_on(record, bound, place, search, address, watch)


@borrowed_process()
def repeat_search(
    name: str,
    runs: str | Path = "runs",
    *,
    seeds: int = 5,
    address: str | None = None,
    folder: str | Path | None = None,
    changed_code: bool = False,
    on_start: Watcher | None = None,
    progress: bool = True,
) -> SearchReport:
    """Train the best configuration of a finished search again with new seeds.

    Those that it was trained with before count. `report.final` has mean, standard deviation and
    interval, and the scores on the test split. Raises SpecError for a search that isn't finished
    or has no best, and what `resume_search` raises; see there for the other arguments.
    """
    place = Runs(runs)
    search = place.search(name)
    with search.drive(), _watched(name, on_start, progress) as watch:
        record = search.take_over()
        final = _repeats(record, seeds)
        bound = bind_code(record, folder, changed_code)
        bound = replace(bound, spec=bound.spec.with_repeats(seeds))
        return _go_on(record, bound, place, search, address, watch, final=final)


def check_repeatable(record: Record) -> None:
    """Raise SpecError for a search whose best configuration can't be trained again."""
    if record.state != "finished" or record.best is None:
        rule = "must be of a search that is finished and has a best trial"
        raise SpecError([Problem("repeat", rule, f"{record.name}, {record.state}")])
    if record.spec.search.is_population:
        rule = "must be of a search of independent trials: a member's hyperparameters change"
        raise SpecError([Problem("repeat", rule, record.name)])
    if not record.spec.is_plain:
        rule = "must be of a search with one objective and no constraints"
        raise SpecError([Problem("repeat", rule, record.name)])


def wants_repeats(record: Record, seeds: int) -> bool:
    """Whether a finished search has still to train its best with so many new seeds; none: 0."""
    if not seeds or record.state != "finished":
        return False
    if record.final is None:
        return record.best is not None
    return not record.final.is_ranked or record.final.seeds != seeds


def _repeats(record: Record, seeds: int) -> FinalNote:
    check_repeatable(record)
    assert record.best is not None
    return FinalNote((Finalist(record.best.number),), seeds, record.reason)


def stop_search(name: str, runs: str | Path = "runs", *, timeout: float = 120.0) -> Record:
    """Stop a search, running or interrupted, and return its record.

    Waits up to `timeout` seconds for its driver, which may then still be running. Raises
    SearchEndedError if the search has ended.
    """
    place = Runs(runs)
    folder = place.search(name)
    state = folder.open_record().state
    if state != "running":
        raise SearchEndedError(f"{name} has ended already: {state}")
    folder.stop_request.touch()
    deadline = time.monotonic() + timeout
    while folder.is_driven() and time.monotonic() < deadline:
        time.sleep(POLL_S)
    if folder.is_driven():
        return folder.open_record()
    with folder.drive():
        record = folder.take_over()
        if record.state == "running":
            _close(record, place, folder, None)
        return record


def close_search(name: str, runs: str | Path = "runs", tracking_uri: str | None = None) -> Record:
    """End a search that has no driver: its record, its report and MLflow's view.

    Idempotent. `tracking_uri` replaces the address of the search's MLflow store. Raises
    SearchRunningError, and TrackingError if MLflow can't be reached.
    """
    place = Runs(runs)
    folder = place.search(name)
    with folder.drive():
        record = folder.take_over()
        if not record.delivered:
            _close(record, place, folder, tracking_uri)
        return record


def _close(record: Record, place: Runs, folder: SearchFolder, tracking_uri: str | None) -> None:
    from hpsearch.driver import close_unattended, deliver_closed

    if record.state == "running":
        time.sleep(WORKERS_END_S)
        close_unattended(record, folder)
    deliver_closed(record, folder, *place.tracking_of(record.spec, tracking_uri))


def sync_search(name: str, runs: str | Path = "runs", tracking_uri: str | None = None) -> str:
    """Sync MLflow's view of a search with its record; returns the store's URI.

    `tracking_uri` replaces the search's own store. Raises SearchRunningError while a driver works
    on it (which syncs it anyway), and TrackingError if the store can't be used.
    """
    from hpsearch.driver import sync_repeats

    place = Runs(runs)
    folder = place.search(name)
    with folder.drive():
        record = folder.open_record()
        uri, artifacts = place.tracking_of(record.spec, tracking_uri)
        sync(record, uri, artifacts)
        sync_repeats(folder, uri, artifacts)
    return uri


def _go_on(
    record: Record,
    bound: BoundSpec,
    place: Runs,
    folder: SearchFolder,
    address: str | None,
    on_start: Watcher | None,
    tracking_uri: str | None = None,
    final: FinalNote | None = None,
) -> SearchReport:
    """Go on with a search; `final` has it train nothing but that."""
    spec = bound.spec
    with _prepared(spec, bound.snapshot, folder.path, address, is_new=False) as (_, data, slots):
        from hpsearch.driver import Driver

        record.bind(spec.folder, bound.code)
        _keep(bound.snapshot, record)
        # One that has ended lacks only its report, its model and MLflow's view.
        has_more = final is not None or spec != record.spec or record.is_suspended
        if has_more or record.state in ("running", "stopped"):
            record.go_on(spec)
            folder.write_spec(spec)
        if final is not None:
            record.set_final(final)
        return Driver(record, place, folder, data, slots, on_start, tracking_uri).run()


def _keep(snapshot: CodeSnapshot, record: Record) -> None:
    """Keep the code in the search's folder, where workers import it."""
    if record.code_folder is not None:
        snapshot.write(record.code_folder)


@contextmanager
def _prepared(
    spec: SearchSpec,
    code: CodeSnapshot,
    folder: Path,
    address: str | None,
    *,
    is_new: bool = True,
) -> Iterator[tuple[SearchSpec, Data | None, int]]:
    """Check a spec, and the disk of an existing folder, while the cluster starts.

    Yields the spec with recommended ranges, its data, and the trials that the cluster can train
    at the same time.
    """
    limits = spec.search.max_concurrent, spec.search.trials
    starting = ray_cluster(address, fills_machine(spec.resources, *limits), may_have_lanes(spec))
    with starting as cluster, code.imported():
        # These import torch, Tune and the catalogue: seconds in which Ray starts.
        import hpsearch.driver  # noqa: F401
        from hpsearch.validation import check_disk, check_spec

        spec, data = check_spec(spec, is_new=is_new, code=code)
        slots = cluster.slots(spec.resources, spec.search.max_concurrent)
        check_disk(spec, data, slots, folder)
        yield spec, data, slots
