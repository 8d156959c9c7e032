"""The state of this process, which belongs to whoever calls: what a search and its libraries
change of it is put back.

Ray, MLflow and a user's own code set signal handlers, levels of loggers, environment variables,
random states and more, most of them as they are imported or started.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import random
import resource
import signal
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from hpsearch.home import home_settings

Restore = Callable[[], None]
#: names of folders on `sys.path` that hold installed packages
PACKAGE_FOLDERS = frozenset({"site-packages", "dist-packages"})
_STDERR = 2
_LOWEST_PRIORITY = 19
_lock = threading.Lock()
_depth = 0
_restore: Restore = lambda: None  # noqa: E731  # set while the process is borrowed


@contextmanager
def borrowed_process() -> Iterator[None]:
    """Work in a caller's process, with a HOME, and leave it as it was found.

    One inside another, or at the same time, is part of the first. torch has its own defaults
    meanwhile, as in the processes of trials.
    """
    _enter()
    try:
        with environment(home_settings()), _defaults_of_torch():
            yield
    finally:
        _leave()


@contextmanager
def _defaults_of_torch() -> Iterator[None]:
    """Have gradients, float32 and the CPU by default, whatever a caller set.

    The type is that of all threads: the last to leave puts it back.
    """
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_default_device"):  # or it is being imported
        yield
        return
    torch.set_default_dtype(torch.float32)
    is_elsewhere = torch.get_default_device().type != "cpu"
    device = torch.device("cpu") if is_elsewhere else nullcontext()
    with torch.inference_mode(False), torch.enable_grad(), device:
        yield


@contextmanager
def environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Have environment variables meanwhile, and what was there before afterwards."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            _set(name, value)


@contextmanager
def quiet(*names: str, below: int = logging.WARNING) -> Iterator[None]:
    """Drop what loggers of exactly these names say below a level.

    By a filter, as others may change levels at the same time.
    """

    def is_loud(record: logging.LogRecord) -> bool:
        return record.levelno >= below

    for name in names:
        logging.getLogger(name).addFilter(is_loud)
    try:
        yield
    finally:
        for name in names:
            logging.getLogger(name).removeFilter(is_loud)


@contextmanager
def kept_logging() -> Iterator[None]:
    """Put back levels, handlers and filters of the loggers that are there."""
    restore = _logging()
    try:
        yield
    finally:
        restore()


def keep_process() -> Restore:
    """Return what puts this process back, once, to how it is now."""
    restores = [keep() for keep in _KEEP]

    def restore_all() -> None:
        with ExitStack() as stack:  # all of them, whatever one raises
            for restore in restores:
                stack.callback(restore)

    return restore_all


def yield_processor(process: int = 0) -> None:
    """Give a process, or this thread, the processor where others leave it time.

    Ray's workers have a niceness of 15. Elsewhere than on Linux a thread can't have its own.
    """
    task = process or threading.get_native_id()
    if process or sys.platform == "linux":
        with suppress(OSError):  # it has ended
            os.setpriority(os.PRIO_PROCESS, task, _LOWEST_PRIORITY)


@contextmanager
def given_up_after(seconds: float) -> Iterator[None]:
    """End this process with status 1, and say where it hangs, unless the body ends in time."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _enter() -> None:
    global _depth, _restore
    with _lock:
        if _depth == 0:
            _restore = keep_process()
        _depth += 1


def _leave() -> None:
    global _depth
    with _lock:
        _depth -= 1
        if _depth == 0:
            _restore()


def _environment() -> Restore:
    before = dict(os.environ)

    def restore() -> None:
        for name in before.keys() | os.environ.keys():
            if os.environ.get(name) != before.get(name):
                _set(name, before.get(name))

    return restore


def _set(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def _logging() -> Restore:
    known = [logging.root, *logging.root.manager.loggerDict.values()]
    loggers = [each for each in known if isinstance(each, logging.Logger)]
    before = [_settings(logger) for logger in loggers]
    disabled = logging.root.manager.disable

    def restore() -> None:
        logging.disable(disabled)
        for logger, (level, propagate, is_disabled, handlers, filters) in zip(
            loggers, before, strict=True
        ):
            if logger.level != level:
                logger.setLevel(level)
            logger.propagate, logger.disabled = propagate, is_disabled
            logger.handlers[:], logger.filters[:] = handlers, filters

    return restore


def _settings(logger: logging.Logger) -> tuple[int, bool, bool, list[Any], list[Any]]:
    return (
        logger.level,
        logger.propagate,
        logger.disabled,
        list(logger.handlers),
        list(logger.filters),
    )


def _warnings() -> Restore:
    catching = warnings.catch_warnings()
    catching.__enter__()
    return lambda: catching.__exit__(None, None, None)


def _signals() -> Restore:
    before = {each: signal.getsignal(each) for each in signal.valid_signals()}

    def restore() -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # it could not have set any either
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)

    return restore


def _interpreter() -> Restore:
    path, hook, is_handling = list(sys.path), sys.excepthook, faulthandler.is_enabled()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)

    def restore() -> None:
        # Ray has packages of its own, which it may still import.
        sys.path[:] = [entry for entry in sys.path if entry in path or _is_of_package(entry)]
        sys.excepthook = hook
        if faulthandler.is_enabled() and not is_handling:
            faulthandler.disable()
        with suppress(ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, files)

    return restore


def _is_of_package(entry: str) -> bool:
    return not PACKAGE_FOLDERS.isdisjoint(Path(entry).parts)


def _folder() -> Restore:
    try:
        before = Path.cwd()
    except FileNotFoundError:  # it was removed
        return lambda: None
    return lambda: os.chdir(before)


def _random_states() -> Restore:
    before = random.getstate()
    numpy: Any = sys.modules.get("numpy")
    arrays = None if numpy is None else numpy.random.get_state()

    def restore() -> None:
        random.setstate(before)
        if arrays is not None:
            numpy.random.set_state(arrays)

    return restore


def _torch() -> Restore:
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_default_device"):
        return lambda: None
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    device, state = torch.get_default_device(), torch.get_rng_state()
    has_gpus = torch.cuda.is_initialized()
    states = torch.cuda.get_rng_state_all() if has_gpus else []

    def restore() -> None:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            torch.set_default_device(device)
        torch.set_rng_state(state)
        if has_gpus:
            torch.cuda.set_rng_state_all(states)

    return restore


_KEEP = (
    _environment,
    _logging,
    _warnings,
    _signals,
    _interpreter,
    _folder,
    _random_states,
    _torch,
)


def when_freed(owner: object, action: Callable[..., object], *arguments: object) -> None:
    """Call an action once an object is freed in this process, not where a process that was forked
    of it, such as a worker of a DataLoader, frees its copy."""
    weakref.finalize(owner, _act_in, os.getpid(), action, arguments)


def _act_in(process: int, action: Callable[..., object], arguments: tuple[object, ...]) -> None:
    if os.getpid() == process:
        action(*arguments)
