"""The second check of a spec, of meaning: whether names, keywords, code and data fit each other.

It comes after the check of shape (`hpsearch.spec`) and before Ray starts, and reports what both
found, all at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpsearch.components import Data
from hpsearch.errors import SpecError
from hpsearch.process import borrowed_process
from hpsearch.spec import Draft, SearchSpec, draft_spec, read_draft
from hpsearch.validation.disk import check_disk as check_disk
from hpsearch.validation.functions import check_training_function
from hpsearch.validation.notes import data_notes as data_notes
from hpsearch.validation.settings import check_launcher, check_settings
from hpsearch.validation.trials import check_built_in_trial


def load_checked_spec(path: str | Path, overrides: Sequence[str] = ()) -> SearchSpec:
    """Read a spec from a YAML file and check all of it; raises SpecError with every problem."""
    return check(read_draft(path, overrides))


@borrowed_process()
def check(draft: Draft) -> SearchSpec:
    """Return the spec of a draft; raises SpecError with every problem of shape or meaning."""
    return check_draft(draft)[0]


@borrowed_process()
def check_spec(spec: SearchSpec) -> tuple[SearchSpec, Data | None]:
    """Check the meaning of a spec; returns it with recommended ranges filled in, and the data
    set that was loaded for that, if any.

    Raises SpecError with every problem.
    """
    return check_draft(draft_spec(spec.to_dict(), spec.folder))


def check_draft(draft: Draft) -> tuple[SearchSpec, Data | None]:
    """Return the spec of a draft as `check_spec` does."""
    problems = list(draft.problems)
    data = None
    if draft.raw.get("trainable") is not None:
        check_training_function(draft, problems)
    else:
        data = check_built_in_trial(draft, problems)
    check_launcher(draft, data, problems)
    if draft.spec is not None:  # with the recommended ranges, which points may lie in
        draft.spec = draft.spec.model_copy(update=draft.sections)
    check_settings(draft, problems)
    if problems or draft.spec is None:
        raise SpecError(problems)
    return draft.spec, data
