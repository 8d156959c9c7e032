"""Chains of common layers as products of batches of matrices, with lanes as the first axis.

vmap takes several operations for what is one here, and on a CPU the most time of a small net's
step for finding out which. It computes the models that have any other layer.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hpsearch.components.layers.modules import Blocks, ChannelsLast, Dropout
from hpsearch.components.losses.classification import CrossEntropy

#: a module's tensors by name, each with an axis of lanes before its own
Tensors = Mapping[str, Tensor]
Layer = Callable[[nn.Module, Tensors, Tensor], Tensor]
#: (outputs, targets) of all lanes → losses (lanes,)
Losses = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Link:
    """A layer of a chain: its module, its function, and the model's names of its tensors by its
    own. `activations` are those of the lanes, each with how many lanes have it."""

    module: nn.Module
    layer: Layer
    names: dict[str, str]
    activations: Sequence[tuple[nn.Module, int]] = ()


@dataclass(frozen=True)
class Chain:
    """Layers one after another."""

    links: list[Link]

    @classmethod
    def of(cls, net: nn.Module, others: Sequence[nn.Module] = ()) -> Chain | None:
        """Return a model as a chain; None if it has a layer that isn't known here.

        `others` are the lanes' models: their activations may be other ones than the model's.
        """
        tensors = (*net.named_parameters(), *net.named_buffers())
        names = {id(tensor): name for name, tensor in tensors}
        links = []
        for module, *each in zip(_modules(net), *map(_modules, others), strict=True):
            layer = _LAYERS.get(type(module))
            if layer is None or module._forward_hooks or module._forward_pre_hooks:
                return None
            runs = _runs(each or [module]) if is_activation(module) else []
            if len(runs) > 1:
                layer = _by_runs(runs)
            own = {**module._parameters, **module._buffers}
            of_module = {key: names[id(each)] for key, each in own.items() if each is not None}
            links.append(Link(module, layer, of_module, runs))
        return cls(links)

    def __call__(self, state: Tensors, prefix: str, x: Tensor) -> Tensor:
        """Return the outputs for x (lanes, rows, ...); names in `state` begin with a prefix."""
        for link in self.links:
            tensors = {own: state[prefix + name] for own, name in link.names.items()}
            x = link.layer(link.module, tensors, x)
        return x


def is_activation(module: nn.Module) -> bool:
    """Whether lanes of a chain may have different ones in a module's place."""
    is_known = type(module) in _ACTIVATIONS and not getattr(module, "inplace", False)
    return is_known and not (module._forward_hooks or module._forward_pre_hooks)


def losses_of(criterion: nn.Module) -> Losses | None:
    """Return a loss as a function of all lanes, None where it isn't known here."""
    return _cross_entropies if is_cross_entropy(criterion) else None


def is_cross_entropy(criterion: nn.Module) -> bool:
    """Whether a loss is the mean of -log softmax(z) of the rows' classes."""
    return type(criterion) is CrossEntropy and not criterion.active


def _cross_entropies(outputs: Tensor, targets: Tensor) -> Tensor:
    losses = F.cross_entropy(outputs.flatten(0, 1), targets.flatten(0, 1), reduction="none")
    return losses.view(outputs.shape[:2]).mean(1)


def _modules(net: nn.Module) -> Iterator[nn.Module]:
    if type(net) not in (nn.Sequential, Blocks):
        yield net
        return
    for module in net._modules.values():  # one that is there twice is used twice
        assert module is not None
        yield from _modules(module)


def _linear(module: nn.Module, tensors: Tensors, x: Tensor) -> Tensor:
    rows, weight = x.flatten(1, -2), tensors["weight"].transpose(1, 2)
    if "bias" in tensors:
        outputs = torch.baddbmm(tensors["bias"].unsqueeze(1), rows, weight)
    else:
        outputs = torch.bmm(rows, weight)
    return outputs if x.ndim == 3 else outputs.view(*x.shape[:-1], outputs.shape[-1])


def _convolution(module: nn.Module, tensors: Tensors, x: Tensor) -> Tensor:
    assert isinstance(module, nn.Conv2d)
    return (unfolded if x.is_cuda else grouped)(module, tensors, x)


def grouped(conv: nn.Conv2d, tensors: Tensors, x: Tensor) -> Tensor:
    """Convolve with a group for each lane, as vmap does it: the faster one on a CPU."""
    num_lanes, bias = len(x), tensors.get("bias")
    padding: Any = conv.padding
    images = x.transpose(0, 1).flatten(1, 2)
    if conv.padding_mode != "zeros":
        images = F.pad(images, conv._reversed_padding_repeated_twice, mode=conv.padding_mode)
        padding = 0
    outputs = F.conv2d(
        images,
        tensors["weight"].flatten(0, 1),
        None if bias is None else bias.flatten(),
        conv.stride,
        padding,
        conv.dilation,
        num_lanes * conv.groups,
    )
    return outputs.view(len(outputs), num_lanes, -1, *outputs.shape[2:]).transpose(0, 1)


def unfolded(conv: nn.Conv2d, tensors: Tensors, x: Tensor) -> Tensor:
    """Convolve by a product of matrices: grouped convolutions are slow on a GPU.

    See github.com/pytorch/pytorch/issues/70954.
    """
    if conv.groups != 1 or conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        return grouped(conv, tensors, x)
    size = _size_after(conv, x.shape[-2:])
    of_rows = F.unfold(x.flatten(0, 1), conv.kernel_size, conv.dilation, conv.padding, conv.stride)
    windows = of_rows.view(*x.shape[:2], *of_rows.shape[1:])
    outputs: Tensor = tensors["weight"].flatten(2).unsqueeze(1) @ windows
    if "bias" in tensors:
        outputs = outputs + tensors["bias"][:, None, :, None]
    return outputs.view(*outputs.shape[:3], *size)


def _size_after(conv: nn.Conv2d, size: torch.Size) -> tuple[int, ...]:
    assert not isinstance(conv.padding, str)
    each = zip(size, conv.kernel_size, conv.dilation, conv.padding, conv.stride, strict=True)
    return tuple((n + 2 * pad - wide * (k - 1) - 1) // step + 1 for n, k, wide, pad, step in each)


def _dropout(module: nn.Module, tensors: Tensors, x: Tensor) -> Tensor:
    assert isinstance(module, Dropout)
    if not module.is_on:
        return x
    wide = {name: tensor.view(-1, *[1] * (x.ndim - 1)) for name, tensor in tensors.items()}
    return x * module.factors(x[0], wide).to(x.dtype)


def _runs(modules: Iterable[nn.Module]) -> list[tuple[nn.Module, int]]:
    """Return modules that compute the same with how many of them follow each other."""
    groups = (list(group) for _, group in itertools.groupby(modules, repr))
    return [(group[0], len(group)) for group in groups]


def _by_runs(runs: Sequence[tuple[nn.Module, int]]) -> Layer:
    sizes = [length for _, length in runs]

    def layer(module: nn.Module, tensors: Tensors, x: Tensor) -> Tensor:
        parts = torch.split(x, sizes)
        return torch.cat([each(part) for (each, _), part in zip(runs, parts, strict=True)])

    return layer


def _by_row(module: nn.Module, tensors: Tensors, x: Tensor) -> Tensor:
    """Call a module without tensors whose rows don't change each other's outputs."""
    outputs: Tensor = module(x.flatten(0, 1))
    return outputs.view(*x.shape[:2], *outputs.shape[1:])


def _as_it_is(module: nn.Module, tensors: Tensors, x: Tensor) -> Tensor:
    outputs: Tensor = module(x)
    return outputs


_ACTIVATIONS = (
    *(nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Sigmoid, nn.LogSigmoid, nn.Tanh, nn.Softplus, nn.Softsign, nn.Hardtanh),
    *(nn.Hardsigmoid, nn.Hardswish, nn.ReLU6, nn.Identity),
)
_LAYERS: Mapping[type[nn.Module], Layer] = {
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    Dropout: _dropout,
    **dict.fromkeys((nn.Flatten, nn.MaxPool2d, nn.AvgPool2d), _by_row),
    **dict.fromkeys((*_ACTIVATIONS, ChannelsLast), _as_it_is),
}
