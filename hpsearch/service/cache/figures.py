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

from hpsearch.analysis.figures import all_figures
from hpsearch.analysis.importance import importances
from hpsearch.analysis.page import figures_json
from hpsearch.analysis.response import Response
from hpsearch.errors import ConflictError
from hpsearch.service.cache.cache import Cache
from hpsearch.service.cache.records import Records
from hpsearch.service.search_files import SearchFiles

#: figures give way to answers where processors are few
NICENESS = 10
#: seconds that the figures of a search may take, after which the process ends
DRAW_LIMIT_S = 60.0
#: seconds for which figures that could not be drawn are not tried again, and of how many searches
UNDRAWABLE_S = 600.0
MAX_UNDRAWABLE = 10_000
_records: Records  # of the process that draws


class FigureProcess:
    """A process that draws; it starts with the first figures, and again if it died."""

    def __init__(self, files: SearchFiles) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._undrawable: Cache[str, str] = Cache(MAX_UNDRAWABLE, max_age_s=UNDRAWABLE_S)

    def start(self) -> None:
        """Start the process, which takes seconds, before anybody waits for it."""
        self._running().submit(int)

    def draw(self, name: str) -> bytes:
        """Return the figures of a search as JSON, compressed; raises as Records.read does.

        And ConflictError where they can't be drawn in time, or end the process.
        """
        if (before := self._undrawable.find(name)) is not None:
            raise ConflictError(before)
        for _ in range(2):  # another search's figures may have ended the first process
            pool = self._running()
            try:
                return pool.submit(_draw, name).result()
            except BrokenProcessPool:
                self._drop(pool)
        why = f"the figures of {name} can't be drawn in {DRAW_LIMIT_S:g} s"
        self._undrawable.keep(name, why)
        raise ConflictError(why)

    def _running(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._pool is None:
                # Not forked: this process has threads.
                spawn = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(1, spawn, _begin, (self._files,))
            return self._pool

    def _drop(self, pool: ProcessPoolExecutor) -> None:
        with self._lock:
            if self._pool is pool:
                self._pool = None
        pool.shutdown(wait=False)


def _begin(files: SearchFiles) -> None:
    global _records
    os.nice(NICENESS)
    _records = Records(files)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which ends this
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(0)


def _draw(name: str) -> bytes:
    signal.setitimer(signal.ITIMER_REAL, DRAW_LIMIT_S)  # its signal ends the process
    try:
        record, _ = _records.read(name)
        figures = all_figures(record, importances(record), Response(record))
        return gzip.compress(figures_json(figures).encode(), 1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
