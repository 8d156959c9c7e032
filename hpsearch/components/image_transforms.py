"""The transforms of torchvision as augmentations, `torchvision/NAME`.

Each image draws for itself, as 8-bit pixels. Images of a folder are transformed where they are
decoded, by the processes that the spec's `loader` has; those in memory batch by batch. They come
before the augmentations of batches.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from numbers import Number
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import torch
from annotated_types import Interval
from torch import Tensor

from hpsearch.components.examples import Scale
from hpsearch.components.input_shapes import check_images
from hpsearch.components.vision import torchvision
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import Component, Recommended, register_library

#: what keeps an image's shape, or can, and changes it at random
NAMES = (
    *("AugMix", "AutoAugment", "ColorJitter", "ElasticTransform", "GaussianBlur", "RandAugment"),
    *("RandomAdjustSharpness", "RandomAffine", "RandomAutocontrast", "RandomChannelPermutation"),
    *("RandomCrop", "RandomEqualize", "RandomErasing", "RandomGrayscale", "RandomHorizontalFlip"),
    *("RandomInvert", "RandomPerspective", "RandomPhotometricDistort", "RandomPosterize"),
    *("RandomResizedCrop", "RandomRotation", "RandomSolarize", "RandomVerticalFlip"),
    "TrivialAugmentWide",
)
#: how far from 0 to 1 pixels may be by rounding
_ROUNDING = 0.01
_PLAIN = (int, float, bool, str, NoneType)
#: what annotations stand for that say less than they could
_MEANT: dict[Any, Any] = {Number: float, Sequence: Sequence[float]}


class PerImage:
    """A transform of one image, uint8 (channels, height, width), as an augmentation of batches.

    `scale` is how inputs came from pixels from 0 to 1.
    """

    def __init__(self, transform: Callable[[Tensor], Tensor], scale: Scale) -> None:
        self.transform, self._scale = transform, scale

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        pixels, mean, std = as_pixels(x, self._scale)
        images = (255 * pixels).round().to(torch.uint8)
        changed = torch.stack([self.transform(image) for image in images])
        return (changed.float() / 255 - mean) / std, y


def as_pixels(x: Tensor, scale: Scale) -> tuple[Tensor, Tensor, Tensor]:
    """Return inputs as the pixels from 0 to 1 of which they came, and the scale's mean and std.

    What an augmentation before has made of them, such as noise, is clamped.
    """
    mean, std = (torch.as_tensor(part).to(x.device) for part in (scale.mean, scale.std))
    return (x * std + mean).clamp(0, 1), mean, std


def are_pixels(low: float, high: float) -> bool:
    """Whether values from `low` to `high` are pixels from 0 to 1."""
    return low >= -_ROUNDING and high <= 1 + _ROUNDING


def names() -> list[str]:
    """Return the names of the transforms that the installed torchvision has."""
    v2 = torchvision("torchvision", "torchvision.transforms.v2")
    return [name for name in NAMES if hasattr(v2, name)]


def component(name: str) -> Component:
    """Return a transform as a component; KeyError if there is none of that name."""
    full = f"torchvision/{name}"
    v2 = torchvision(full, "torchvision.transforms.v2")
    if name not in names():
        raise KeyError(name)
    made: Any = getattr(v2, name)

    def build(
        input_shape: tuple[int, ...],
        input_scale: Scale,
        probability: Annotated[float, Interval(ge=0, le=1), Recommended(0.0, 1.0)] = 1.0,
        **keywords: Any,
    ) -> PerImage:
        check_images(full, input_shape)
        if "size" in inspect.signature(made).parameters:
            keywords.setdefault("size", list(input_shape[1:]))
        transform = _made(full, made, keywords)
        _check(full, transform, input_shape)
        return PerImage(v2.RandomApply([transform], probability), input_scale)

    build.__doc__ = f"torchvision's {name}, of each image with a probability."
    own = inspect.signature(build, eval_str=True).parameters.values()
    theirs = _keywords(made)
    parameters = [each for each in own if each.kind is not each.VAR_KEYWORD]
    build.__signature__ = inspect.Signature([*parameters, *theirs])  # type: ignore[attr-defined]
    return Component("augmentation", full, build, traits={"needs_pixels": True})


def _made(name: str, made: Any, keywords: dict[str, Any]) -> Callable[[Tensor], Tensor]:
    try:
        transform: Callable[[Tensor], Tensor] = made(**keywords)
    except (TypeError, ValueError) as error:
        raise BadConfigurationError(f"{name} refuses its keywords: {error}") from error
    return transform


def _check(name: str, transform: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> None:
    """Refuse what doesn't give 8-bit images of the shape that it gets."""
    with torch.random.fork_rng(devices=[]):
        try:
            changed = transform(torch.zeros(shape, dtype=torch.uint8))
        except (TypeError, ValueError, RuntimeError) as error:
            raise BadConfigurationError(
                f"{name} must take images of the shape {shape}: {error}"
            ) from error
    if tuple(changed.shape) != shape or changed.dtype != torch.uint8:
        raise BadConfigurationError(
            f"{name} must give images as it gets them, uint8 {shape}, but gives "
            f"{str(changed.dtype).removeprefix('torch.')} {tuple(changed.shape)}"
        )


def _keywords(made: Any) -> list[inspect.Parameter]:
    """Return the parameters of a class that a spec can give; the size follows from the data."""
    found = []
    for each in inspect.signature(made, eval_str=True).parameters.values():
        annotation = _written(each.annotation)
        if annotation is None or each.name == "inplace":
            continue
        default = None if each.name == "size" else each.default
        annotation = annotation | None if each.name == "size" else annotation
        kind = inspect.Parameter.KEYWORD_ONLY
        found.append(each.replace(annotation=annotation, default=default, kind=kind))
    return found


def _written(annotation: Any) -> Any:
    """Return the part of an annotation that a spec can write: numbers, texts, lists of them."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        kept = [part for part in map(_written, parts) if part is not None]
        return Union[tuple(kept)] if kept else None  # noqa: UP007  # of as many as there are
    if origin is not None and isinstance(origin, type) and issubclass(origin, Sequence):
        return annotation if all(part in (*_PLAIN, ...) for part in parts) else None
    return _MEANT.get(annotation, annotation if annotation in _PLAIN else None)


register_library("augmentation", "torchvision/", component, names)
