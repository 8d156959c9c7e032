"""Settings of a trial that don't fit each other, refused before it trains."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from torch.utils.data import IterableDataset

from hpsearch.components.batch import Tree
from hpsearch.components.data import Data
from hpsearch.components.examples import Split, split_length
from hpsearch.components.models.building import check_batch_size
from hpsearch.components.tasks import Task
from hpsearch.errors import BadConfigurationError, placed
from hpsearch.spec import TrialConfig
from hpsearch.training.rows import TrainingRows
from hpsearch.training.streams import check_keeps_states


def check_accumulate(accumulate: int, task: Task) -> None:
    """Refuse to compute a batch in parts where its loss, or its states, are those of all rows."""
    if accumulate == 1:
        return
    why = ""
    if getattr(task, "needs_whole_batches", False):
        why = f"the loss of {task.kind} is that of a whole batch"
    elif getattr(task, "stateful", False):
        why = "states are kept for the rows of a whole batch"
    if why:
        with placed("accumulate"):
            raise BadConfigurationError(f"must be 1, as {why}", accumulate)


def check_ensemble(model: nn.Module, task: Task, inputs: Tree) -> None:
    """Refuse members that would keep each other's states, or whose outputs for inputs have no
    mean."""
    if getattr(task, "stateful", False):
        with placed("task"):
            rule = "must be false with an ensemble, whose members would share their states"
            raise BadConfigurationError(rule, True, keyword="stateful")
    check_one_tensor(model, inputs)


def check_one_tensor(model: nn.Module, inputs: Tree) -> None:
    """Refuse members of an ensemble whose outputs for inputs have no mean."""
    with torch.no_grad():
        outputs = model.eval()(inputs)
    if not isinstance(outputs, Tensor):
        with placed("ensemble"):
            rule = "must not be given for a model that gives several tensors: they have no mean"
            raise BadConfigurationError(rule)


def check_norms(model: nn.Module, data: Data, inputs: Callable[[], Tree], *, one: str) -> None:
    """Refuse batch norm by each batch's own statistics where a single row is evaluated, which has
    none; `inputs` are those of one row, and `one` says why else one is evaluated, if so."""
    norms = [each for each in model.modules() if isinstance(each, _BatchNorm)]
    splits = {name: getattr(data, name) for name in ("val", "test")}
    one = one or next((f"in the {k} split" for k, v in splits.items() if _is_single(v)), "")
    if not one or all(each.track_running_stats for each in norms):
        return
    try:
        with torch.no_grad():
            model.eval()(inputs())
    except ValueError as error:
        with placed("model"):
            rule = f"must not evaluate by each batch's own statistics with a single row {one}"
            raise BadConfigurationError(rule, "batch", keyword="norm.evaluation") from error


def _is_single(split: Split | None) -> bool:
    if split is None or isinstance(split, IterableDataset):
        return False
    return split_length(split) == 1


def check_batches(model: nn.Module, rows: TrainingRows, batch_size: int) -> None:
    """Refuse batches that the model can't take, or that can't be made of the training rows."""
    with placed("batch_size"):
        check_batch_size(model, batch_size)
    with placed("task"):
        rows.check_order()
        rows.check_groups(batch_size)
        rows.check_streams(batch_size)
        if rows.in_streams:
            check_keeps_states(model)


def check_optimizer(optimizer: Optimizer, config: TrialConfig, rows: TrainingRows) -> None:
    """Refuse an optimizer that takes several gradients a step where there is only one."""
    if not getattr(optimizer, "needs_closure", False):
        return
    what = "for an optimizer that takes several gradients a step"
    if config.precision == "fp16":
        with placed("precision"):
            raise BadConfigurationError(f"must be fp32 or bf16 {what}", "fp16")
    if rows.in_streams:
        with placed("task"):
            raise BadConfigurationError(f"must be false {what}", True, keyword="stateful")
