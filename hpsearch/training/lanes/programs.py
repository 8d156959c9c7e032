"""Which trials can share a program: those whose models differ in numbers of their tensors only."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hpsearch.components.data import Data
from hpsearch.components.examples import Arrays
from hpsearch.components.layers.dropouts import MonteCarlo
from hpsearch.components.layers.normalizations import has_batch_statistics
from hpsearch.components.tasks import Task
from hpsearch.components.tasks.parts import TaskComponents
from hpsearch.spec import SearchSpec, TrialConfig
from hpsearch.spec.objectives import PARAMETERS
from hpsearch.training.lanes.batched_layers import Chain, is_activation
from hpsearch.training.lanes.penalties import are_shared
from hpsearch.training.lanes.tensors import named_params, share_memory
from hpsearch.training.trainer import Trainer

#: what a module's attributes may hold that can be compared
_PLAIN = (int, float, complex, str, bytes, bool, type(None), torch.dtype, type)
#: attributes of modules that are no part of the program
_NOT_COMPARED = (
    frozenset({"training", "active", "has_key", "_num_draws", "_counters"})
    | {"_flat_weights", "_flat_weight_refs"}  # a recurrent layer's list of its parameters
    | set(vars(nn.Module()))
)
#: sections that set the sizes of batches
_OF_BATCHES = ("batch_size", "last_batch", "lr_scaling", "batch_schedule")
_WHOLE = "the model's norms, its loss or augmentations need whole batches"
#: sections that change what a step computes, in ways that lanes don't share
_UNSHARED_SECTIONS = ("finetune", "stages", "ensemble")


class _Same:
    """What can't be compared: it is the same only if it is the same object.

    It is kept, so that no other object takes its place in memory.
    """

    def __init__(self, value: object) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._value is other._value

    def __hash__(self) -> int:
        return id(self._value)


def at(section: str, rule: str) -> str:
    """Return a reason with the section that it is about."""
    return f"{section}: {rule}"


def obstacle(config: TrialConfig | SearchSpec, sections: Mapping[str, Any]) -> str:
    """Return why a trial, or any of a search, can't share a program, as far as its sections tell;
    or nothing."""
    if config.is_own_code:
        return "the user's own training code runs by itself"
    if sections.get("launcher"):
        return at("launcher", "its trials run by themselves")
    if sections.get("environment"):
        return at("environment", "each agent acts in its own")
    if config.compile:
        return at("compile", "a compiled model has a program of its own")
    if config.precision == "fp16":
        return at("precision", "the loss of each fp16 trial has a scale of its own")
    for name in config.measured:
        if name != PARAMETERS:
            return f"{name} is that of a trial by itself"
    for section in _UNSHARED_SECTIONS:
        if sections.get(section):
            return at(section, "not shared between trials")
    return ""


def data_obstacle(data: Data | None) -> str:
    """Return why trials on some data can't share a program, or nothing."""
    in_memory = data is not None and isinstance(data.train, Arrays)
    return "" if in_memory else at("dataset", "its rows aren't in memory")


def obstacle_of(trainer: Trainer) -> str:
    """Return why a trainer can't share a program with others like it, or nothing."""
    if found := obstacle(trainer.config, trainer.config.values):
        return found
    if found := data_obstacle(trainer.data):
        return found
    if getattr(trainer.task, "stateful", False):
        return at("task", "keeps states from one batch to the next")
    if trainer.augmenting and trainer.device.type != "cpu":
        return at("augmentations", "draw from the GPU's generator")
    if trainer.data.encoding.needs_augmentations:
        return at("augmentations", "make the views of the evaluation too")
    if any(isinstance(module, MonteCarlo) for module in trainer.model.modules()):
        return at("model", "draws dropout masks in evaluation")
    if getattr(trainer.optimizer, "needs_closure", False):
        return at("optimizer", "a step takes several gradients")
    if any(param.is_sparse or not param.is_floating_point() for param in _params(trainer)):
        return at("model", "has parameters that are no real numbers")
    if len({param.dtype for param in _params(trainer) if param.requires_grad}) > 1:
        return at("model", "has parameters of several dtypes")
    known = {id(param) for param in _params(trainer)}
    groups = trainer.optimizer.param_groups
    if any(id(param) not in known for group in groups for param in group["params"]):
        return at("optimizer", "trains parameters that the model no longer has")
    if share_memory(trainer):
        return at("model", "has tensors that are views of each other")
    if not are_shared(trainer):
        return at("regularizers", "the user's own, or of weights that are computed")
    if needs_whole_batches(trainer) and trainer.config.values.get("batch_schedule"):
        return at("batch_schedule", f"{_WHOLE}, whose sizes change")
    if needs_whole_batches(trainer) and (trainer.config.values.get("accumulate") or 1) > 1:
        return at("accumulate", _WHOLE)
    return ""


def program_of(trainer: Trainer) -> Hashable:
    """Return what is the same for trainers that can share a program, and only for those.

    The modules (activations of chains may be different ones) and their attributes, shapes, the
    groups of the optimizer, task and data; where a batch must be whole, its size too.
    """
    config = trainer.config
    names = {id(param): name for name, param in named_params(trainer)}
    groups = tuple(
        tuple(names.get(id(param)) for param in group["params"])
        for group in trainer.optimizer.param_groups
    )
    batch: tuple[Any, ...] = ()
    if needs_whole_batches(trainer):
        batch = tuple(map(_comparable, _batches(trainer)))
    return (
        tuple(module_tree(trainer.model, any_activation=Chain.of(trainer.model) is not None)),
        tuple(module_tree(trainer.task.criterion)),
        (type(trainer.task), tuple(_attributes(trainer.task))),
        groups,
        (_Same(trainer.data), str(trainer.device), config.precision),
        _augmentations(trainer),
        batch,
    )


def needs_whole_batches(trainer: Trainer) -> bool:
    """Whether a batch can't be computed in parts, which may have to be filled.

    Its rows have different numbers of steps, are augmented together, change each other's outputs,
    or the loss learns from rows that only fill a part.
    """
    return (
        getattr(trainer.data.train, "mask", None) is not None
        or getattr(trainer.task, "needs_whole_batches", False)
        or bool(trainer.augmenting)
        or has_batch_statistics(trainer.model)
        or any(hasattr(module, "long_mean") for module in trainer.model.modules())
        or any(param.requires_grad for param in trainer.task.criterion.parameters())
    )


def have_same_batches(trainers: Iterable[Trainer]) -> bool:
    """Whether the batches of trainers are of the same sizes in every epoch."""
    found = list(map(_batches, trainers))
    return all(each == found[0] and each[-1] is None for each in found)


def activations_of(trainer: Trainer) -> Hashable:
    """Return what `program_of` leaves out: which activations a model has."""
    return tuple(repr(module) for module in trainer.model.modules() if is_activation(module))


def module_tree(module: nn.Module, *, any_activation: bool = False) -> Iterator[Hashable]:
    """Yield the modules of a model by name: their classes, attributes and the tensors' shapes."""
    names: dict[int, str] = {}  # of tensors that modules may share
    for name, part in module.named_modules(remove_duplicate=False):
        if any_activation and is_activation(part):
            yield name, "activation"
            continue
        attributes = (
            (key, _comparable(value))
            for key, value in sorted(vars(part).items())
            if key not in _NOT_COMPARED | getattr(part, "derived", frozenset())
        )
        tensors = (
            (key, tuple(tensor.shape), tensor.dtype, names.setdefault(id(tensor), f"{name}.{key}"))
            for key, tensor in (*part._parameters.items(), *part._buffers.items())
            if tensor is not None
        )
        trained = tuple(
            param is not None and param.requires_grad for param in part._parameters.values()
        )
        hooks = (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks)
        yield (
            name,
            _class_of(part),
            tuple(attributes),
            tuple(tensors),
            trained,
            tuple(_Same(hook) for each in hooks for hook in each.values()),
        )


def _attributes(task: Task) -> Iterator[Hashable]:
    """Yield what a task holds beside its loss, which is compared by itself: it may weigh with."""
    yield tuple(module_tree(task.head))
    for key, value in sorted(vars(task).items()):
        if value is task.criterion or value is task.head or isinstance(value, TaskComponents):
            continue
        is_module = isinstance(value, nn.Module)
        yield key, tuple(module_tree(value)) if is_module else _comparable(value)


def _augmentations(trainer: Trainer) -> tuple[Hashable, ...]:
    """Return the names of a trial's: some change the form of the targets."""
    sections = trainer.config.values.get("augmentations") or ()
    return tuple(each["name"] if isinstance(each, Mapping) else each for each in sections)


def _class_of(module: nn.Module) -> type:
    """Return a module's class; torch makes a new one for each module that is parametrized."""
    if parametrize.is_parametrized(module):
        return type(module).__bases__[0]
    return type(module)


def _batches(trainer: Trainer) -> tuple[Any, ...]:
    """Return what sets the sizes of a trainer's batches, last what changes them."""
    return tuple(map(trainer.config.values.get, _OF_BATCHES))


def _comparable(value: Any) -> Hashable:
    if isinstance(value, _PLAIN):
        return type(value), value
    if isinstance(value, FunctionType | BuiltinFunctionType):
        return _Same(value) if getattr(value, "__closure__", None) else value
    if isinstance(value, list | tuple):
        return type(value), tuple(map(_comparable, value))
    if isinstance(value, Mapping):
        items = ((key, _comparable(child)) for key, child in value.items())
        return type(value), tuple(items)
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.shape, value.dtype.str, value.tobytes()
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype, value.detach().cpu().numpy().tobytes()
    return _Same(value)


def _params(trainer: Trainer) -> Iterator[nn.Parameter]:
    for _, param in named_params(trainer):
        yield param
