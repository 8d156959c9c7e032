"""The libraries torchvision and timm, imported where something needs them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import torch
from torch import library

from hpsearch.components.packages import optional_package
from hpsearch.errors import BadConfigurationError

INSTALL = "pip install hpsearch[vision]"
#: operators that torchvision registers more for as it is imported, whether they are there or not
_OPERATORS = ("nms", "qnms")
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[library.Library] = []


def torchvision(user: str, module: str = "torchvision") -> Any:
    """Return a module of torchvision; BadConfigurationError says who needs it, and what to do.

    Its compiled operators load beside the build of torch alone that it was made for: PyPI's, made
    for CUDA, doesn't beside a build for CPUs, and then can't be imported. Models and transforms
    use none of them, so that it is enough to declare those that its import misses.
    """
    if "torchvision" not in sys.modules:
        _declare_missing_operators()
    try:
        return optional_package(module, user, INSTALL, BadConfigurationError)
    except (RuntimeError, AttributeError) as error:  # as it is imported beside another torch
        raise BadConfigurationError(
            f"{user} needs a torchvision that goes with torch {torch.__version__}: {error}"
        ) from error


def timm(user: str) -> Any:
    """Return timm, which needs torchvision; BadConfigurationError as there."""
    torchvision(user)
    return optional_package("timm", user, INSTALL, BadConfigurationError)


def _declare_missing_operators() -> None:
    found = importlib.util.find_spec("torchvision")
    if _declared or found is None or found.origin is None:
        return
    for compiled in Path(found.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(str(compiled))  # type: ignore[no-untyped-call]
        except OSError:
            declared: Any = library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
            _declared.append(declared)
            for name in _OPERATORS:
                declared.define(f"{name}{_SIGNATURE}")
            return
