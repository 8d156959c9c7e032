"""Routes of what a search holds: trials, curves, logs, report, best configuration and model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Annotated, Any, BinaryIO, Literal

import anyio
from fastapi import APIRouter, Query
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from hpsearch.analysis import SearchReport
from hpsearch.analysis.leaders import leaders
from hpsearch.analysis.next_steps import no_best
from hpsearch.analysis.plain import (
    check_trial,
    plain_best,
    plain_curves,
    plain_diagnoses,
    plain_trial,
    trial_log,
)
from hpsearch.analysis.speed import plain_reached
from hpsearch.errors import ConflictError, SearchNotFoundError
from hpsearch.growing_file import GrowingFile
from hpsearch.live import status_text
from hpsearch.next_spec import plain_next
from hpsearch.record import Record, TrialRecord
from hpsearch.service.api.searches import Limit, Name, Offset
from hpsearch.service.cache.search_list import to_json
from hpsearch.service.core import Service
from hpsearch.service.database.search_table import ACTIVE
from hpsearch.service.http.auth import TheService, TheUser
from hpsearch.service.http.downloads import FileDownload, archive
from hpsearch.service.http.errors import PlainJson
from hpsearch.service.http.schemas import TEXT_PATTERN, TrialPage
from hpsearch.service.summaries import clean_text

router = APIRouter(prefix="/searches/{name}", tags=["results"])
#: seconds between two looks at a log that is followed
FOLLOW_S = 0.5
#: values of the objective that one request may ask about
MAX_TARGETS = 20
Targets = Annotated[
    tuple[Annotated[float, Field(allow_inf_nan=False)], ...], Query(max_length=MAX_TARGETS)
]


@router.get("/status", response_class=PlainTextResponse)
def status(name: Name, service: TheService, user: TheUser) -> str:
    """Return a search's status as `hpsearch status` prints it."""
    row = service.table.get(name)
    lines = [f"{name} of {row.owner}: {row.actual}" + (f" ({row.reason})" if row.reason else "")]
    if warning := row.summary.get("warning"):
        lines.append(f"warning: {warning}")
    with suppress(SearchNotFoundError):  # it has not started
        lines.append(status_text(service.records.read(name)[0]))
    return clean_text("\n".join(lines))


@router.get("/trials", response_model=TrialPage)
def trials(
    name: Name,
    service: TheService,
    user: TheUser,
    order: Literal["number", "leaders"] = "number",
    limit: Limit = 100,
    offset: Offset = 0,
) -> Response:
    """List trials by number, or the leading ones first."""

    def make(record: Record) -> dict[str, Any]:
        found = list(record.trials) if order == "number" else leaders(record)
        page = [plain_trial(record, trial) for trial in found[offset : offset + limit]]
        return {"trials": page, "total": len(found)}

    return _made_once(service, name, ("trials", order, limit, offset), make)


@router.get("/curves", response_model=list[dict[str, Any]])
def curves(
    name: Name,
    service: TheService,
    user: TheUser,
    metric: Annotated[str | None, Query(max_length=250, pattern=TEXT_PATTERN)] = None,
) -> Response:
    """Return a metric of every trial by epoch; the objective by default."""
    return _made_once(service, name, ("curves", metric), lambda found: plain_curves(found, metric))


@router.get("/diagnoses", response_model=dict[str, list[dict[str, Any]]])
def diagnoses(
    name: Name,
    service: TheService,
    user: TheUser,
    trial: Annotated[int | None, Query(ge=0, le=10_000_000)] = None,
) -> Response:
    """Return what learning curves show and what to try, by the number of the trial."""
    if trial is not None:
        check_trial(_record(service, name), trial)
    return _made_once(
        service, name, ("diagnoses", trial), lambda found: plain_diagnoses(found, trial)
    )


@router.get("/logs", response_class=PlainTextResponse)
def logs(
    name: Name,
    service: TheService,
    user: TheUser,
    trial: Annotated[int | None, Query(ge=0, le=10_000_000)] = None,
    follow: bool = False,
    start: Annotated[int, Query(ge=0, le=2**53)] = 0,
) -> Response:
    """Return a driver's log from byte `start` on, as a stream with `follow`.

    With `trial`: that trial's output, and its entry in the record.
    """
    service.table.get(name)
    if trial is None:
        source, grows = partial(service.files.driver_log, name), partial(_is_active, service, name)
    else:
        check_trial(_record(service, name), trial)
        source = partial(service.files.trial_output, name, trial)
        grows = partial(_trains, service, name, trial)
    GrowingFile(source).read()  # what is no log is an error, before an answer has begun
    log = GrowingFile(source, grows if follow else lambda: False, start)
    lines = _chunks(log) if trial is None else _trial_log(service, name, trial, log)
    return StreamingResponse(lines, media_type="text/plain; charset=utf-8")


@router.get("/targets", response_model=list[dict[str, Any]])
def targets(name: Name, service: TheService, user: TheUser, target: Targets) -> Response:
    """Return when a search first came to each target of its objective: trial, epochs, seconds."""
    return _made_once(
        service, name, ("targets", *target), lambda found: plain_reached(found, target)
    )


@router.get("/report", response_class=PlainTextResponse)
def report(
    name: Name,
    service: TheService,
    user: TheUser,
    form: Literal["markdown", "html"] = "markdown",
    target: Targets = (),
) -> Response:
    """Return a search's report, with when it first came to each target."""
    found = SearchReport(_record(service, name), target)
    if form == "markdown":
        return PlainTextResponse(clean_text(found.to_markdown()), media_type="text/markdown")
    return Response(found.to_html().encode(errors="replace"), media_type="text/html")


@router.get("/best", response_model=dict[str, Any])
def best(name: Name, service: TheService, user: TheUser) -> Response:
    """Return the best configuration, with its scores and as a spec to run again."""
    record = _record(service, name)
    trial = _best_trial(record)
    spec = record.spec.with_values(trial.values)
    public = spec.model_copy(update={"storage": None, "tracking_uri": None})  # with passwords
    return PlainJson((plain_best(record) or {}) | {"spec": public.to_yaml()})


@router.get("/next", response_model=dict[str, Any])
def next_search(
    name: Name,
    service: TheService,
    user: TheUser,
    new_name: Annotated[str, Query(max_length=100, pattern=TEXT_PATTERN)] = "",
) -> Response:
    """Return the spec of the next search: ranges and choices as the best trials suggest."""

    def make(record: Record) -> dict[str, Any]:
        return plain_next(record, new_name, imports=False)

    return _made_once(service, name, ("next", new_name), make)


@router.get("/model", response_class=StreamingResponse)
def model(name: Name, service: TheService, user: TheUser, ensemble: bool = False) -> Response:
    """Download the best trial's checkpoint; files that its processes wrote are a ZIP archive, and
    so are the checkpoints of an ensemble's trials."""
    record = _record(service, name)
    if ensemble:
        return archive(f"{name}-ensemble", _member_files(service, record))
    trial = _best_trial(record)
    if record.spec.has_files and trial.checkpoint is not None:
        files = service.files.command_files(name, trial.checkpoint)
        return archive(f"{name}-trial-{trial.number}", files)
    file = _checkpoint(service, record, trial)
    return FileDownload(f"{name}-trial-{trial.number}.pt", file)


def _member_files(service: Service, record: Record) -> Iterator[tuple[str, BinaryIO]]:
    """Return the checkpoints of an ensemble's trials, by name, opened one by one; raises
    ConflictError where there is no ensemble."""
    if record.ensemble is None:
        raise ConflictError(f"{record.name} {record.no_ensemble()}")
    members = [record.trials[number] for number in record.ensemble.counts]
    for trial in members:
        with _checkpoint(service, record, trial):
            pass  # each is there
    return _opened(service, record, members)


def _opened(
    service: Service, record: Record, trials: Sequence[TrialRecord]
) -> Iterator[tuple[str, BinaryIO]]:
    for trial in trials:
        with _checkpoint(service, record, trial) as file:
            yield f"trial-{trial.number}.pt", file


def _checkpoint(service: Service, record: Record, trial: TrialRecord) -> BinaryIO:
    """Open a trial's checkpoint; raises ConflictError where it isn't kept."""
    try:
        if trial.checkpoint is not None:
            return service.files.checkpoint(record.name, trial.checkpoint)
    except FileNotFoundError:
        pass
    raise ConflictError(f"{record.name}: the checkpoint of trial {trial.number} is not kept")


def _best_trial(record: Record) -> TrialRecord:
    """Return the best trial; raises ConflictError with the reason where there is none."""
    if record.best is None:
        raise ConflictError(f"{record.spec.name}: {no_best(record)}")
    return record.best


def _made_once(
    service: Service, name: str, question: tuple[object, ...], make: Callable[[Record], Any]
) -> Response:
    """Return JSON made of a record: many clients ask the same of one that doesn't change."""
    record, version = _read_record(service, name)
    key = (name, *question)
    body = service.response_cache.get(key, version, lambda: to_json(make(record)).encode("ascii"))
    return Response(body, media_type="application/json")


def _record(service: Service, name: str) -> Record:
    return _read_record(service, name)[0]


def _read_record(service: Service, name: str) -> tuple[Record, str]:
    """Return a record and its version; raises ConflictError if there is none yet."""
    row = service.table.get(name)
    try:
        return service.records.read(name)
    except SearchNotFoundError as error:
        raise ConflictError(f"{name} has not started yet: it is {row.actual}") from error


async def _trial_log(
    service: Service, name: str, number: int, log: GrowingFile
) -> AsyncIterator[bytes]:
    async for chunk in _chunks(log):
        yield chunk
    record = await run_in_threadpool(_record, service, name)
    yield clean_text(trial_log(record.trials[number])).encode()


async def _chunks(log: GrowingFile) -> AsyncIterator[bytes]:
    while (chunk := await run_in_threadpool(log.next)) is not None:
        if chunk:
            yield chunk
        else:
            await anyio.sleep(FOLLOW_S)


def _is_active(service: Service, name: str) -> bool:
    try:
        return service.table.get(name).actual in (*ACTIVE, "queued")
    except SearchNotFoundError:  # deleted meanwhile
        return False


def _trains(service: Service, name: str, number: int) -> bool:
    """Whether a trial is running, as far as its record says."""
    return _is_active(service, name) and _record(service, name).trials[number].outcome is None
