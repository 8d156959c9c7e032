"""Finds the code of a search where it is now, and compares it with the code that has run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hpsearch.code_snapshot import CodeSnapshot, kept_folder_of_code
from hpsearch.errors import CodeChangedError, Problem, SpecError
from hpsearch.record import Record
from hpsearch.spec import SearchSpec
from hpsearch.user_code import changes, missing_files, take_snapshot


@dataclass(frozen=True)
class BoundSpec:
    """A spec whose folder is where its code is now, and that code."""

    spec: SearchSpec
    snapshot: CodeSnapshot

    @property
    def code(self) -> Mapping[str, str]:
        """The hashes of the code."""
        return self.snapshot.hashes


def bind_code(
    record: Record, folder: str | Path | None = None, changed_code: bool = False
) -> BoundSpec:
    """Return the spec of a record with its code as it is now, in `folder` if that is given.

    Raises SpecError where the code isn't there, and CodeChangedError where it is not what it was
    when a driver last worked on the search, unless it may have `changed_code` or failed
    before its first epoch. The record stays as it is.
    """
    spec = record.spec
    if folder is not None:
        path = Path(folder).resolve()
        if not path.is_dir():
            raise SpecError([Problem("--folder", "must be a folder", str(folder))])
        spec = spec.model_copy(update={"folder": str(path)})
    problems = [missing_code(record, spec, file) for file in missing_files(spec)]
    if problems:
        raise SpecError(problems)
    snapshot = take_snapshot(spec)
    was_mended = record.is_suspended and not any(trial.curve for trial in record.trials)
    if record.code is not None and not changed_code and not was_mended:
        changed = changes(record.code, snapshot.hashes)
        if changed:
            raise CodeChangedError(record.name, changed)
    return BoundSpec(spec, snapshot)


def missing_code(record: Record, spec: SearchSpec, file: str) -> Problem:
    """Return the problem that a file which a spec names isn't where it should be."""
    advice = f"if it was moved: `hpsearch resume {record.name} --folder DIR`"
    place = record.code_folder
    if place is not None and place.is_dir():
        advice += f"; the search's copy is in {kept_folder_of_code(place, record.code or {})}"
    return Problem(file, f"must be a file in {spec.folder} ({advice})")
