"""Nets of other libraries as models: their inputs, their head, and weights from a file."""

from __future__ import annotations

import itertools
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from hpsearch.components.examples import Scale
from hpsearch.components.layer_groups import groups_of
from hpsearch.components.models.pretrained import mark_pretrained
from hpsearch.components.packages import optional_package
from hpsearch.errors import BadConfigurationError, nearest_names

#: channels of the images that nets of other libraries are trained on
RGB = 3
#: how far from 0 to 1 pixels may be by rounding
_ROUNDING = 0.01


@dataclass(frozen=True)
class Net:
    """A net of a library: `head` and `stem` name its last layers and its first convolution.

    `mean` and `std` are those by which the library scales pixels from 0 to 1, `size` is the only
    height and width that the net takes, if there is only one, `min_size` the least.
    """

    module: nn.Module
    head: tuple[str, ...]
    stem: str
    mean: Sequence[float]
    std: Sequence[float]
    size: int | None = None
    min_size: int = 1


class Backbone(nn.Module):
    """A net of another library; it scales images as its weights ask for, however the data is.

    Grey images are repeated; for other numbers of channels the mean of the scales is taken.
    `library` imports what the net is made of, and is called before it is unpickled.
    """

    factor: Tensor
    offset: Tensor

    def __init__(
        self, net: Net, name: str, library: Callable[[str], Any], scale: Scale, size: int | None
    ) -> None:
        super().__init__()
        self.net, self.head = net.module, net.head
        self._name, self._library, self._scale, self._size = name, library, scale, size
        mean, std = (np.array(part, np.float32)[:, None, None] for part in (net.mean, net.std))
        if _in_channels(net) != RGB:
            mean, std = mean.mean(0, keepdims=True), std.mean(0, keepdims=True)
        # raw pixels are x * scale.std + scale.mean
        self.register_buffer("factor", torch.from_numpy(scale.std / std), persistent=False)
        offset = torch.from_numpy((scale.mean - mean) / std)
        self.register_buffer("offset", offset, persistent=False)

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return stem, blocks and head."""
        heads = [self.net.get_submodule(name) for name in self.head]
        parts = itertools.chain.from_iterable(
            each.children() if _is_mostly_a_list(each) else [each] for each in self.net.children()
        )
        before = [each for each in _blocks(parts, heads) if each not in heads]
        return [*groups_of(before), heads]

    def check_examples(self, x: NDArray[np.float32]) -> None:
        """Refuse examples that are no pixels from 0 to 1, for which the net's scale is."""
        raw = x * self._scale.std + self._scale.mean
        low, high = float(raw.min()), float(raw.max())
        if low < -_ROUNDING or high > 1 + _ROUNDING:
            raise BadConfigurationError(
                f"{self._name} needs pixels from 0 to 1, but the data set has {low:g} to {high:g}"
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs (rows, outputs) of images (rows, channels, height, width)."""
        x = x * self.factor + self.offset
        if self._size is not None and x.shape[-2:] != (self._size, self._size):
            size = (self._size, self._size)
            x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
        outputs: Tensor = self.net(x)
        return outputs

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _empty, (self._library, self._name), vars(self)


def _empty(library: Callable[[str], Any], name: str) -> Backbone:
    """Return what a Backbone is unpickled into, once its library is there."""
    library(name)
    return Backbone.__new__(Backbone)


def backbone(
    net: Net,
    name: str,
    library: Callable[[str], Any],
    input_shape: tuple[int, ...],
    scale: Scale,
    size: int | None,
    weights: Path | None,
) -> Backbone:
    """Return a net as a model, with the weights of a file if there is one; its head is new."""
    if net.size is not None and size not in (None, net.size):
        rule = f"must be {net.size}, the size that {name} is made for"
        raise BadConfigurationError(rule, size, keyword="image_size")
    size = size or net.size
    if size is None and min(input_shape[1:]) < net.min_size:
        size = net.min_size
    if _in_channels(net) != (RGB if input_shape[0] == 1 else input_shape[0]):
        _replace_stem(net, input_shape[0])
    model = Backbone(net, name, library, scale, size)
    if weights is not None:
        _load(net, name, weights)
    return model


def last_layer(net: nn.Module) -> str:
    """Return the name of the last linear or convolutional layer: of a classifier, its head."""
    kinds = nn.Linear | nn.Conv2d
    names: list[str] = [name for name, each in net.named_modules() if isinstance(each, kinds)]
    return names[-1]


def first_convolution(net: nn.Module) -> str:
    """Return the name of the first convolution."""
    names = (name for name, each in net.named_modules() if isinstance(each, nn.Conv2d))
    return str(next(names))


def _in_channels(net: Net) -> int:
    stem: Any = net.module.get_submodule(net.stem)
    channels: int = stem.in_channels
    return channels


def _replace_stem(net: Net, channels: int) -> None:
    old: Any = net.module.get_submodule(net.stem)
    parent, _, attribute = net.stem.rpartition(".")
    new = type(old)(
        channels,
        old.out_channels,
        old.kernel_size,
        old.stride,
        old.padding,
        old.dilation,
        bias=old.bias is not None,
    )
    setattr(net.module.get_submodule(parent), attribute, new)


def _blocks(modules: Iterable[nn.Module], heads: Sequence[nn.Module]) -> list[nn.Module]:
    """Return modules in order: of lists, and of what holds a head, the members."""
    found: list[nn.Module] = []
    for module in modules:
        holds_head = any(head in module.modules() for head in heads) and module not in heads
        is_list = isinstance(module, _LISTS) and len(module) > 1
        found += _blocks(module.children(), heads) if holds_head or is_list else [module]
    return found


_LISTS = nn.Sequential | nn.ModuleList


def _is_mostly_a_list(module: nn.Module) -> bool:
    """Whether a module holds a list of layers, as the encoder of a transformer does."""
    lists = [each for each in module.children() if isinstance(each, _LISTS) and len(each) > 1]
    return any(2 * _num_values(each) > _num_values(module) for each in lists)


def _num_values(module: nn.Module) -> int:
    return sum(param.numel() for param in module.parameters())


def _load(net: Net, name: str, path: Path) -> None:
    state, own = _state_in(path), net.module.state_dict()
    state = {key: state[key] for key in state if not _is_of_training(key, own)}
    stem, heads = f"{net.stem}.weight", tuple(f"{head}." for head in net.head)
    if stem in state and state[stem].shape != own[stem].shape:
        state[stem] = _of_channels(state[stem], own[stem].shape[1])
    wrong = [key for key in state if key in own and state[key].shape != own[key].shape]
    new = [key for key in wrong if key.startswith(heads)]
    lacking = [key for key in own if key not in state and not key.endswith(_COUNTS)]
    _check_fitting(name, path, [key for key in wrong if key not in new], "has other shapes in")
    _check_fitting(name, path, lacking, "lacks")
    _check_fitting(name, path, [key for key in state if key not in own], "has also")
    kept = {key: value for key, value in state.items() if key not in new}
    net.module.load_state_dict(kept, strict=False)
    mark_pretrained([each for key, each in net.module.named_modules() if key not in net.head])
    for head in net.head if new else ():
        for part in net.module.get_submodule(head).modules():
            vars(part).pop("is_pretrained", None)


#: entries that older files don't have
_COUNTS = "num_batches_tracked"
#: heads that are used in training alone
_AUXILIARY = re.compile(r"(aux\d?|AuxLogits)\.")
#: how torchvision's files of DenseNets call layers
_DENSE_LAYER = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.\w+)")


def _is_of_training(key: str, own: Mapping[str, Tensor]) -> bool:
    return key not in own and _AUXILIARY.match(key) is not None


def _check_fitting(name: str, path: Path, keys: Iterable[str], what: str) -> None:
    if keys := list(keys):
        some = ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
        raise BadConfigurationError(
            f"must be a file of the weights of {name}, but {path} {what} {some}", keyword="weights"
        )


def _of_channels(weight: Tensor, channels: int) -> Tensor:
    """Return a convolution's weight for other channels, whose outputs are as large as before."""
    own = weight.shape[1]
    repeated = weight.repeat(1, -(-channels // own), 1, 1)[:, :channels]
    return repeated * (own / channels)


def _state_in(path: Path) -> dict[str, Tensor]:
    """Return the weights in a file of torch's or of safetensors, by their names in the net."""
    if not path.is_file():
        near = nearest_names(path.name, (each.name for each in path.parent.glob("*")))
        rule = "must be a file of weights; nothing is downloaded"
        raise BadConfigurationError(rule, str(path), keyword="weights", nearest=near)
    try:
        if path.suffix == ".safetensors":
            error = BadConfigurationError
            reader = optional_package("safetensors.torch", path.name, _SAFETENSORS, error)
            state = reader.load_file(path)
        else:
            # weights_only: a stranger's file may hold code
            state = torch.load(path, map_location="cpu", weights_only=True)
        for key in ("state_dict_ema", "state_dict", "model"):  # as training scripts save them
            state = state.get(key, state)
        named = {key.removeprefix("module."): value for key, value in state.items()}
    except BadConfigurationError:
        raise
    except Exception as error:  # torch raises many kinds for a file that is none of its own
        said = str(error).partition("\n")[0]
        if isinstance(error, UnpicklingError) and zipfile.is_zipfile(path):
            said = "it holds more, such as a whole model; save its state_dict()"
        rule = f"must be a file of weights, as torch.save or safetensors write it, but {path}"
        raise BadConfigurationError(f"{rule}: {said}", keyword="weights") from error
    return {_DENSE_LAYER.sub(r"\1\2", key): value for key, value in named.items()}


_SAFETENSORS = "pip install safetensors"
