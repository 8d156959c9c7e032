"""Early stopping: which trials are worth their next epoch; without Ray, pure functions of values.

`EarlyStopper` is what a rule is, `make_early_stopper` makes the one that a spec names. A new rule
is a registered factory in a module of its own.
"""

from __future__ import annotations

import hpsearch.early_stopping.freeze_thaw
import hpsearch.early_stopping.halving
import hpsearch.early_stopping.median  # noqa: F401 (each registers what it has)
from hpsearch.early_stopping.base import (
    EarlyStopper,
    JointRule,
    PausingRule,
    Rule,
    StandingRule,
    Stop,
    geometric_rungs,
)
from hpsearch.early_stopping.factory import (
    make_early_stopper,
    make_registered_stopper,
    make_rule,
)

__all__ = [
    "EarlyStopper",
    "JointRule",
    "PausingRule",
    "Rule",
    "StandingRule",
    "Stop",
    "geometric_rungs",
    "make_early_stopper",
    "make_registered_stopper",
    "make_rule",
]
