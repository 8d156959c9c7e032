"""Tables in a terminal, of which nothing is cut off."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

#: letters of a first column that stays in one line; longer ones are folded
WHOLE = 48


def text_table(header: Sequence[str], rows: Iterable[Sequence[object]], **options: Any) -> Table:
    """Return a table of plain texts; where it is too wide, lines are wrapped and words folded.

    The first column holds names, which other commands ask for: the others give way to it.
    `options` are those of rich's `Table`.
    """
    texts = [[escape(str(cell)) for cell in row] for row in rows]
    table = Table(box=None, **options)
    longest = max((len(str(row[0])) for row in texts), default=0)
    for place, name in enumerate(header):
        is_whole = place == 0 and longest <= WHOLE
        table.add_column(escape(name), overflow="fold", no_wrap=is_whole)
    for row in texts:
        table.add_row(*row)
    return table
