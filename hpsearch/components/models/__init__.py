"""Models by name, the trained ones too: from the shape of an example to a `torch.nn.Module`.

A new model is a registered factory in a module of its own here, which is found by being here.
"""

from __future__ import annotations

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
