"""Whether a search's checkpoints fit its quota and the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hpsearch import registry
from hpsearch.components import Data
from hpsearch.components.optimizers import build_optimizer, hold_average
from hpsearch.early_stopping import PausingRule, make_early_stopper
from hpsearch.errors import Problem, SpecError
from hpsearch.formatting import show_bytes, show_count
from hpsearch.samplers import make_sampler
from hpsearch.space import SearchSpace
from hpsearch.spec import COMPONENT_SECTIONS, SearchSpec
from hpsearch.training.building import model_for

#: configurations whose models are looked at
NUM_DRAWS = 16
#: of the weights that an optimizer keeps which says nothing of it and can't be tried: as Adam
USUAL_COPIES = 2


def check_disk(spec: SearchSpec, data: Data | None, slots: int, folder: Path) -> None:
    """Raise SpecError where the largest models' checkpoints take more than the search may, or
    than the disk of an existing `folder` has left.

    What a training function saves can't be known before.
    """
    if data is None:
        return
    size = max(checkpoint_bytes(data, values, Path(spec.folder)) for values in _draws(spec))
    num_bytes = size * num_checkpoints(spec, slots)
    quota, free = spec.search.disk_quota, shutil.disk_usage(folder).free
    what = f"{show_bytes(num_bytes)} ({show_count(num_checkpoints(spec, slots), 'checkpoint')})"
    if quota is not None and num_bytes > quota:
        rule = f"must be at least {what}, but got {show_bytes(quota)}"
        raise SpecError([Problem("search.disk_quota", rule)])
    if num_bytes > free:
        rule = f"needs {what}, but the disk of {folder} has {show_bytes(free)} left"
        raise SpecError([Problem("search.keep_checkpoints", rule)])


def checkpoint_bytes(data: Data, values: Mapping[str, Any], folder: Path) -> int:
    """Return how much a trial's checkpoint takes at most: the weights, and the copies of them that
    its optimizer, callbacks, averaging and ensemble keep; 0 where no model can be built."""
    try:
        model = model_for(values["model"], data, folder)
    except Exception:  # a configuration that can't be built writes no checkpoint
        return 0
    weights = _num_bytes(model.state_dict())
    kept = _optimizer_bytes(values["optimizer"], model, weights, folder)
    for callback in values.get("callbacks") or []:
        kept += (_weight_copies("callbacks", callback, folder) or 0) * weights
    for section in ("weight_averaging", "ensemble"):
        if (value := values.get(section)) is not None:
            kept += (_weight_copies(section, value, folder) or 0) * weights
    return (weights + kept) * max(len(data.folds), 1)


def num_checkpoints(spec: SearchSpec, slots: int) -> int:
    """Return how many there may be at once: a running trial writes one before it drops the last,
    and trials that wait at a rung keep theirs."""
    search = spec.search
    pauses = isinstance(make_early_stopper(spec), PausingRule)
    waiting = search.trials if pauses else 0
    finalists = 0 if search.final is None else search.final.top * (1 + search.final.seeds)
    members = 0 if search.ensemble is None else search.ensemble.top
    return 2 * slots + max(search.keep_checkpoints, members) + waiting + finalists


def _draws(spec: SearchSpec) -> Iterator[dict[str, Any]]:
    space = SearchSpace.of(spec)
    sampler = make_sampler(
        {"name": "random"},
        space,
        seed=spec.search.seed,
        direction="maximize",
        rungs=(spec.max_epochs,),
        slots=1,
    )
    for number in range(NUM_DRAWS):
        params = sampler.suggest(number, [])
        if params is not None:
            yield space.resolve(params)


def _optimizer_bytes(
    section: Mapping[str, Any], model: nn.Module, weights: int, folder: Path
) -> int:
    copies = _weight_copies("optimizer", section, folder)
    if copies is not None:
        return copies * weights
    try:
        return _tried_optimizer_bytes(section, model, folder)
    except Exception:  # a user's or a library's, which may need more than gradients
        return USUAL_COPIES * weights


def _tried_optimizer_bytes(section: Mapping[str, Any], model: nn.Module, folder: Path) -> int:
    """Return what an optimizer keeps of this model after a step."""
    params = [param for param in model.parameters() if param.requires_grad]
    optimizer = build_optimizer(section, [{"params": params}], folder)
    for param in params:
        param.grad = torch.randn_like(param)
    if getattr(optimizer, "needs_closure", False):
        optimizer.step(lambda: 0.0)
    else:
        optimizer.step()
    hold_average(optimizer)  # as between epochs, when checkpoints are written
    return _num_bytes(optimizer.state_dict())


def _num_bytes(state: Any) -> int:
    """Return what the tensors in nested mappings and lists take."""
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, Mapping):
        return sum(map(_num_bytes, state.values()))
    return sum(map(_num_bytes, state)) if isinstance(state, list | tuple) else 0


def _weight_copies(section: str, value: Any, folder: Path) -> int | None:
    of = COMPONENT_SECTIONS[section]
    keywords = dict(of.written_out(value))
    return registry.get(of.family, keywords.pop("name"), folder).num_weight_copies(keywords)
