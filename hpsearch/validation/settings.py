"""Whether the settings of a search fit each other: its sampler, its early stopping, its points."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any

import torch
from pydantic import ValidationError

from hpsearch.early_stopping import make_rule
from hpsearch.errors import Problem, SpecError, nearest_names, problem_of
from hpsearch.pareto import Standing
from hpsearch.registry import is_user_code
from hpsearch.samplers import PopulationSampler, make_sampler
from hpsearch.space import SearchSpace
from hpsearch.spec import Draft, EarlyStopping, SearchSpec
from hpsearch.spec.trees import named
from hpsearch.validation.lr_places import lr_places
from hpsearch.validation.outcomes import parted, problems_in
from hpsearch.validation.points import point_problems, warm_start_problems
from hpsearch.validation.population import population_problems
from hpsearch.validation.recipe import recipe_problems
from hpsearch.validation.signatures import check_component
from hpsearch.validation.stages import stage_problems


def settings_problems(draft: Draft) -> Iterator[Problem]:
    """Yield what is wrong with the section `search`, as far as its shape allows to tell."""
    search = draft.raw.get("search", {})
    if not isinstance(search, Mapping):
        return
    yield from _sampler_problems(draft, search.get("sampler", "auto"))
    yield from _early_stopping_problems(draft, search.get("early_stopping", {}))
    if draft.spec is not None:
        yield from _comparison_problems(draft.spec)
        yield from recipe_problems(draft.spec)
        yield from _lr_problems(draft.spec)
        yield from stage_problems(draft.spec)
        yield from point_problems(draft.spec)
        yield from warm_start_problems(draft.spec)
        yield from _database_problems(draft.spec)


def _comparison_problems(spec: SearchSpec) -> Iterator[Problem]:
    """Yield what can't go with several objectives, or with constraints."""
    if spec.is_plain:
        return
    what = "several objectives" if spec.objectives else "constraints"
    if spec.search.stop_when is not None:
        rule = f"must not be given with {what}: the forecast is of one objective"
        yield Problem("search.stop_when", rule)
    if spec.search.final is not None:
        rule = f"must not be given with {what}: new seeds are ranked by one objective"
        yield Problem("search.final", rule)
    if spec.search.ensemble is not None:
        rule = f"must not be given with {what}: the trials of the mean are ranked by one objective"
        yield Problem("search.ensemble", rule)
    if spec.search.warm_start:
        rule = f"must not be given with {what}: earlier searches were not compared by them"
        yield Problem("search.warm_start", rule, list(spec.search.warm_start))


def device_problems(spec: SearchSpec | None) -> Iterator[Problem]:
    """Yield what is wrong with the device that a spec names."""
    if spec is None or spec.device is None:
        return
    if spec.resources.gpu > 0:
        rule = "must not be given where trials get GPUs of the cluster (resources.gpu)"
        yield Problem("device", rule, spec.device)
    elif spec.device == "mps" and not torch.backends.mps.is_available():
        yield Problem("device", "must be a device that this machine has (cpu)", spec.device)


def machine_problems(spec: SearchSpec) -> Iterator[Problem]:
    """Yield what a trial asks for that this machine doesn't have."""
    has = {"cpu": os.cpu_count() or 1, "gpu": torch.cuda.device_count()}
    for name, number in has.items():
        wanted = getattr(spec.resources, name)
        if wanted > number:
            rule = f"must be at most the {name.upper()}s of this machine ({number})"
            hint = "for a cluster or a service: `hpsearch validate --cluster`"
            yield Problem(f"resources.{name}", rule, wanted, hint=hint)


#: places of MLflow's runs; a path has none
_TRACKING_SCHEMES = ("file", "http", "https", "mssql", "mysql", "postgresql", "sqlite")


def _tracking_problems(spec: SearchSpec) -> Iterator[Problem]:
    """Yield an address of runs that neither MLflow nor a plug-in of it knows."""
    scheme, separator, _ = (spec.tracking_uri or "").partition("://")
    plugins = [each.name for each in entry_points(group="mlflow.tracking_store")]
    known = (*_TRACKING_SCHEMES, "databricks", *plugins)
    if separator and scheme.partition("+")[0] not in known:
        rule = f"must be a path or begin with one of {', '.join(known)} and ://"
        yield Problem("tracking_uri", rule, spec.tracking_uri, nearest_names(scheme, known))


def _database_problems(spec: SearchSpec) -> Iterator[Problem]:
    yield from _tracking_problems(spec)
    if spec.storage is not None and spec.storage == spec.tracking_uri:
        # Both number the versions of their tables in one called alembic_version.
        rule = (
            "must be another database than storage: Optuna's tables and MLflow's can't share one"
        )
        yield Problem("tracking_uri", rule)


def _sampler_problems(draft: Draft, given: Any) -> Sequence[Problem]:
    section = named(given)
    if not isinstance(section, Mapping):
        return []
    problems = problems_in(check_component("sampler", section, "search.sampler", draft.folder))
    spec = draft.spec
    if problems or spec is None:
        return problems
    try:  # some samplers can't search every space
        sampler = make_sampler(
            spec.search.sampler,
            SearchSpace.of(spec),
            seed=spec.search.seed,
            direction=spec.objective.direction,
            rungs=(spec.max_epochs,),
            slots=1,
            folder=draft.folder,
            others=[each.direction for each in spec.objectives[1:]],
            # a population is told below what it can't do
            is_constrained=bool(spec.constraints) and not spec.search.is_population,
        )
    except SpecError as error:
        return error.problems
    except Exception as error:  # user code may raise anything
        return [problem_of(error, value=spec.search.sampler).below("search.sampler")]
    if isinstance(sampler, PopulationSampler):
        return [*population_problems(spec, sampler)]
    return []


def _early_stopping_problems(draft: Draft, raw: Any) -> Sequence[Problem]:
    """Check the rule of early stopping, whose `max_epochs` the shape has checked."""
    try:
        settings = EarlyStopping.model_validate(named(raw))
    except ValidationError:  # reported with the shape
        return []
    place, section = "search.early_stopping", {"name": settings.name, **settings.keywords}
    found, problems = parted(check_component("early_stopping", section, place, draft.folder))
    if not found:
        return problems
    spec = draft.spec
    direction = spec.objective.direction if spec else "maximize"
    by_standing = spec is not None and not spec.is_plain
    try:
        rule = make_rule(settings, direction, draft.folder, by_standing=by_standing)
    except SpecError as error:
        return error.below(place).problems
    num_objectives = len(spec.all_objectives) if spec and by_standing else 0
    return _tried(rule, settings.name, num_objectives) if is_user_code(settings.name) else []


def _lr_problems(spec: SearchSpec) -> Iterator[Problem]:
    """Yield why range tests can't narrow the range of the learning rate."""
    if spec.search.lr is None:
        return
    if spec.is_own_code:
        rule = (
            "must be given with dataset, model and optimizer only; your own code has no optimizer"
        )
        yield Problem("search.lr", f"{rule} that hpsearch knows", spec.search.lr)
    elif spec.environment is not None:
        rule = "must not be given with environment: range tests train on a data set"
        yield Problem("search.lr", rule, spec.search.lr)
    elif not any(place.is_searched for place in lr_places(spec)):
        rule = "must have a range to narrow: optimizer.lr with low and high, or auto"
        yield Problem("search.lr", rule, spec.search.lr)


def _tried(rule: Any, name: str, num_objectives: int) -> Sequence[Problem]:
    """Report an epoch to a rule of the user's, which isn't used any more.

    With `num_objectives` it is a StandingRule.
    """
    try:
        rule.report(0, 1, Standing((0.5,) * num_objectives) if num_objectives else 0.5)
    except Exception as error:  # it may raise anything
        must = f"must take a report: trial, epoch, value ({type(error).__name__}: {error})"
        return [Problem("search.early_stopping.name", must, name)]
    return []
