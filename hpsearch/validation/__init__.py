"""The second check of a spec, of meaning: whether names, keywords, code and data fit each other.

It comes after the check of shape (`hpsearch.spec`) and before Ray starts, and reports what both
found, all at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from hpsearch.code_snapshot import CodeSnapshot
from hpsearch.components import Data
from hpsearch.errors import Problem, SpecError
from hpsearch.importing import outliving_exits, working_directory
from hpsearch.process import borrowed_process
from hpsearch.spec import Draft, SearchSpec, read_draft
from hpsearch.user_code import draft_snapshot
from hpsearch.validation.commands import command_problems
from hpsearch.validation.consent import consent_problems
from hpsearch.validation.disk import check_disk as check_disk
from hpsearch.validation.ensembles import ensemble_problems
from hpsearch.validation.functions import training_function_problems
from hpsearch.validation.keras_defaults import keras_problems, with_keras_defaults
from hpsearch.validation.launcher import launcher_problems
from hpsearch.validation.notes import data_notes as data_notes
from hpsearch.validation.outcomes import unique
from hpsearch.validation.recipe import of_recipe
from hpsearch.validation.recommended import with_recommended_ranges
from hpsearch.validation.reinforcement import reinforcement_problems
from hpsearch.validation.settings import device_problems, settings_problems
from hpsearch.validation.trials import check_built_in_trial


class Checked(NamedTuple):
    """A checked spec with recommended ranges and defaults filled in, and the data set that was
    loaded for that, if any."""

    spec: SearchSpec
    data: Data | None


def load_checked_spec(path: str | Path, overrides: Sequence[str] = ()) -> SearchSpec:
    """Read a spec from a YAML file and check all of it; raises SpecError with every problem."""
    return check(read_draft(path, overrides))


@borrowed_process()
def check(draft: Draft) -> SearchSpec:
    """Return the spec of a draft; raises SpecError with every problem of shape or meaning."""
    return check_draft(draft).spec


@borrowed_process()
def check_spec(
    spec: SearchSpec, *, is_new: bool = True, code: CodeSnapshot | None = None
) -> Checked:
    """Check the meaning of a spec; raises SpecError with every problem.

    That of an earlier search, which isn't `is_new`, may have nothing to search.
    """
    return check_draft(Draft.of(spec), is_new=is_new, code=code)


def check_draft(draft: Draft, *, is_new: bool = True, code: CodeSnapshot | None = None) -> Checked:
    """Check a draft, which stays as it is; raises SpecError with every problem of shape or
    meaning.

    `code` is the user's as it will be trained; by default as it is now.
    """
    code = code or draft_snapshot(draft.raw, draft.folder)
    with code.imported(), working_directory(draft.folder), outliving_exits():
        draft = filled_in(draft)
        data, problems = _check_trial(draft)
        problems += [*launcher_problems(draft, data), *settings_problems(draft)]
        problems += keras_problems(draft)
        problems += [*device_problems(draft.spec), *ensemble_problems(draft.spec, data)]
    problems = unique(of_recipe([*draft.problems, *problems], draft.written))
    if is_new and not problems and draft.spec is not None:
        problems = consent_problems(draft.spec)
    if problems or draft.spec is None:
        raise SpecError(problems)
    return Checked(draft.spec, data)


def filled_in(draft: Draft) -> Draft:
    """Return a draft with recommended ranges and another library's defaults filled in."""
    sections = with_recommended_ranges(draft.sections, draft.folder)
    if draft.raw.get("defaults") == "keras" and not keras_problems(draft):
        sections = with_keras_defaults(sections, draft.folder)
    spec = draft.spec and draft.spec.model_copy(update=sections)
    return replace(draft, sections=sections, spec=spec)


def _check_trial(draft: Draft) -> tuple[Data | None, list[Problem]]:
    if draft.raw.get("trainable") is not None:
        return None, [*training_function_problems(draft)]
    if draft.raw.get("command") is not None:
        return None, [*command_problems(draft)]
    if draft.raw.get("environment") is not None:
        return None, [*reinforcement_problems(draft)]
    return check_built_in_trial(draft)
