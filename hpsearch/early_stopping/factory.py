"""From the name in a spec to its rule of early stopping."""

from __future__ import annotations

import inspect
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from annotated_types import Interval

from hpsearch import registry
from hpsearch.early_stopping.base import Rule
from hpsearch.early_stopping.median import FullBudget
from hpsearch.errors import Problem, SpecError, nearest_names, problem_of
from hpsearch.spec import Direction, EarlyStopping, SearchSpec
from hpsearch.spec.stopping import DEFAULT_MAX_EPOCHS, MAX_EPOCHS

FAMILY = "early_stopping"


def _shared(
    max_epochs: Annotated[int, Interval(ge=1, le=MAX_EPOCHS)] = DEFAULT_MAX_EPOCHS,
) -> None:
    """What every rule has."""


registry.share_keywords(FAMILY, _shared)


def make_early_stopper(spec: SearchSpec) -> Rule:
    """Return the rule that a spec names; raises as `make_rule`, with places in the spec."""
    settings, direction = spec.search.early_stopping, spec.objective.direction
    try:
        return make_rule(settings, direction, Path(spec.folder), by_standing=not spec.is_plain)
    except SpecError as error:
        raise error.below("search", FAMILY) from error


def make_rule(
    settings: EarlyStopping, direction: Direction, folder: Path, *, by_standing: bool = False
) -> Rule:
    """Return the rule that settings name; a file of the user's is taken from `folder`.

    With `by_standing`, for several objectives or constraints, it is a StandingRule. Raises
    SpecError, with places from the rule's, for an unknown name, for a rule that can't judge by
    standings, for keywords that the rule refuses and for rungs that don't ascend to `max_epochs`;
    UserCodeError where a rule of the user's can't be imported.
    """
    try:
        component = registry.get(FAMILY, settings.name, folder)
    except KeyError as error:
        known = registry.names(FAMILY)
        must = registry.one_of(known)
        nearest = nearest_names(settings.name, known)
        raise SpecError([Problem("name", must, settings.name, nearest)]) from error
    if by_standing and not judges_by_standing(component):
        able = [name for name in registry.names(FAMILY) if _can(name)]
        must = f"with several objectives or constraints {registry.one_of(able)}"
        raise SpecError([Problem("name", must, settings.name)])
    offered = {
        "max_epochs": settings.max_epochs,
        "direction": direction,
        "by_standing": by_standing,
    }
    try:
        rule: Rule = component.build(settings.keywords, **offered)
    except Exception as error:  # a rule of the user's may raise anything
        raise SpecError([problem_of(error, value=settings.name)]) from error
    if problem := _problem(rule, settings.max_epochs):
        raise SpecError([problem])
    return rule


def judges_by_standing(component: registry.Component) -> bool:
    """Whether a rule can do several objectives and constraints (see StandingRule)."""
    return "by_standing" in inspect.signature(component.factory).parameters


def make_registered_stopper(spec: SearchSpec) -> Rule:
    """Return the rule that a spec names; one that stops nothing where that is a user's code, or
    isn't there (any more).

    For those who only read a record, or end its search: they run no code of users.
    """
    settings = spec.search.early_stopping
    if not registry.is_user_code(settings.name):
        with suppress(SpecError):  # a package's that is gone, or a record that others wrote
            return make_early_stopper(spec)
    return FullBudget(settings.max_epochs)


def _can(name: str) -> bool:
    return judges_by_standing(registry.get(FAMILY, name))


def _problem(rule: Rule, max_epochs: int) -> Problem | None:
    missing = [name for name in ("report", "finish") if not callable(getattr(rule, name, None))]
    if missing:
        must = "must make a rule with the methods report and finish (hpsearch.early_stopping)"
        return Problem("name", must, f"{type(rule).__name__} without {missing[0]}")
    rungs = getattr(rule, "rungs", None)
    must = f"must make a rule whose rungs are epochs that ascend to max_epochs ({max_epochs})"
    is_sequence = isinstance(rungs, tuple | list) and all(type(each) is int for each in rungs)
    if not is_sequence or not rungs or rungs[-1] != max_epochs:
        return Problem("name", must, rungs)
    ascends = all(a < b for a, b in zip(rungs, rungs[1:], strict=False))
    return None if ascends and rungs[0] >= 1 else Problem("name", must, rungs)
