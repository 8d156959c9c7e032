"""What layers are made of, by name: activations, dropout, normalizations, recurrent cells.

The factories are beside the modules that they return. Models get them by keyword.
"""

from __future__ import annotations

from hpsearch.components.layers import (
    activations,
    cells,
    clockwork,
    dropouts,
    independent,
    jordan,
    normalizations,
)

__all__ = [
    "activations",
    "cells",
    "clockwork",
    "dropouts",
    "independent",
    "jordan",
    "normalizations",
]
