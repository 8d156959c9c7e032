"""Verifies that a search's record, MLflow runs and files agree: nothing lost or duplicated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hpsearch.formatting import show_count
from hpsearch.integrity.file_rules import file_problems
from hpsearch.integrity.place_rules import place_problems
from hpsearch.integrity.record_rules import record_problems
from hpsearch.integrity.run_rules import num_points, run_problems
from hpsearch.record import Record
from hpsearch.runs import Runs, SearchFolder
from hpsearch.tracking.audit import read_runs
from hpsearch.tracking.places import rebind_own_store


@dataclass(frozen=True)
class Findings:
    """What was compared, and what is wrong: each problem names its place, the rule, the value."""

    compared: tuple[str, ...]
    problems: tuple[str, ...]


def check_search(record: Record, folder: SearchFolder, tracking_uri: str) -> Findings:
    """Compare a search's record with its rules, with Optuna's study, with MLflow and its files.

    While a driver works on it, MLflow's view follows the record and isn't compared. A search
    whose driver died may lack what the next one finishes. Raises TrackingError if MLflow's store
    can't be used.
    """
    is_driven = folder.is_driven()
    if record.state == "running" and not is_driven:
        record = folder.open_record()  # its driver may have ended it meanwhile
    compared = tuple(_compared_here(record, is_driven))
    if is_driven:
        note = "nothing with MLflow: a driver is running, and the MLflow view may lag"
        return Findings((*compared, note), _lasting_problems(record, folder))
    rebind_own_store(tracking_uri, Runs(folder.path.parent).artifacts)
    problems = (
        *_problems_here(record, folder),
        *place_problems(record, folder, tracking_uri),
        *run_problems(record, read_runs(record, tracking_uri)),
    )
    return Findings((*compared, *_compared_with_mlflow(record)), problems)


def _compared_here(record: Record, is_driven: bool) -> Iterator[str]:
    if record.state == "running" and not is_driven:
        yield (
            "an interrupted search: its driver died; "
            f"`hpsearch resume {record.name}` completes what it lacks"
        )
    trials = show_count(len(record.trials), "trial")
    epochs = show_count(sum(len(trial.curve) for trial in record.trials), "epoch")
    yield f"{trials} and {epochs} of the record with the rules of a search"
    yield f"{trials} of the record with Optuna's study"
    yield "the spec and the checkpoints of the record with the files"
    if record.code:
        yield f"{show_count(len(record.code), 'file')} of code with those in {record.spec.folder}"


def _compared_with_mlflow(record: Record) -> Iterator[str]:
    trials = show_count(len(record.trials), "trial")
    yield f"the search and {trials} of the record with MLflow's runs"
    yield f"{show_count(num_points(record), 'point')} of their curves with MLflow's"


def _problems_here(record: Record, folder: SearchFolder) -> Iterator[str]:
    yield from record_problems(record)
    yield from file_problems(record, folder)


def _lasting_problems(record: Record, folder: SearchFolder) -> tuple[str, ...]:
    """Return what is wrong before and after the record is read again.

    The driver is in the middle of its writes: what isn't wrong any more never was.
    """
    found = list(_problems_here(record, folder))
    again = set(_problems_here(folder.open_record(), folder)) if found else set()
    return tuple(problem for problem in found if problem in again)
