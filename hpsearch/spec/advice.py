"""What is allowed in a spec, but seldom meant."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from hpsearch.errors import Problem
from hpsearch.spec.models import SearchSpec
from hpsearch.spec.settings import Direction
from hpsearch.spec.trees import Choices, Range, Tree, join, to_plain

TRAINING = "train_"
_LOWER_IS_BETTER = re.compile(
    r"(?!.*neg_).*(?:loss|error|perplexity|ppl|mse|mae|nll|bpc|latency|memory|^parameters$)"
)


def advice(spec: SearchSpec) -> list[Problem]:
    """Return warnings for a spec: what chooses by a metric of the rows that are trained on, a
    loss that is maximised, and what SELU has beside it that it can't do with.

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
    return [*found, *_beside_selu(spec)]


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


def _beside_selu(spec: SearchSpec) -> Iterator[Problem]:
    """Yield what keeps the signals of a net of SELU from a mean of 0 and a variance of 1
    (Klambauer et al., 2017), where it isn't one of several choices."""
    models = [each for each in _alternatives(spec.model, "model") if isinstance(each[1], Mapping)]
    nets = [(place, net) for place, net in models if _name(net.get("activation")) == "selu"]
    for place, net in nets:
        if (norm := _name(net.get("norm", "none"))) not in (None, "none"):
            rule = "should be none with selu, which normalises by itself"
            yield Problem(join(place, "norm"), rule, norm)
        dropout = net.get("dropout", 0.0)
        if all(_is_standard_dropout(each) for _, each in _alternatives(dropout, "")):
            rule = "should be {name: alpha, rate: ...} with selu: standard dropout changes means"
            yield Problem(join(place, "dropout"), rule, to_plain(dropout))
    presets = [net for _, net in models if _name(net) == "snn"]
    initializer, fitting = _name(spec.initializer), {None, "lecun_normal", "lecun_uniform"}
    if not nets:  # torch_default leaves what the preset has drawn
        fitting.add("torch_default")
    if models and len(nets) + len(presets) == len(models) and initializer not in fitting:
        rule = "should be lecun_normal with selu, whose weights need a variance of 1/fan_in"
        yield Problem("initializer", rule, initializer)


def _is_standard_dropout(tree: Tree) -> bool:
    return _name(tree) == "standard" or (isinstance(tree, int | float | Range) and bool(tree))


def _name(tree: Tree) -> str | None:
    """Return the name of a component that is no choice."""
    found = tree.get("name") if isinstance(tree, Mapping) else tree
    return found if isinstance(found, str) else None


def _alternatives(tree: Tree, path: str) -> Iterator[tuple[str, Tree]]:
    """Yield what stands at a place, in a list there, and in choices of either."""
    if isinstance(tree, Choices):
        path, tree = join(path, "choices"), list(tree.choices)
    if isinstance(tree, list | tuple):
        for i, each in enumerate(tree):
            yield from _alternatives(each, join(path, i))
    else:
        yield path, tree
