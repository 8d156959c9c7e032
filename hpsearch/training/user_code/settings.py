"""What user code may set for its thread or process while it trains, kept apart from ours.

Code that reports within `torch.no_grad()` or autocast leaves them on: torch keeps them for the
thread, and not for the `with` statement that waits.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils import _device

_DEVICES = ("cpu", "cuda")


class UserSettings:
    """The settings of one trial's code: at first the caller's, in a folder, with a sys.argv."""

    def __init__(self, folder: Path, arguments: list[str]) -> None:
        self._first: dict[Callable[..., Any], Any] = {
            _set_folder: folder.absolute(),
            _set_arguments: arguments,
        }
        self._kept: list[Any] | None = None
        self._plain: Any = None  # suspends the code's inference mode, which has no other setter

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Have the settings of the code meanwhile, and keep what it makes of them."""
        before = _read()
        self._resume()
        try:
            yield
        finally:
            self._suspend()
            _write(before)

    def _resume(self) -> None:
        if self._kept is None:
            for put, value in self._first.items():
                put(value)
            return
        if self._plain is not None:
            self._plain.__exit__(None, None, None)
            self._plain = None
        _write(self._kept)

    def _suspend(self) -> None:
        self._kept = _read()
        if torch.is_inference_mode_enabled():
            self._plain = torch.inference_mode(False)
            self._plain.__enter__()


def _read() -> list[Any]:
    return [get() for get, _ in _SETTINGS]


def _write(values: list[Any]) -> None:
    for (get, put), value in zip(_SETTINGS, values, strict=True):
        if get() != value:
            put(value)


def _folder() -> Path | None:
    try:
        return Path.cwd()
    except FileNotFoundError:  # the code removed it
        return None


def _set_folder(folder: Path | None) -> None:
    with suppress(OSError):  # it is gone
        os.chdir(folder or "/")


def _arguments() -> list[str]:
    return list(sys.argv)


def _set_arguments(arguments: list[str]) -> None:
    sys.argv = list(arguments)


def _function_modes() -> tuple[Any, Any, list[Any]]:
    """What `torch.set_default_device` and `with torch.device(...)` have set."""
    stack = range(torch._C._len_torch_function_stack())
    modes = [torch._C._get_function_stack_at(i) for i in stack]
    default = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    return default, _device.CURRENT_DEVICE, modes


def _set_function_modes(wanted: tuple[Any, Any, list[Any]]) -> None:
    default, _device.CURRENT_DEVICE, modes = wanted
    torch._GLOBAL_DEVICE_CONTEXT.device_context = default
    for _ in range(torch._C._len_torch_function_stack()):
        torch._C._pop_torch_function_stack()
    for mode in modes:
        torch._C._push_on_torch_function_stack(mode)


_SETTINGS: list[tuple[Callable[[], Any], Callable[[Any], Any]]] = [
    (_folder, _set_folder),
    (_arguments, _set_arguments),
    (asyncio._get_running_loop, asyncio._set_running_loop),
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (torch.get_default_dtype, torch.set_default_dtype),
    (_function_modes, _set_function_modes),
    (torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled),
    *(
        (partial(get, device), partial(put, device))
        for device in _DEVICES
        for get, put in (
            (torch.is_autocast_enabled, torch.set_autocast_enabled),
            (torch.get_autocast_dtype, torch.set_autocast_dtype),
        )
    ),
]
