"""Every random draw of a trial comes from (search seed, trial number, purpose, epoch)."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

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


def keeps_random_states(
    method: Callable[_Arguments, _Result],
) -> Callable[_Arguments, _Result]:
    """Put torch's random states, which a method seeds for itself, back as they were before."""

    @functools.wraps(method)
    def keeping(*arguments: _Arguments.args, **keywords: _Arguments.kwargs) -> _Result:
        gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
        with torch.random.fork_rng(gpus):
            return method(*arguments, **keywords)

    return keeping
