"""Draws the figures of searches in a process of its own.

Plotly takes up to a second for them, in which a thread would hold up all other answers.
"""

from __future__ import annotations

import gzip
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from hpsearch.analysis.figures import all_figures
from hpsearch.analysis.importance import importances
from hpsearch.analysis.page import figures_json
from hpsearch.runs import Runs
from hpsearch.service.records import Records

#: figures give way to answers where processors are few
NICENESS = 10
_records: Records  # of the process that draws


class Drawer:
    """A process that draws; it starts with the first figures, and again if it died."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None

    def start(self) -> None:
        """Start the process, which takes seconds, before anybody waits for it."""
        self._running().submit(int)

    def draw(self, name: str) -> bytes:
        """Return the figures of a search as JSON, compressed; raises as Records.read does."""
        pool = self._running()
        try:
            return pool.submit(_draw, name).result()
        except BrokenProcessPool:
            self._drop(pool)
            return self._running().submit(_draw, name).result()

    def _running(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._pool is None:
                # Not forked: this process has threads.
                spawn = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(1, spawn, _begin, (self._runs,))
            return self._pool

    def _drop(self, pool: ProcessPoolExecutor) -> None:
        with self._lock:
            if self._pool is pool:
                self._pool = None
        pool.shutdown(wait=False)


def _begin(runs: Path) -> None:
    global _records
    os.nice(NICENESS)
    _records = Records(Runs(runs))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which ends this
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(0)


def _draw(name: str) -> bytes:
    record, _ = _records.read(name)
    figures = all_figures(record, importances(record))
    return gzip.compress(figures_json(figures).encode(), 1)
