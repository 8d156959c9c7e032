"""Every random draw of a trial comes from (search seed, trial number, purpose, epoch)."""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def derive_seed(seed: int, number: int, purpose: str, epoch: int = 0) -> int:
    """Return a 63-bit seed, independent of those of all other arguments.

    >>> derive_seed(0, 7, "shuffle", 1) == derive_seed(0, 7, "shuffle", 1)
    True
    >>> derive_seed(0, 7, "shuffle", 1) == derive_seed(0, 7, "shuffle", 2)
    False
    """
    digest = hashlib.sha256(f"{seed}/{number}/{purpose}/{epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def seed_all(seed: int) -> None:
    """Seed torch, and numpy and Python, from which some libraries draw."""
    # what torch.manual_seed does, which formats a stack for each kind of device that isn't there
    torch.default_generator.manual_seed(seed)
    for seed_devices in _device_seeders():
        seed_devices(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


@functools.cache
def _device_seeders() -> list[Callable[[int], None]]:
    """Return what seeds the generators of the devices that there are."""
    found: list[Callable[[int], None]] = [
        kind.manual_seed_all for kind in (torch.cuda, torch.xpu, torch.mtia) if kind.is_available()
    ]
    return [*found, *([torch.mps.manual_seed] if torch.backends.mps.is_available() else [])]


#: those of Python's, numpy's and torch's generators on the CPU
RandomStates = tuple[Any, Any, Tensor]


def random_states() -> RandomStates:
    """Return the states of the generators on the CPU."""
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def set_random_states(states: RandomStates) -> None:
    """Let the generators on the CPU go on from states that `random_states` gave."""
    of_python, of_numpy, of_torch = states
    random.setstate(of_python)
    np.random.set_state(of_numpy)
    torch.set_rng_state(of_torch)


def keeps_random_states(
    method: Callable[_Arguments, _Result],
) -> Callable[_Arguments, _Result]:
    """Put the random states, which a method seeds for itself, back as they were before."""

    @functools.wraps(method)
    def keeping(*arguments: _Arguments.args, **keywords: _Arguments.kwargs) -> _Result:
        gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
        of_numpy, of_python = np.random.get_state(), random.getstate()
        try:
            with torch.random.fork_rng(gpus):
                return method(*arguments, **keywords)
        finally:
            np.random.set_state(of_numpy)
            random.setstate(of_python)

    return keeping
