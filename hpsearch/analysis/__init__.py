"""What a search found and how far it is, from its record alone."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hpsearch.analysis.progress import Progress, summary

if TYPE_CHECKING:
    from hpsearch.analysis.report import SearchReport, write_report

__all__ = ["Progress", "SearchReport", "summary", "write_report"]


def __getattr__(name: str) -> Any:
    # pandas and plotly take half a second to import, which a live view has no use for.
    if name not in __all__:
        raise AttributeError(f"module 'hpsearch.analysis' has no attribute {name!r}")
    return getattr(importlib.import_module("hpsearch.analysis.report"), name)
