"""Whether the settings of a search fit each other: its sampler, its early stopping, its points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpsearch.errors import Problem, SpecError, UserCodeError
from hpsearch.samplers import make_sampler
from hpsearch.space import SearchSpace
from hpsearch.spec import Asha, Draft, SearchSpec
from hpsearch.validation.points import check_points, check_warm_start
from hpsearch.validation.signatures import check_component


def check_settings(draft: Draft, problems: list[Problem]) -> None:
    """Check the section `search`, as far as its shape allows."""
    search = draft.raw.get("search", {})
    if not isinstance(search, Mapping):
        return
    _check_sampler(draft, search.get("sampler", "auto"), problems)
    _check_grace_period(search.get("early_stopping", {}), problems)
    if draft.spec is not None:
        check_points(draft.spec, problems)
        check_warm_start(draft.spec, problems)
        _check_databases(draft.spec, problems)


def _check_databases(spec: SearchSpec, problems: list[Problem]) -> None:
    if spec.storage is not None and spec.storage == spec.tracking_uri:
        # Both number the versions of their tables in one called alembic_version.
        rule = (
            "must be another database than storage: Optuna's tables and MLflow's can't share one"
        )
        problems.append(Problem("tracking_uri", rule))


def _check_sampler(draft: Draft, sampler: Any, problems: list[Problem]) -> None:
    named = {"name": sampler} if isinstance(sampler, str) else sampler
    if not isinstance(named, Mapping):
        return
    found = check_component("sampler", named, "search.sampler", draft.folder, problems)
    spec = draft.spec
    if not found or spec is None:
        return
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
        problems += error.problems
    except UserCodeError as error:
        problems.append(Problem.of(error, "search.sampler"))


def _check_grace_period(early_stopping: Any, problems: list[Problem]) -> None:
    if not isinstance(early_stopping, Mapping):
        return
    defaults = Asha()
    first = early_stopping.get("grace_period", defaults.grace_period)
    last = early_stopping.get("max_epochs", defaults.max_epochs)
    if isinstance(first, int) and isinstance(last, int) and first > last >= 1:
        rule = f"must be at most max_epochs ({last})"
        problems.append(Problem("search.early_stopping.grace_period", rule, first))
