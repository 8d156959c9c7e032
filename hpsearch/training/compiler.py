"""torch's compiler, which its optimizers import though they need it only in what is compiled."""

from __future__ import annotations

from torch.optim import Optimizer

#: how torch 2 marks a function that its compiler leaves alone, once it is imported
_MARK = "__dynamo_disable"
_MARKED = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")


def spare_compiler() -> None:
    """Let optimizers be made, and their states be read and loaded, without torch's compiler.

    Its import takes seconds of a process. A step of an optimizer by itself imports it anyway;
    lanes mostly step by kernels of their own. For processes that compile no step of a training.
    """
    for name in _MARKED:
        function = getattr(getattr(Optimizer, name), "__wrapped__", None)
        if function is not None:
            setattr(function, _MARK, function)
