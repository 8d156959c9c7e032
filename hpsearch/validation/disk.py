"""Whether a search's checkpoints fit its quota and the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpsearch.components import Data
from hpsearch.components.models import build_model
from hpsearch.errors import Problem, SpecError
from hpsearch.samplers import make_sampler
from hpsearch.space import SearchSpace
from hpsearch.spec import AshaPromotion, SearchSpec

#: configurations whose models are looked at
NUM_DRAWS = 16
#: a state holds each weight once, and twice more for an optimizer such as Adam
COPIES = 3


def check_disk(spec: SearchSpec, data: Data | None, slots: int, folder: Path) -> None:
    """Raise SpecError where the largest models' checkpoints take more than the search may, or
    than the disk of an existing `folder` has left.

    What a training function saves can't be known before.
    """
    if data is None:
        return
    size = max(_checkpoint_bytes(spec, data, values) for values in _draws(spec))
    num_bytes = size * num_checkpoints(spec, slots)
    quota, free = spec.search.disk_quota, shutil.disk_usage(folder).free
    what = f"{num_bytes / 1e6:,.0f} MB ({num_checkpoints(spec, slots)} checkpoints at once)"
    if quota is not None and num_bytes > quota:
        raise SpecError([Problem("search.disk_quota", f"must be at least {what}", quota)])
    if num_bytes > free:
        rule = f"needs {what}, but the disk of {folder} has {free / 1e6:,.0f} MB left"
        raise SpecError([Problem("search.keep_checkpoints", rule)])


def num_checkpoints(spec: SearchSpec, slots: int) -> int:
    """Return how many there may be at once: a running trial writes one before it drops the last,
    and trials that wait at a rung keep theirs."""
    waiting = spec.search.trials if isinstance(spec.search.early_stopping, AshaPromotion) else 0
    return 2 * slots + spec.search.keep_checkpoints + waiting


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


def _checkpoint_bytes(spec: SearchSpec, data: Data, values: dict[str, Any]) -> int:
    try:
        model = build_model(values["model"], data.input_shape, data.output_size, Path(spec.folder))
    except Exception:  # a configuration that can't be built writes no checkpoint
        return 0
    weights: int = sum(
        tensor.numel() * tensor.element_size() for tensor in model.state_dict().values()
    )
    return COPIES * weights * max(len(data.folds), 1)
