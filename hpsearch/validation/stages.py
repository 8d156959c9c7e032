"""Whether the epochs of stages fit the budget of a trial and its early stopping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from hpsearch.early_stopping import make_rule
from hpsearch.errors import HpsearchError, Problem
from hpsearch.spec import SearchSpec
from hpsearch.validation.samples import samples


def stage_problems(spec: SearchSpec) -> Iterator[Problem]:
    """Yield what is wrong with the stages before the last, whose epochs have no objective."""
    epochs, count = max(((_num_epochs(each), _num(each)) for each in _plain(spec)), default=(0, 0))
    if not epochs:
        return
    if (
        folds := spec.dataset.get("folds") if isinstance(spec.dataset, Mapping) else None
    ) is not None:
        yield Problem("dataset.folds", "must not be given with stages", folds)
    metric, early_stopping = spec.objective.metric, spec.search.early_stopping
    if epochs >= spec.max_epochs:
        rule = (
            "must leave epochs to the last stage, as the spec's other sections have it, but take "
            f"up to {epochs} of a trial's {spec.max_epochs} (search.early_stopping.max_epochs)"
        )
        high = (spec.max_epochs - 1) // count
        hint = f"write `epochs: {{low: 1, high: {high}}}` in each" if high > 1 else ""
        yield Problem("stages", rule, hint=hint)
        return
    try:
        folder = Path(spec.folder)
        rule_ = make_rule(
            early_stopping, spec.objective.direction, folder, by_standing=not spec.is_plain
        )
    except HpsearchError:  # reported where it is checked
        return
    first = rule_.rungs[0]
    if first <= epochs:
        rule = (
            f"must be more than the epochs of the stages before the last (up to {epochs}), in "
            f"which trials report no {metric}"
        )
        yield Problem("search.early_stopping.grace_period", rule, first)


def _plain(spec: SearchSpec) -> Iterator[object]:
    return (stages for _, stages in samples(spec.stages, "stages"))


def _num(stages: object) -> int:
    return len(stages) if isinstance(stages, list) else 0


def _num_epochs(stages: object) -> int:
    found = stages if isinstance(stages, list) else []
    epochs = [each.get("epochs") for each in found if isinstance(each, Mapping)]
    return sum(each for each in epochs if isinstance(each, int))
