"""What must hold between a search and where its code and its artifacts are."""

from __future__ import annotations

from collections.abc import Iterator

from hpsearch.binding import missing_code
from hpsearch.errors import Problem, RecordError
from hpsearch.record import Record
from hpsearch.runs import Runs, SearchFolder
from hpsearch.tracking.places import moved_places
from hpsearch.user_code import changes, code_hashes, missing_files


def place_problems(record: Record, folder: SearchFolder, tracking_uri: str) -> Iterator[str]:
    """Yield what of a search points elsewhere, as after a move or a copy."""
    missing = missing_files(record.spec)
    for file in missing:
        yield str(missing_code(record, record.spec, file))
    if not missing:
        yield from map(str, _changed_code(record))
    yield from _shared_record(record)
    yield from map(str, _foreign_artifacts(record, folder, tracking_uri))


def _changed_code(record: Record) -> Iterator[Problem]:
    """Yield what keeps a search from continuing; one that has ended needs its code no more."""
    if record.state not in ("running", "stopped") or record.code is None:
        return
    changed = changes(record.code, code_hashes(record.spec))
    if changed:
        rule = "must be unchanged since the search last ran (accept it with --changed-code)"
        yield Problem("code", rule, ", ".join(changed))


def _shared_record(record: Record) -> Iterator[str]:
    try:
        record.check_not_shared()
    except RecordError as error:
        yield str(error)


def _foreign_artifacts(
    record: Record, folder: SearchFolder, tracking_uri: str
) -> Iterator[Problem]:
    artifacts = Runs(folder.path.parent).artifacts
    for place in moved_places(tracking_uri, artifacts, record.name):
        rule = f"must be {place.wanted} (run `hpsearch sync {record.name}`)"
        yield Problem("MLflow's place of artifacts", rule, place.stored)
