"""Initial weights: drawn by name, or from the statistics of a first batch.

`placement` says which initializer draws which weight. A new one is a function in `by_name`.
"""

from __future__ import annotations

from hpsearch.components.initializers import by_name

__all__ = ["by_name"]
