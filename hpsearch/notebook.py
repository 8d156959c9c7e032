"""A running search in a notebook: a table that is replaced while it runs, without widgets."""

from __future__ import annotations

import html
import sys
import threading
from typing import Any

from hpsearch.analysis import summary
from hpsearch.analysis.leaders import leaders
from hpsearch.formatting import show, show_seconds
from hpsearch.record import Record
from hpsearch.runs import SearchFolder

REFRESH_S = 1.0
#: trials of the table
SHOWN = 5


def is_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and shell.__class__.__name__ == "ZMQInteractiveShell"


class NotebookView:
    """Shows a running search below a cell; its value is what `run_search` calls at the start."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Any:
        return self._watch

    def __exit__(self, *error: Any) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self, record: Record, folder: SearchFolder) -> None:
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
    progress, metric = summary(record), record.spec.objective.metric
    head = (
        f"<b>{html.escape(record.name)}</b>: {progress.ended} of {progress.planned} trials, "
        f"{progress.running} running, {progress.stopped_early} stopped early, "
        f"{progress.failed} failed; {progress.epochs_used} epochs, "
        f"{show_seconds(progress.seconds_used)}"
    )
    columns = ("trial", metric, "epochs", "configuration")
    rows = []
    for trial in leaders(record)[:SHOWN]:
        value = record.objective(trial)
        params = ", ".join(f"{name}={show(each)}" for name, each in trial.params.items())
        rows.append((trial.number, show(value), trial.epochs, params))
    return f"<p>{head}</p>{_table(columns, rows)}"


def _table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    def row(cells: tuple[Any, ...], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(c))}</{tag}>" for c in cells) + "</tr>"

    return f"<table>{row(columns, 'th')}{''.join(row(each, 'td') for each in rows)}</table>"
