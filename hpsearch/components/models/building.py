"""From the section of a spec to its model, and what is asked of any model."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge
from torch import Tensor, nn

from hpsearch import registry
from hpsearch.components.data import Kind
from hpsearch.components.examples import Float, Scale
from hpsearch.components.input_parts import InputPart
from hpsearch.components.layer_groups import layer_groups
from hpsearch.components.layers.dropouts import (
    MonteCarlo,
)
from hpsearch.components.layers.normalizations import (
    has_batch_statistics,
)
from hpsearch.components.tasks.heads import Head, Linear
from hpsearch.errors import BadConfigurationError, UserCodeError
from hpsearch.registry import Recommended

Size = Annotated[int, Ge(1)]
#: trait of models: keyword → (shape of an example) → the integers that fit it; none: any fits
FITTING = "fitting"
#: tasks whose outputs are a vector for each example: those of models that don't say otherwise
VECTOR_TASKS = (
    *("classification", "multilabel", "multioutput", "regression", "forecasting"),
    "metric_learning",
)
#: tasks whose outputs are a vector for each step of a sequence
TASKS_OF_STEPS = ("language_model", "sequence_labelling")


def build_model(
    section: Mapping[str, Any],
    input_shape: tuple[int, ...],
    output_size: int,
    folder: Path,
    head: Head | None = None,
    scale: Scale | None = None,
    *,
    output_shape: tuple[int, ...] | None = None,
    num_tokens: int = 0,
    padding_id: int | None = None,
    kind: Kind = "",
    input_parts: tuple[InputPart, ...] = (),
) -> nn.Module:
    """Build the model of a spec's section; UserCodeError if a factory returns no Module.

    `scale` is how inputs came from raw values. The `head` says what predictions are of which
    `mc_dropout_samples` takes the mean; by default they are the outputs. `output_shape` is that of
    an example's outputs, (output_size,) by default; inputs may be ids of `num_tokens` tokens, of
    which `padding_id` fills up the ends of sequences.
    `kind` is that of what is learned; `input_parts` are the inputs of an example that has several.
    """
    keywords = dict(section)
    name = keywords.pop("name")
    component = registry.get("model", name, folder)
    offered = inspect.signature(component.factory).parameters
    is_ours = registry.is_ours(component.factory)
    if input_parts and "input_parts" not in offered and is_ours:
        inputs = ", ".join(part.name for part in input_parts)
        rule = f"must be a model of several inputs (late_fusion), as an example has {inputs}"
        raise BadConfigurationError(rule, name, keyword="name")
    if num_tokens and "num_tokens" not in offered and is_ours:
        rule = "must be a model of tokens (transformer, rnn, echo_state), as inputs are ids"
        raise BadConfigurationError(rule, name, keyword="name")
    num_samples = 0
    if "mc_dropout_samples" not in component.own_keywords:
        num_samples = keywords.pop("mc_dropout_samples", 0)
    model = component.build(
        keywords,
        folder=folder,
        input_shape=input_shape,
        output_size=output_size,
        output_shape=(output_size,) if output_shape is None else output_shape,
        num_tokens=num_tokens,
        padding_id=padding_id,
        task_kind=kind,
        input_scale=scale or Scale.identity(),
        input_parts=input_parts,
    )
    if not isinstance(model, nn.Module):
        raise UserCodeError(f"{name} must return a torch.nn.Module", model, keyword="name")
    return MonteCarlo(model, num_samples, head or Linear()) if num_samples else model


class LastSteps(nn.Module):
    """A model that is given the last steps of each example (B, steps, ...) alone."""

    def __init__(self, model: nn.Module, num_steps: int) -> None:
        super().__init__()
        self.model, self.num_steps = model, num_steps

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return those of the model."""
        return layer_groups(self.model)

    def forward(self, x: Tensor) -> Any:
        """Return what the model makes of the last steps."""
        return self.model(x[:, -self.num_steps :])


@dataclass(frozen=True)
class Evaluation:
    """Keywords that all models have beside their own.

    With `mc_dropout_samples` evaluation averages predictions, of classes their probabilities,
    over this many dropout masks.
    """

    mc_dropout_samples: Annotated[int, Ge(0), Recommended(2, 32, log=True, prior=8)] = 0


registry.share_keywords("model", Evaluation)


def check_task(name: str, kind: Kind, folder: Path) -> None:
    """Refuse a model of ours that isn't for a task of this kind; says which are."""
    component = registry.get("model", name, folder)
    models = [registry.get("model", each) for each in registry.names("model")]
    fitting = [each.name for each in models if kind in _tasks_of(each)]
    if not fitting or kind in _tasks_of(component) or not registry.is_ours(component.factory):
        return
    which = f" ({', '.join(fitting)})" if kind not in VECTOR_TASKS else ""
    own = ", ".join(_tasks_of(component))
    rule = f"must be a model for {kind}{which}, but {name} is for {own}"
    raise BadConfigurationError(rule, keyword="name")


def _tasks_of(component: registry.Component) -> tuple[str, ...]:
    found: tuple[str, ...] = component.traits.get("tasks", VECTOR_TASKS)
    return found


def check_outputs(
    model: nn.Module,
    name: str,
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    num_tokens: int = 0,
) -> None:
    """Refuse a model whose outputs are of another shape than the data set asks for; () asks for
    nothing."""
    if not output_shape:
        return
    dtype = torch.int64 if num_tokens else torch.float32
    with torch.no_grad():
        outputs = model.eval()(torch.zeros(2, *input_shape, dtype=dtype))
    if isinstance(outputs, tuple) and outputs:  # what is predicted is the first of them
        outputs = outputs[0]
    expected = (2, *output_shape)
    shape = tuple(getattr(outputs, "shape", ()))
    if shape != expected:
        raise UserCodeError(
            f"{name} must give outputs of the shape {expected} for two examples, but got "
            f"{shape or type(outputs).__name__}",
            keyword="name",
        )


def check_is_causal(
    model: nn.Module, name: str, length: int, num_tokens: int, padding_id: int | None = None
) -> None:
    """Refuse a model that sees the tokens which it is to predict."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(num_tokens, (2, 4, length), generator=generator)
    if padding_id is not None:  # where a sequence ends is seen by all of its steps
        ids = torch.where(ids == padding_id, (padding_id + 1) % num_tokens, ids)
    before, others = ids
    after = torch.cat([before[:, : length // 2], others[:, length // 2 :]], 1)
    with torch.no_grad():
        first, second = (model.eval()(ids)[:, : length // 2] for ids in (before, after))
    if not torch.allclose(first, second, atol=1e-5):
        raise BadConfigurationError(
            f"must predict each token from those before it, but outputs of {name} depend on "
            "later ones (a bidirectional net, or attention without a causal mask)",
            keyword="name",
        )


def check_examples(model: nn.Module, x: Float) -> None:
    """Let each part of a model that has a `check_examples` refuse what it can't read."""
    for module in model.modules():
        if callable(check := getattr(module, "check_examples", None)):
            check(x)


def check_batch_size(model: nn.Module, batch_size: int) -> None:
    """Refuse to train norms by a batch's statistics on single examples."""
    if batch_size == 1 and has_batch_statistics(model):
        raise BadConfigurationError(
            "must be at least 2 for a model that is normalised by the statistics of a batch "
            "(group and layer norm train on single examples)",
            batch_size,
        )
