"""Checks of a trial: what is tried on it before it costs much.

A new check is a registered function in `by_name`, or a module of its own.
"""

from __future__ import annotations

from hpsearch.training.checks import by_name, optimizers, separability

__all__ = ["by_name", "optimizers", "separability"]
