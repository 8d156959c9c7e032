"""What is allowed in a spec, but seldom meant."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from hpsearch.errors import Problem
from hpsearch.spec.models import SearchSpec
from hpsearch.spec.settings import Direction
from hpsearch.spec.trees import Choices, Tree, join

TRAINING = "train_"
_LOWER_IS_BETTER = re.compile(
    r"(?!.*neg_).*(?:loss|error|perplexity|ppl|mse|mae|nll|bpc|latency|memory|^parameters$)"
)


def advice(spec: SearchSpec) -> list[Problem]:
    """Return warnings for a spec: what chooses by a metric of the rows that are trained on, and
    a loss that is maximised.

    Rows of a stream, trained on in their order, are predicted before they are trained on.
    """
    places = [f"objectives.{index}" for index in range(len(spec.objectives))] or ["objective"]
    objectives = list(zip(places, spec.all_objectives, strict=True))
    chosen = [
        *((f"{place}.metric", each.metric) for place, each in objectives),
        *_watched_by(spec.callbacks, "callbacks"),
    ]
    is_stream = isinstance(spec.task, Mapping) and spec.task.get("in_order") is True
    by_training = [each for each in chosen if each[1].startswith(TRAINING) and not is_stream]
    found = [_overfits(path, metric) for path, metric in by_training]
    for place, each in objectives:
        if each.direction != likely_direction(each.metric) == "minimize":
            rule = f"should be minimize for {each.metric}: maximize selects its highest value"
            found.append(Problem(f"{place}.direction", rule, each.direction))
    return found


def likely_direction(metric: str) -> Direction:
    """Return what a metric's name says of its direction.

    >>> likely_direction("val_loss")
    'minimize'
    >>> likely_direction("neg_mean_squared_error")
    'maximize'
    """
    return "minimize" if _LOWER_IS_BETTER.match(metric) else "maximize"


def _overfits(path: str, metric: str) -> Problem:
    rule = "should be a validation metric: the best on training rows is the most overfitted"
    return Problem(path, rule, metric, (f"val_{metric.removeprefix(TRAINING)}",))


def _watched_by(tree: Tree, path: str) -> Iterator[tuple[str, str]]:
    """Yield the metrics by which callbacks end a training or keep weights, with their places."""
    for place, section in _alternatives(tree, path):
        if isinstance(section, Mapping):
            found = _alternatives(section.get("metric"), join(place, "metric"))
            yield from ((where, metric) for where, metric in found if isinstance(metric, str))


def _alternatives(tree: Tree, path: str) -> Iterator[tuple[str, Tree]]:
    """Yield what stands at a place, in a list there, and in choices of either."""
    if isinstance(tree, Choices):
        path, tree = join(path, "choices"), list(tree.choices)
    if isinstance(tree, list | tuple):
        for i, each in enumerate(tree):
            yield from _alternatives(each, join(path, i))
    else:
        yield path, tree
