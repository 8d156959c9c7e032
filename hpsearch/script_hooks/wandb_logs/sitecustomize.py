"""Python imports this first in a script whose calls of W&B are its metrics.

The script's PYTHONPATH begins with this folder then. Once `wandb` is imported, what its runs log
is reported to the search too.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from numbers import Real
from types import ModuleType
from typing import Any

HERE = os.path.dirname(__file__)


class _AfterImport(importlib.abc.MetaPathFinder):
    """Patches W&B when it has been imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "wandb":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Patching(spec.loader)
        return spec


class _Patching(importlib.abc.Loader):
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _report_logs(module)


def _report_logs(wandb: Any) -> None:
    """Have `Run.log` report the numbers that it logs."""
    run_class = wandb.Run
    log = run_class.log
    epoch_name = os.environ.get("HPSEARCH_WANDB_EPOCH", "epoch")

    def log_and_report(
        run: Any, data: dict[str, Any], step: int | None = None, *rest: Any, **more: Any
    ) -> None:
        log(run, data, step, *rest, **more)
        numbers = {name: value for name, value in data.items() if isinstance(value, Real)}
        epoch: Any = numbers.pop(epoch_name, None)
        from hpsearch.reporting import report

        if epoch is not None:
            report(numbers, epoch=epoch)
        elif numbers:
            report(numbers, step=step)

    run_class.log = log_and_report


def _run_the_next() -> None:
    """Run the sitecustomize that this one hides."""
    spec = PathFinder.find_spec(
        "sitecustomize", [place for place in sys.path if os.path.abspath(place) != HERE]
    )
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


sys.meta_path.insert(0, _AfterImport())
_run_the_next()
