"""Whether the settings of a search fit each other: its sampler, its early stopping, its points."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from hpsearch.components import Data
from hpsearch.early_stopping import EarlyStopper, make_rule
from hpsearch.errors import Problem, SpecError, UserCodeError
from hpsearch.registry import is_user_code
from hpsearch.samplers import make_sampler
from hpsearch.space import SearchSpace
from hpsearch.spec import Draft, EarlyStopping, SearchSpec, TrialConfig
from hpsearch.spec.trees import named
from hpsearch.training.launchers import suiting, suits
from hpsearch.validation.points import check_points, check_warm_start
from hpsearch.validation.signatures import check_component


def check_settings(draft: Draft, problems: list[Problem]) -> None:
    """Check the section `search`, as far as its shape allows."""
    search = draft.raw.get("search", {})
    if not isinstance(search, Mapping):
        return
    _check_sampler(draft, search.get("sampler", "auto"), problems)
    _check_early_stopping(draft, search.get("early_stopping", {}), problems)
    if draft.spec is not None:
        check_points(draft.spec, problems)
        check_warm_start(draft.spec, problems)
        _check_databases(draft.spec, problems)


def check_launcher(draft: Draft, data: Data | None, problems: list[Problem]) -> None:
    """Check the setting `launcher`, and whether it suits the other sections."""
    raw = named(draft.raw.get("launcher"))
    if not isinstance(raw, Mapping):
        return  # there is none, or its shape is wrong
    found = check_component("launcher", raw, "launcher", draft.folder, problems)
    config = TrialConfig(0, 0, 1, {}, trainable=draft.raw.get("trainable"))
    config = replace(config, folder=str(draft.folder))
    for name in (alternative.component.name for alternative in found):
        with suppress(UserCodeError, KeyError):  # of `trainable`: reported there
            if not suits(name, config, data, default=True):
                rule = f"must suit the other sections, as {suiting(config, data)} does"
                problems.append(Problem("launcher.name", rule, name))


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


def _check_early_stopping(draft: Draft, raw: Any, problems: list[Problem]) -> None:
    """Check the rule of early stopping, whose `max_epochs` the shape has checked."""
    try:
        settings = EarlyStopping.model_validate(named(raw))
    except ValidationError:  # reported with the shape
        return
    place, section = "search.early_stopping", {"name": settings.name, **settings.keywords}
    if not check_component("early_stopping", section, place, draft.folder, problems):
        return
    direction = draft.spec.objective.direction if draft.spec else "maximize"
    try:
        rule = make_rule(settings, direction, draft.folder)
    except SpecError as error:
        problems += error.problems
        return
    if is_user_code(settings.name):
        _try_rule(rule, settings.name, problems)


def _try_rule(rule: EarlyStopper, name: str, problems: list[Problem]) -> None:
    """Report an epoch to a rule of the user's, which isn't used any more."""
    try:
        rule.report(0, 1, 0.5)
    except Exception as error:  # it may raise anything
        must = f"must take a report: trial, epoch, value ({type(error).__name__}: {error})"
        problems.append(Problem("search.early_stopping.name", must, name))
