"""Callbacks that measure what a net does inside, each a registered class in a module of its own.

A new one is found by being here: it has `measure`, names its metrics, and changes nothing.
"""

from __future__ import annotations

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
