"""Pages that commands write beside what they print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hpsearch.errors import HpsearchError

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from hpsearch.analysis.blocks import Section


def check_page(path: Path | None) -> None:
    """Raise HpsearchError for a page whose folder isn't there, before it is computed."""
    if path is not None and not path.absolute().parent.is_dir():
        raise HpsearchError(f"{path}: can't be written: {path.parent} is not a folder")


def write_page(
    path: Path, title: str, told: str, sections: list[Section], figures: dict[str, go.Figure]
) -> None:
    """Write a page as that of a report; `told` is its introduction."""
    from hpsearch.analysis.page import plain_document

    write_text(path, plain_document(title, told, sections, figures))


def write_text(path: Path, text: str) -> None:
    """Write a file; raises HpsearchError where that can't be done."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise HpsearchError(f"{path}: can't be written: {error.strerror}") from error
