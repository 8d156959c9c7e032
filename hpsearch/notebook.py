"""A running search where Python runs: in a notebook a table that is replaced, without widgets."""

from __future__ import annotations

import html
import sys
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rich.console import Console

from hpsearch.analysis import summary
from hpsearch.live import LiveView, leaderboard_rows, progress_line
from hpsearch.record import Record
from hpsearch.runs import SearchFolder

REFRESH_S = 1.0


def is_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and shell.__class__.__name__ == "ZMQInteractiveShell"


def view_here(name: str, progress: bool) -> AbstractContextManager[NotebookView | LiveView | None]:
    """Return what shows a search that is about to begin, in a notebook or a terminal; says at
    once that it is being checked. None without `progress`."""
    if not progress:
        return nullcontext()
    print(f"{name}: checking it while Ray starts", flush=True)
    return NotebookView() if is_notebook() else LiveView(Console(emoji=False))


class NotebookView:
    """Shows a running search below a cell."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> NotebookView:
        return self

    def __exit__(self, *error: Any) -> None:
        self._end_thread()

    def _end_thread(self) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()
        self._done.clear()

    def watch(self, record: Record, folder: SearchFolder) -> None:
        """Begin to show a search below those before; see `LiveView.watch`."""
        self._end_thread()
        import IPython.display

        HTML: Any = IPython.display.HTML
        display: Any = IPython.display.display

        handle = display(HTML(progress_html(record)), display_id=True)

        def refresh() -> None:
            while not self._done.wait(REFRESH_S):
                handle.update(HTML(progress_html(record)))
            handle.update(HTML(progress_html(record)))

        self._thread = threading.Thread(target=refresh, daemon=True)
        self._thread.start()


def progress_html(record: Record) -> str:
    """Return how far a search is, and its leading trials, as a table."""
    columns = ("trial", record.spec.objective.metric, "epochs", "configuration")
    line = f"{record.name}: {progress_line(record, summary(record))}"
    rows = (_row(row, "td") for row in leaderboard_rows(record))
    return f"<p>{html.escape(line)}</p><table>{_row(columns, 'th')}{''.join(rows)}</table>"


def _row(cells: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"
