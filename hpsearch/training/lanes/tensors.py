"""The tensors of a trainer by their names in a program; one that modules share has one name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from hpsearch.training.trainer import Trainer


def named_modules(trainer: Trainer) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules of a trainer's model and loss."""
    for root, top in _roots(trainer):
        for path, module in top.named_modules():
            yield f"{root}.{path}" if path else root, module


def named_params(trainer: Trainer) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the parameters of a trainer's model and loss."""
    found = set()
    for root, top in _roots(trainer):
        for name, param in top.named_parameters():
            if id(param) not in found:
                found.add(id(param))
                yield f"{root}.{name}", param


def other_tensors(trainer: Trainer) -> dict[str, Tensor]:
    """Return the buffers, and the parameters that aren't trained."""
    trained = {id(param) for group in trainer.optimizer.param_groups for param in group["params"]}
    others: dict[str, Tensor] = {
        name: param for name, param in named_params(trainer) if id(param) not in trained
    }
    found = set()
    for root, top in _roots(trainer):
        for name, buffer in top.named_buffers():
            if id(buffer) not in found:
                found.add(id(buffer))
                others[f"{root}.{name}"] = buffer
    return others


def replace_tensors(trainer: Trainer, tensors: Mapping[str, Tensor]) -> None:
    """Give a trainer other tensors, by name; buffers must all be there."""
    params, others = dict(named_params(trainer)), other_tensors(trainer)
    names = {id(tensor): name for name, tensor in others.items()}
    for name, param in params.items():
        if name in tensors:
            param.data = tensors[name]
    for _, module in named_modules(trainer):
        for key, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[key] = tensors[names[id(buffer)]]


def columns_of(trainer: Trainer) -> tuple[list[str], list[slice]]:
    """Return the trained parameters in the order of the optimizer's groups, and their columns."""
    known = {id(param): name for name, param in named_params(trainer)}
    names, groups, column = [], [], 0
    for group in trainer.optimizer.param_groups:
        start = column
        for param in group["params"]:
            names.append(known[id(param)])
            column += param.numel()
        groups.append(slice(start, column))
    return names, groups


def addresses(trainer: Trainer) -> dict[str, int]:
    """Return where the tensors of a trainer are, by name."""
    tensors = {**dict(named_params(trainer)), **other_tensors(trainer)}
    return {name: tensor.data_ptr() for name, tensor in tensors.items()}


def share_memory(trainer: Trainer) -> bool:
    """Whether a tensor, or a plain attribute of a module, is a view of another one."""
    found: dict[int, int] = {}
    for _, module in named_modules(trainer):
        tensors = (*module._parameters.values(), *module._buffers.values(), *vars(module).values())
        for tensor in tensors:
            if isinstance(tensor, Tensor) and tensor.numel():
                memory = tensor.untyped_storage().data_ptr()
                if found.setdefault(memory, id(tensor)) != id(tensor):
                    return True
    return False


def _roots(trainer: Trainer) -> tuple[tuple[str, nn.Module], ...]:
    return ("net", trainer.model), ("criterion", trainer.task.criterion)
