"""Markdown of generated pages: tables, and texts of the code that must not be read as markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_MARKUP = re.compile(r"([\\*_\[\]|#])")


@dataclass(frozen=True)
class Page:
    """A generated page, or another file: its path in the site and what it holds."""

    path: str
    content: str | bytes


def escape(text: str) -> str:
    """Return a text of the code as Markdown: what stands between backticks stays code.

    >>> escape("sum w_i * |e|, as `w_decay`")
    'sum w\\\\_i \\\\* \\\\|e\\\\|, as `w_decay`'
    """
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(part if part[:1] == "`" else _escape_plain(part) for part in parts)


def _escape_plain(text: str) -> str:
    escaped = _MARKUP.sub(r"\\\1", text)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def code(value: object) -> str:
    """Return a value as code; nothing where there is none."""
    text = str(value)
    return f"`{text}`" if text else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table, without the columns that are empty in every row."""
    rows = list(rows)
    kept = [column for column in range(len(head)) if any(row[column] for row in rows)]
    lines = [_row(head, kept), "|" + "---|" * len(kept), *(_row(row, kept) for row in rows)]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str], kept: Sequence[int]) -> str:
    texts = (_cell(cells[column]) for column in kept)
    return f"| {' | '.join(texts)} |"


def _cell(text: str) -> str:
    bars_in_code = re.sub(r"`[^`]+`", lambda code: code[0].replace("|", r"\|"), text)
    return bars_in_code.replace("\n", " ")
