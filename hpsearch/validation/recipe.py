"""Whether the plan of a recipe fits the other settings of a search."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace

from hpsearch.errors import Problem, SpecError
from hpsearch.samplers.disciplined import SAMPLER, DisciplinedSampler
from hpsearch.space import SearchSpace
from hpsearch.spec import Choices, SearchSpec


def recipe_problems(spec: SearchSpec) -> Iterator[Problem]:
    """Yield why a recipe could not be written out, and what can't go with its sampler."""
    search = spec.search
    if search.recipe is not None:
        yield Problem("search.recipe", _unfitting(spec), search.recipe)
    if search.sampler["name"] != SAMPLER:
        return
    rule = f"must not be given with the {SAMPLER} plan, whose trials follow from each other"
    if search.points:
        yield Problem("search.points", rule)
    if search.warm_start:
        yield Problem("search.warm_start", rule, list(search.warm_start))
    if search.stop_when is not None:
        yield Problem("search.stop_when", rule)
    if spec.constraints:
        yield Problem("constraints", f"must not be given with the {SAMPLER} plan")
    with suppress(SpecError):  # of a space that it refuses, which is told of the sampler
        plan = DisciplinedSampler(SearchSpace.of(spec), spec.objective.direction, (1,))
        if search.trials < plan.num_trials:
            rule = f"must be at least those of the plan ({plan.num_trials})"
            yield Problem("search.trials", rule, search.trials)


def of_recipe(problems: Iterable[Problem], written: Collection[str]) -> list[Problem]:
    """Say of the recipe what is wrong with the settings that it wrote: the user has none there."""
    return [
        replace(each, path="search.recipe", rule=f"sets {each.path}, which {each.rule}")
        if any(f"{each.path}.".startswith(f"{place}.") for place in written)
        else each
        for each in problems
    ]


def _unfitting(spec: SearchSpec) -> str:
    if spec.is_own_code:
        return "must be given with dataset, model and optimizer only; your own code has its own"
    if isinstance(spec.optimizer, Choices):
        return "must be given with one optimizer: it chooses the values of one"
    return "must be given without search.sampler: it has its own"
