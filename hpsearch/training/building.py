"""From a trial's configuration to what it is put together from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from hpsearch.components.data import Arrays, Data
from hpsearch.components.initializers.by_name import initialize
from hpsearch.components.models.feedforward import build_model, check_examples, check_outputs
from hpsearch.components.tasks import Task
from hpsearch.spec import COMPONENT_SECTIONS, TrialConfig, default_of


def build(config: TrialConfig, section: str, **offered: Any) -> Any:
    """Build the component of a section; None where the configuration has none."""
    value = config.values.get(section)
    if value is None:
        return None
    return COMPONENT_SECTIONS[section].build(value, Path(config.folder), **offered)


def build_all(config: TrialConfig, section: str, **offered: Any) -> list[Any]:
    """Build the components of a section that lists them."""
    of, folder = COMPONENT_SECTIONS[section], Path(config.folder)
    return [of.build(value, folder, **offered) for value in config.values.get(section) or []]


def new_model(config: TrialConfig, data: Data, task: Task) -> nn.Module:
    """Build a configuration's model for data; its outputs have the shape that the task needs."""
    section, shapes = config.values["model"], (data.input_shape, data.output_size)
    model = build_model(section, *shapes, Path(config.folder), task.head)
    check_outputs(model, section["name"], *shapes)
    if isinstance(data.train, Arrays):
        check_examples(model, data.train.x)
    return model


def draw_weights(model: nn.Module, config: TrialConfig, data: Data, task: Task) -> None:
    """Let a configuration's initializer draw the weights that aren't pretrained."""
    section = config.values.get("initializer") or default_of("initializer")
    rates = torch.tensor(data.base_rates)
    prior = task.head.inverse(rates) if len(rates) else None
    initialize(model, section, Path(config.folder), prior)
