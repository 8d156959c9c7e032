"""Whether the settings of a search fit each other: its sampler, its early stopping, its points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hpsearch.errors import Problem, SpecError
from hpsearch.samplers import make_sampler
from hpsearch.space import SearchSpace
from hpsearch.spec import Asha, Draft, SearchSpec
from hpsearch.validation.outcomes import problem_of, problems_in
from hpsearch.validation.points import point_problems, warm_start_problems
from hpsearch.validation.signatures import check_component


def settings_problems(draft: Draft) -> Iterator[Problem]:
    """Yield what is wrong with the section `search`, as far as its shape allows to tell."""
    search = draft.raw.get("search", {})
    if not isinstance(search, Mapping):
        return
    yield from _sampler_problems(draft, search.get("sampler", "auto"))
    yield from _grace_period_problems(search.get("early_stopping", {}))
    if draft.spec is not None:
        yield from point_problems(draft.spec)
        yield from warm_start_problems(draft.spec)
        yield from _database_problems(draft.spec)


def _database_problems(spec: SearchSpec) -> Iterator[Problem]:
    if spec.storage is not None and spec.storage == spec.tracking_uri:
        # Both number the versions of their tables in one called alembic_version.
        rule = (
            "must be another database than storage: Optuna's tables and MLflow's can't share one"
        )
        yield Problem("tracking_uri", rule)


def _sampler_problems(draft: Draft, sampler: Any) -> Sequence[Problem]:
    named = {"name": sampler} if isinstance(sampler, str) else sampler
    if not isinstance(named, Mapping):
        return []
    problems = problems_in(check_component("sampler", named, "search.sampler", draft.folder))
    spec = draft.spec
    if problems or spec is None:
        return problems
    try:  # some samplers can't search every space
        make_sampler(
            spec.search.sampler,
            SearchSpace.of(spec),
            seed=spec.search.seed,
            direction=spec.objective.direction,
            rungs=(spec.max_epochs,),
            slots=1,
            folder=draft.folder,
        )
    except SpecError as error:
        return error.problems
    except Exception as error:  # user code may raise anything
        return [problem_of(error, value=spec.search.sampler).below("search.sampler")]
    return []


def _grace_period_problems(early_stopping: Any) -> Iterator[Problem]:
    if not isinstance(early_stopping, Mapping):
        return
    defaults = Asha()
    first = early_stopping.get("grace_period", defaults.grace_period)
    last = early_stopping.get("max_epochs", defaults.max_epochs)
    if isinstance(first, int) and isinstance(last, int) and first > last >= 1:
        rule = f"must be at most max_epochs ({last})"
        yield Problem("search.early_stopping.grace_period", rule, first)
