"""How many trials of a search may share a worker."""

from __future__ import annotations

import math
from collections.abc import Mapping

from hpsearch import registry
from hpsearch.components import Data
from hpsearch.components.layers.activations import ACTIVATION
from hpsearch.spec import SearchSpec
from hpsearch.spec.settings import TRIALS_PER_LANE
from hpsearch.spec.trees import Choices, Range, Tree
from hpsearch.training.lanes import programs
from hpsearch.training.lanes.batched_layers import is_activation

#: trials that share a worker, at most, unless the spec says: on a CPU, and on a GPU
AUTO_LANES, AUTO_LANES_GPU = 32, 256


def obstacle(spec: SearchSpec, data: Data | None) -> str:
    """Return why no trials of a search can share a program, or nothing."""
    if found := programs.obstacle(spec, spec.trial_sections):
        return found
    if found := programs.data_obstacle(data):
        return found
    if data is not None and data.folds and spec.callbacks:
        return programs.at("callbacks", "may end or change the training of one fold only")
    if spec.resources.gpu > 1 or spec.resources.nodes > 1 or spec.resources.reuse == "never":
        return programs.at("resources", "more than one GPU, or a new process, for each trial")
    return ""


def num_lanes(spec: SearchSpec, data: Data | None, slots: int) -> int:
    """Return how many trials may share a worker of `slots` workers; 1: none does.

    Workers measure whether so many pay, with `auto`.
    """
    if spec.fuse == "off" or obstacle(spec, data):
        return 1
    concurrent = spec.search.max_concurrent
    most = math.ceil(concurrent / slots) if concurrent is not None else None
    if isinstance(spec.fuse, int):
        return max(1, min(spec.fuse, most or spec.fuse))
    auto = AUTO_LANES_GPU if spec.resources.gpu else AUTO_LANES
    by_trials = spec.search.trials // (TRIALS_PER_LANE * slots)
    return max(1, min(auto, by_trials, _by_epochs(spec, slots), most or auto))


def _by_epochs(spec: SearchSpec, slots: int) -> int:
    """Return how many trials a worker may train at once so that the budget of epochs, shared
    evenly, trains each in full: more would all end before their last epoch."""
    if spec.search.epochs is None:
        return AUTO_LANES_GPU
    return spec.search.epochs // (spec.max_epochs * slots)


def num_programs(tree: Tree) -> int:
    """Return how many programs the models of a section make: numbers with fractions make none.

    >>> num_programs({"width": Range(low=4, high=8), "rate": Range(low=0.0, high=0.5)})
    5
    >>> num_programs({"width": Range(low=8, high=64, powers_of_two=True)})
    4
    """
    if isinstance(tree, Choices):
        made = [num_programs(choice) for choice in tree.choices if not isinstance(choice, float)]
        return max(1, sum(made))
    if isinstance(tree, Range):
        return len(tree.whole_numbers) if tree.is_integer else 1
    if isinstance(tree, Mapping):
        return math.prod(num_programs(tree[key]) for key in tree if not _is_shared(tree, key))
    if isinstance(tree, list | tuple):
        return math.prod(map(num_programs, tree))
    return 1


def _is_shared(model: Mapping[str, Tree], key: str) -> bool:
    """Whether the models of a section share a program whatever they have here."""
    names = model[key]
    if key != "activation" or "norm" in model or not isinstance(names, Choices):
        return False
    known = registry.names("activation")
    return all(name in known and is_activation(ACTIVATION.build(name)) for name in names.choices)
