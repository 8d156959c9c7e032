"""What a search found and its progress, from its record alone.

`content` decides what a report says, `figures` what it draws; `page` and `markdown` only render.
Reading a record here never changes it, and what needs pandas or plotly is imported lazily.
"""

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
