"""What a report is made of: sections of texts, tables and code.

In a text, `backticks` mark what is a name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Rows of texts under a header."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Code:
    """Text to be shown as it is."""

    text: str


@dataclass(frozen=True)
class Section:
    """A titled part of a report; `figures` are prefixes of the names of its pictures."""

    title: str
    blocks: tuple[str | Table | Code, ...] = ()
    figures: tuple[str, ...] = ()


def as_rows(rows: Iterable[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Return rows as a table has them."""
    return tuple(rows)
