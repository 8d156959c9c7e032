"""The state of a process that trains one trial after another: each finds it as the first did."""

from __future__ import annotations

import gc
import importlib
import logging
import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

import torch
import torch.utils.data

from hpsearch.importing import is_users_file
from hpsearch.process import keep_process
from hpsearch.training.user_code import lockstep

# torch.optim deletes its attribute of that name
_WITH_HOOKS = [*map(importlib.import_module, ("torch.nn.modules.module", "torch.optim.optimizer"))]


class ProcessState:
    """What user code finds in its process, to be put back once its trial has left it.

    Modules stay loaded, with what they hold: to load them again would take seconds.
    """

    def __init__(self) -> None:
        self._restore = keep_process()
        self._arguments = list(sys.argv)
        self._start_method = multiprocessing.get_start_method(allow_none=True)
        self._num_interop_threads = torch.get_num_interop_threads()
        self._hooks = [(module, dict(_hooks_of(module))) for module in _WITH_HOOKS]
        self._modes = [get() for get, _ in _MODES]
        self._threads = set(threading.enumerate())
        self._children = set(multiprocessing.active_children())
        self._loggers = set(logging.root.manager.loggerDict)

    def restore(self) -> str:
        """Put the state back; returns what can't be, or nothing."""
        left = ", ".join(self._lasting())
        self._restore()
        sys.argv = list(self._arguments)
        if multiprocessing.get_start_method(allow_none=True) != self._start_method:
            multiprocessing.set_start_method(self._start_method, force=True)
        for module, hooks in self._hooks:
            for name, value in hooks.items():
                _put_back(module, name, value)
        for (get, put), mode in zip(_MODES, self._modes, strict=True):
            if get() != mode:
                put(mode)
        for name in logging.root.manager.loggerDict.keys() - self._loggers:
            if _is_users_logger(name):
                logging.getLogger(name).handlers.clear()
        _let_loaders_handle_signals()
        return left

    def _lasting(self) -> Iterator[str]:
        """End what can be ended of what is left; yield what stays in the process for good."""
        if lockstep.abandoned:
            yield "a training function that keeps running after it was closed"
        if torch.get_num_interop_threads() != self._num_interop_threads:
            yield "torch.set_num_interop_threads"
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            if torch.distributed.get_backend() == "gloo":
                torch.distributed.destroy_process_group()
            else:  # to destroy it may wait for ranks that are gone
                yield "torch.distributed.init_process_group"
        if self._new_children():
            gc.collect()  # a DataLoader ends its workers when it is forgotten
        for process in self._new_children():
            process.terminate()
            yield f"the process {process.name}"
        for thread in set(threading.enumerate()) - self._threads:
            if thread.is_alive() and not thread.daemon and not _is_of_pool(thread):
                yield f"the thread {thread.name}"

    def _new_children(self) -> set[multiprocessing.process.BaseProcess]:
        return set(multiprocessing.active_children()) - self._children


def _is_users_logger(name: str) -> bool:
    """Whether no package has a logger, which sets it up once as it is imported."""
    module = sys.modules.get(name.partition(".")[0])
    file = getattr(module, "__file__", None)
    return module is None or (file is not None and is_users_file(file))


def _is_of_pool(thread: threading.Thread) -> bool:
    """Whether a thread waits for work of a concurrent.futures pool, as packages leave them."""
    pool: Any = sys.modules.get("concurrent.futures.thread")
    return pool is not None and thread in pool._threads_queues


def _hooks_of(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield what a module of torch's calls for all modules or optimizers, as copies."""
    for name, value in vars(module).items():
        if name.startswith("_global_"):
            yield name, value.copy() if isinstance(value, dict) else value


def _put_back(module: ModuleType, name: str, value: Any) -> None:
    if isinstance(value, dict):
        current = getattr(module, name)
        current.clear()
        current.update(value)
    else:
        setattr(module, name, value)


def _cudnn(name: str) -> tuple[Callable[[], Any], Callable[[Any], None]]:
    cudnn = torch.backends.cudnn
    return partial(getattr, cudnn, name), partial(setattr, cudnn, name)


#: global modes of torch: getters and setters, some of which import a lot
_MODES: list[tuple[Callable[[], Any], Callable[[Any], Any]]] = [
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    _cudnn("benchmark"),
    _cudnn("deterministic"),
]


def _let_loaders_handle_signals() -> None:
    """Let the next DataLoader set its handler of dead workers again, if it was put back."""
    handling: Any = torch.utils.data._utils.signal_handling
    if handling._SIGCHLD_handler_set:
        handler = signal.getsignal(signal.SIGCHLD)
        handling._SIGCHLD_handler_set = getattr(handler, "__module__", "") == handling.__name__
