"""A model seen as groups of modules from its input to its output, one for each of its layers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from hpsearch.components.weights import weights_of

Group = list[nn.Module]


def layer_groups(model: nn.Module) -> list[Group]:
    """Return a model's modules, grouped from input to output; the last group is its head.

    A model may say so itself by a method `layer_groups`. Otherwise each child with weights, and
    each member of a ModuleList, begins a group; what has none (norms, activations, dropout)
    belongs to the layer before it, and in a list of its own to the layer at the same place of the
    list before. Of a model with one such child, the child's groups are taken.
    """
    own: Callable[[], list[Group]] | None = getattr(model, "layer_groups", None)
    return own() if own is not None else groups_of(list(model.children()) or [model])


def groups_of(modules: Iterable[nn.Module]) -> list[Group]:
    """Group modules that follow each other, as `layer_groups` does the children of a model."""
    before, groups = Group(), list[Group]()
    for module in _without_lists(modules):
        if weights_of(module):
            groups.append([module])
        else:
            (groups[-1] if groups else before).append(module)
    if not groups:
        return [before] if before else []
    if len(groups) == 1:
        groups = _inner_groups(*groups)
    groups[0] = [*before, *groups[0]]
    return groups


def _inner_groups(group: Group) -> list[Group]:
    """Divide the only group of a model, where a module holds its layers."""
    layer, *after = group
    if not _is_container(layer):
        return [group]
    inner = layer_groups(layer)
    return [*inner[:-1], [*inner[-1], *after]]


def _is_container(module: nn.Module) -> bool:
    has_own = is_parametrized(module) or any(True for _ in module.parameters(recurse=False))
    return not has_own and any(True for _ in module.children())


def _without_lists(modules: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """Yield modules, and the members of lists.

    The members of a list without weights, such as norms, each follow the member at the same place
    of the list of layers before it.
    """
    places: list[Group] = []
    layers: list[Group] = []
    for module in modules:
        if not isinstance(module, nn.ModuleList):
            places.append([module])
            continue
        members = [[each] for each in _without_lists(module)]
        if len(members) <= len(layers) and not weights_of(module):
            for layer, member in zip(layers, members, strict=False):
                layer += member
        else:
            places += members
            layers = members
    return itertools.chain.from_iterable(places)
