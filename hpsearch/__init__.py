"""hpsearch: hyperparameter search for PyTorch.

The public names, imported on first use so that `import hpsearch` is quick. A name that is added
here is part of the Python API and stays. What a script calls is there right away.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hpsearch.reporting import TrialStopped, checkpoint_dir, report

if TYPE_CHECKING:
    from hpsearch.analysis import SearchReport
    from hpsearch.early_stopping import EarlyStopper, Stop
    from hpsearch.errors import BadConfigurationError, DivergedError, HpsearchError, SpecError
    from hpsearch.functional import search
    from hpsearch.registry import register
    from hpsearch.result import SearchResult, open_search
    from hpsearch.searches import extend_search, resume_search, run_search, stop_search
    from hpsearch.spec import SearchSpec, TrialConfig, load_spec
    from hpsearch.spec.ranges import Choice, Float, Int
    from hpsearch.training import Trainer

__all__ = [
    "BadConfigurationError",
    "Choice",
    "DivergedError",
    "EarlyStopper",
    "Float",
    "HpsearchError",
    "Int",
    "SearchReport",
    "SearchResult",
    "SearchSpec",
    "SpecError",
    "Stop",
    "Trainer",
    "TrialConfig",
    "TrialStopped",
    "checkpoint_dir",
    "extend_search",
    "load_spec",
    "open_search",
    "register",
    "report",
    "resume_search",
    "run_search",
    "search",
    "stop_search",
]

_MODULES = {
    "Choice": "spec.ranges",
    "Float": "spec.ranges",
    "Int": "spec.ranges",
    "SearchResult": "result",
    "open_search": "result",
    "search": "functional",
    "EarlyStopper": "early_stopping",
    "Stop": "early_stopping",
    "SearchReport": "analysis",
    "register": "registry",
    "extend_search": "searches",
    "resume_search": "searches",
    "run_search": "searches",
    "stop_search": "searches",
    "SearchSpec": "spec",
    "Trainer": "training",
    "TrialConfig": "spec",
    "load_spec": "spec",
}


def __getattr__(name: str) -> Any:
    # torch, ray and mlflow take seconds to import: each name is imported when it is first used.
    if name not in __all__:
        raise AttributeError(f"module 'hpsearch' has no attribute {name!r}")
    from hpsearch.process import borrowed_process

    with borrowed_process():
        module = importlib.import_module(f"hpsearch.{_MODULES.get(name, 'errors')}")
    return getattr(module, name)


def __dir__() -> list[str]:
    return __all__
