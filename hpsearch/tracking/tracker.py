"""A thread that keeps MLflow's view of a search up to date, beside the control loop."""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from hpsearch.errors import TrackingError
from hpsearch.record import Record

if TYPE_CHECKING:
    from hpsearch.tracking.view import View

INTERVAL_S = 1.0
#: A run is written in one go when its trial ends, or every so often while it goes on: creating,
#: filling and ending a run cost three calls, each further batch a call more.
RUNNING_INTERVAL_S = 5.0
MAX_BACKOFF_S = 60.0
CLOSE_TIMEOUT_S = 60.0
#: seconds without progress after which `close` gives up: the store is down or hangs
CLOSE_PATIENCE_S = 10.0
logger = logging.getLogger(__name__)


class Tracker:
    """Keeps MLflow's view of a record up to date from a thread of its own.

    What the store can't take now is tried again until `close`; the record has it all anyway.
    `artifacts` is the folder of a new experiment's artifacts; without it the store decides.
    """

    def __init__(
        self,
        record: Record,
        tracking_uri: str,
        artifacts: Path | None = None,
        *,
        interval_s: float = INTERVAL_S,
        running_interval_s: float = RUNNING_INTERVAL_S,
    ) -> None:
        self._record = record
        self._uri = tracking_uri
        self._artifacts = artifacts
        self._interval_s = interval_s
        self._running_interval_s = running_interval_s
        self._notified: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._abandoned = threading.Event()
        self._finished = False
        self._progress_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="mlflow-tracker", daemon=True)
        # Below: of the thread alone.
        self._dirty: set[int | None] = {None, *range(len(record.trials))}
        self._written_at: dict[int, float] = {}  # of running trials
        self._view: View | None = None
        self._failures = 0

    def start(self) -> None:
        """Start the thread. It begins with all that the record holds already."""
        self._thread.start()

    def notify(self, number: int | None = None) -> None:
        """Tell that a trial (None: the search itself) changed in the record; never blocks."""
        self._notified.put(number)

    def close(self, timeout: float | None = CLOSE_TIMEOUT_S) -> bool:
        """Write all that is left and end the thread; False if that couldn't be done in time.

        A store that takes nothing any more is given up sooner: the search must end.
        """
        self._progress_at = time.monotonic()
        deadline = math.inf if timeout is None else self._progress_at + timeout
        self._closing.set()
        while self._thread.is_alive():
            patience_ends = self._progress_at + CLOSE_PATIENCE_S
            if time.monotonic() > min(deadline, patience_ends):
                break
            self._thread.join(0.1)
        self._abandoned.set()
        if not self._finished:
            logger.warning(
                "%s isn't up to date with search %s: `hpsearch resume %s` completes it",
                *(self._uri, self._record.name, self._record.name),
            )
        return self._finished

    @property
    def experiment_id(self) -> str | None:
        """MLflow's experiment, once it is known."""
        view = self._view
        return None if view is None else view.experiment_id

    @property
    def parent_run_id(self) -> str | None:
        """The run of the search, once it is known."""
        view = self._view
        return None if view is None else view.parent_run_id

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self) -> None:
        while not self._abandoned.is_set():
            closing = self._closing.is_set()  # looked at first: no notification follows it
            written = self._flush(closing)
            if written and closing:
                self._finished = True
                return
            # Twice as long after each failure; 10 of them are more than the longest pause.
            pause = min(self._interval_s * 2.0 ** min(self._failures, 10), MAX_BACKOFF_S)
            (self._abandoned if closing else self._closing).wait(pause)

    def _flush(self, everything: bool) -> bool:
        """Write what changed; False on an outage, after which nothing is taken as written."""
        while not self._notified.empty():
            self._dirty.add(self._notified.get())
        try:
            view = self._view or self._open()
            for number in self._due(everything):
                if self._abandoned.is_set():
                    return False
                self._update(view, number)
            if None in self._dirty:
                self._update(view, None)
        except Exception as error:  # whatever it is, the search goes on and it is tried again
            self._view = None
            self._note_outage(error)
            return False
        self._note_recovery()
        return True

    def _open(self) -> View:
        # MLflow takes seconds to import: here the search doesn't wait for it.
        from hpsearch.tracking.view import View

        self._view = View(self._record, self._uri, self._artifacts)
        return self._view

    def _due(self, everything: bool) -> list[int]:
        now = time.time()
        due = []
        for number in sorted(number for number in self._dirty if number is not None):
            trial = self._record.trials[number]
            written_at = self._written_at.get(number, trial.started_at)
            ended = trial.outcome is not None
            if everything or ended or now - written_at >= self._running_interval_s:
                due.append(number)
        return due

    def _update(self, view: View, number: int | None) -> None:
        try:
            if number is None:
                view.update_search()
            else:
                view.update_trial(number)
        except TrackingError as error:  # not an outage: it would be refused again
            logger.warning("%s", error)
        self._progress_at = time.monotonic()
        self._dirty.discard(number)
        if number is None:
            return
        if self._record.trials[number].outcome is None:
            self._written_at[number] = time.time()
        else:
            self._written_at.pop(number, None)
            self._dirty.add(None)

    def _note_outage(self, error: Exception) -> None:
        self._failures += 1
        if self._failures == 1:
            logger.warning(
                "%s can't be written now, and will be tried again (the record has all): %s: %s",
                self._uri,
                type(error).__name__,
                str(error).partition("\n")[0],
                exc_info=logger.isEnabledFor(logging.DEBUG),
            )

    def _note_recovery(self) -> None:
        if self._failures:
            logger.info("%s can be written again", self._uri)
        self._failures = 0
