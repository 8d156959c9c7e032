"""From a trial's configuration to what it is put together from.

Here it is known in which section of the spec each component stands, so errors get their places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from hpsearch.components.data import Data
from hpsearch.components.examples import Arrays
from hpsearch.components.initializers.by_name import initialize
from hpsearch.components.models.building import (
    LastSteps,
    build_model,
    check_examples,
    check_is_causal,
    check_outputs,
    check_task,
)
from hpsearch.components.optimizers import Group, build_optimizer
from hpsearch.components.tasks.base import Task, output_shape, task_for
from hpsearch.components.tasks.heads import Head
from hpsearch.errors import BadConfigurationError, placed
from hpsearch.spec import COMPONENT_SECTIONS, TrialConfig, default_of

_One = TypeVar("_One")
_Result = TypeVar("_Result")


def build(config: TrialConfig, section: str, **offered: Any) -> Any:
    """Build the component of a section; None where the configuration has none."""
    value = config.values.get(section)
    if value is None:
        return None
    with placed(section):
        return COMPONENT_SECTIONS[section].build(value, Path(config.folder), **offered)


def build_all(config: TrialConfig, section: str, **offered: Any) -> list[Any]:
    """Build the components of a section that lists them."""
    of, folder = COMPONENT_SECTIONS[section], Path(config.folder)
    values = config.values.get(section) or []
    return for_each(section, values, lambda value: of.build(value, folder, **offered))


def for_each(
    section: str, components: Iterable[_One], call: Callable[[_One], _Result]
) -> list[_Result]:
    """Call with each component of a section that lists them; errors get the component's place."""
    results = []
    for number, component in enumerate(components):
        with placed(section, number):
            results.append(call(component))
    return results


def new_task(config: TrialConfig, data: Data) -> Task:
    """Build a configuration's task for data."""
    with placed("task"):
        return task_for(data, config.values.get("task"), Path(config.folder))


def new_optimizer(config: TrialConfig, groups: Sequence[Group]) -> torch.optim.Optimizer:
    """Build a configuration's optimizer over groups of parameters."""
    with placed("optimizer"):
        return build_optimizer(config.values["optimizer"], groups, Path(config.folder))


def new_model(config: TrialConfig, data: Data, task: Task) -> nn.Module:
    """Build a configuration's model for data; its outputs have the shape that the task needs."""
    section, folder = config.values["model"], Path(config.folder)
    name, shape, num_tokens = section["name"], data.input_shape, data.num_tokens
    history: int | None = getattr(task, "history", None)  # of a user's own it may be unknown
    if history is not None and history > shape[0]:
        with placed("task"):
            rule = f"must be at most the lookback of the data set ({shape[0]})"
            raise BadConfigurationError(rule, history, keyword="history")
    with placed("model"):
        check_task(name, data.kind, folder)
        outputs = output_shape(task, data)
        model = model_for(section, data, folder, task.head, outputs, history)
        check_outputs(model, name, shape, outputs, num_tokens)
        if data.encoding.is_causal:
            check_is_causal(model, name, shape[0], num_tokens, data.padding_id)
        if isinstance(data.train, Arrays):
            check_examples(model, data.train.x)
    return model


def model_for(
    section: Mapping[str, Any],
    data: Data,
    folder: Path,
    head: Head | None = None,
    outputs: tuple[int, ...] | None = None,
    history: int | None = None,
) -> nn.Module:
    """Build the model of a section for data; `outputs` is the shape of an example's, by default
    that of the data. With `history` it is given the last so many steps of an example alone."""
    outputs = outputs or data.output_shape
    is_own = outputs != data.output_shape
    shape = data.input_shape if history is None else (history, *data.input_shape[1:])
    model = build_model(
        section,
        shape,
        outputs[0] if is_own else data.output_size,
        folder,
        head,
        data.x_scale,
        output_shape=outputs,
        kind=data.kind,
        num_tokens=data.num_tokens,
        padding_id=data.padding_id,
        input_parts=data.input_parts,
    )
    return model if history is None else LastSteps(model, history)


def draw_weights(model: nn.Module, config: TrialConfig, data: Data, task: Task) -> None:
    """Let a configuration's initializer draw the weights that aren't pretrained."""
    section = config.values.get("initializer") or default_of("initializer")
    rates = torch.tensor(data.base_rates)
    prior = task.head.inverse(rates) if len(rates) else None
    with placed("initializer"):
        initialize(model, section, Path(config.folder), prior)
