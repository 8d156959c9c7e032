"""The image classifiers of torchvision and timm, as `torchvision/NAME` and `timm/NAME`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge
from torch import nn

from hpsearch.components.examples import Scale
from hpsearch.components.input_shapes import check_images
from hpsearch.components.layers.dropouts import Rate
from hpsearch.components.models.backbones import (
    Net,
    backbone,
    first_convolution,
    last_layer,
)
from hpsearch.components.models.pretrained import NO_SCALE
from hpsearch.components.vision import timm, torchvision
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import Component, register_library

ImageSize = Annotated[int, Ge(1)]


def torchvision_names() -> list[str]:
    """Return the names of torchvision's classifiers."""
    models = torchvision("torchvision", "torchvision.models")
    names: list[str] = models.list_models(module=models)
    return sorted(names)


def torchvision_component(name: str) -> Component:
    """Return a classifier of torchvision as a component; KeyError if there is none."""
    full = f"torchvision/{name}"
    models = torchvision(full, "torchvision.models")
    if name not in torchvision_names():
        raise KeyError(name)
    builder = models.get_model_builder(name)

    def build(
        folder: Path,
        input_shape: tuple[int, ...],
        output_size: int,
        input_scale: Scale = NO_SCALE,
        weights: str | None = None,
        image_size: ImageSize | None = None,
        **rates: Any,
    ) -> nn.Module:
        check_images(full, input_shape)
        given = {key: value for key, value in rates.items() if value is not None}
        net = _torchvision_net(models, name, output_size, weights is not None, given)
        file = None if weights is None else folder / weights
        return backbone(net, full, torchvision, input_shape, input_scale, image_size, file)

    made = inspect.signature(builder, eval_str=True).return_annotation
    build.__doc__ = f"torchvision's {name}, with a head for the data's classes."
    return Component("model", full, _with_rates(build, made))


def _torchvision_net(
    models: Any, name: str, output_size: int, is_trained: bool, rates: dict[str, Any]
) -> Net:
    builder, fixed = models.get_model_builder(name), {}
    made = inspect.signature(builder, eval_str=True).return_annotation
    parameters = inspect.signature(made).parameters
    if "aux_logits" in parameters:  # heads that are used in training alone
        fixed = {"aux_logits": False, "init_weights": not is_trained}
    if "transform_input" in parameters:  # their weights are of another scale than the file's
        fixed["transform_input"] = is_trained
    module = builder(weights=None, num_classes=output_size, **fixed, **rates)
    default = models.get_model_weights(name).DEFAULT
    scaling, least = default.transforms(), min(default.meta["min_size"])
    size = getattr(module, "image_size", least if least == scaling.crop_size[0] else None)
    stem, head = first_convolution(module), last_layer(module)
    return Net(module, (head,), stem, scaling.mean, scaling.std, size, least)


def _with_rates(build: Callable[..., Any], made: type[nn.Module]) -> Callable[..., Any]:
    """Give a factory's signature the rates of dropout that a class of nets has."""
    own = inspect.signature(build, eval_str=True)
    rates = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Rate | None
        )
        for name in inspect.signature(made).parameters
        if name in ("dropout", "drop_rate", "attention_dropout", "stochastic_depth_prob")
    ]
    parameters = [each for each in own.parameters.values() if each.kind != each.VAR_KEYWORD]
    build.__signature__ = own.replace(parameters=[*parameters, *rates])  # type: ignore[attr-defined]
    return build


def timm_names() -> list[str]:
    """Return the names of timm's classifiers."""
    names: list[str] = timm("timm").list_models()
    return sorted(names)


def timm_component(name: str) -> Component:
    """Return a classifier of timm as a component; KeyError if there is none.

    A name may end with the tag of its weights, of which the scale of pixels depends.
    """
    full = f"timm/{name}"
    if ":" in name or not timm(full).is_model(name):
        raise KeyError(name)

    def build(
        folder: Path,
        input_shape: tuple[int, ...],
        output_size: int,
        input_scale: Scale = NO_SCALE,
        weights: str | None = None,
        image_size: ImageSize | None = None,
        drop_rate: Rate | None = None,
        drop_path_rate: Rate | None = None,
    ) -> nn.Module:
        check_images(full, input_shape)
        rates = {"drop_rate": drop_rate, "drop_path_rate": drop_path_rate}
        given = {key: value for key, value in rates.items() if value is not None}
        net = _timm_net(name, output_size, given)
        file = None if weights is None else folder / weights
        return backbone(net, full, timm, input_shape, input_scale, image_size, file)

    build.__doc__ = f"timm's {name}, with a head for the data's classes."
    return Component("model", full, build)


def _timm_net(name: str, output_size: int, rates: dict[str, Any]) -> Net:
    library = timm(f"timm/{name}")
    try:
        module = library.create_model(name, num_classes=output_size, **rates)
    except TypeError as error:
        if not rates:
            raise
        rule = f"must not be given for timm/{name}, which has no such rate"
        keyword = next((rate for rate in rates if rate in str(error)), "")
        raise BadConfigurationError(rule, keyword=keyword) from error
    told = module.pretrained_cfg
    size = told["input_size"][-1] if told.get("fixed_input_size") else None
    head, stem = told["classifier"], told["first_conv"]
    heads = (head,) if isinstance(head, str) else tuple(head)
    return Net(module, heads, stem, told["mean"], told["std"], size)


register_library("model", "torchvision/", torchvision_component, torchvision_names)
register_library("model", "timm/", timm_component, timm_names)
