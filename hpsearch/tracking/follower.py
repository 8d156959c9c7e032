"""The process that keeps MLflow's view of a search up to date, by following its record.

A tracker starts it with a line of JSON on standard input: the record's place may be a URL with a
password, which a command line would show to everybody. Any byte more tells it to write all that
is left and end; the end of its input, that its driver is gone, and it ends at once. It answers by
lines of JSON: what it logs, what it has done.
"""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable
from io import RawIOBase
from pathlib import Path
from typing import Any

from hpsearch.errors import TrackingError
from hpsearch.record import Record
from hpsearch.tracking.store import mlflow_settings
from hpsearch.tracking.tracker import FollowerSettings
from hpsearch.tracking.writer import View

MAX_BACKOFF_S = 60.0
_log = logging.getLogger("hpsearch.tracking.follower")  # it is `__main__`


class Follower:
    """Brings MLflow's view to where the record is, again and again.

    What the store can't take now is tried again; the record has it all anyway.
    """

    def __init__(
        self, settings: FollowerSettings, finishing: threading.Event, tell: Callable[..., None]
    ) -> None:
        self._settings = settings
        self._finishing = finishing
        self._tell = tell
        place = Path(settings.place) if settings.is_file else settings.place
        self._record = Record.open(place, settings.name)
        #: numbers of trials; None is the search itself
        self._dirty: set[int | None] = {None, *range(len(self._record.trials))}
        self._written_at: dict[int | None, float] = {}  # of what continues
        self._view: View | None = None
        self._failures = 0

    def run(self) -> None:
        """Follow until asked to finish, and everything is written."""
        while True:
            finishing = self._finishing.is_set()  # looked at first: the driver writes no more
            written = self._flush(everything=finishing)
            if written and finishing:
                return
            # Twice as long after each failure; 10 of them are more than the longest pause.
            pause = min(self._settings.interval_s * 2.0 ** min(self._failures, 10), MAX_BACKOFF_S)
            if finishing:
                time.sleep(pause)
            else:
                self._finishing.wait(pause)

    def _flush(self, everything: bool) -> bool:
        """Write what changed; False on an outage, after which nothing is taken as written."""
        try:
            self._read_record()
            view = self._view or self._open()
            for number in self._due(everything):
                self._update(view, number)
        except Exception as error:  # whatever it is, the search continues and it is tried again
            self._view = None
            self._note_outage(error)
            return False
        self._note_recovery()
        return True

    def _read_record(self) -> None:
        record = self._record
        before = (record.state, record.result)
        changed = record.refresh()
        self._dirty |= changed
        ended = any(record.trials[number].outcome is not None for number in changed)
        if ended or (record.state, record.result) != before:
            self._dirty.add(None)

    def _open(self) -> View:
        self._view = View(
            self._record,
            self._settings.tracking_uri,
            Path(self._settings.artifacts) if self._settings.artifacts else None,
        )
        return self._view

    def _due(self, everything: bool) -> list[int | None]:
        """Return what to write now: the trials by number, then the search."""
        dirty = sorted(self._dirty, key=lambda number: math.inf if number is None else number)
        return [number for number in dirty if everything or self._is_due(number)]

    def _is_due(self, number: int | None) -> bool:
        """Whether it has ended, or was last written long enough ago; the search's own run takes
        longer to write the more trials it has."""
        started_at = 0.0
        if number is not None:
            trial = self._record.trials[number]
            if trial.outcome is not None:
                return True
            started_at = trial.started_at
        since = time.time() - self._written_at.get(number, started_at)
        return since >= self._settings.running_interval_s

    def _update(self, view: View, number: int | None) -> None:
        try:
            if number is None:
                view.update_search()
            else:
                view.update_trial(number)
        except TrackingError as error:  # not an outage: it would be refused again
            _log.warning("%s", error)
        self._tell(progress=True)
        self._dirty.discard(number)
        self._written_at[number] = time.time()

    def _note_outage(self, error: Exception) -> None:
        self._failures += 1
        if self._failures == 1:
            _log.warning(
                "can't write to %s; will retry, as the record is complete: %s: %s",
                self._settings.tracking_uri,
                type(error).__name__,
                str(error).partition("\n")[0],
            )

    def _note_recovery(self) -> None:
        if self._failures:
            _log.info("writing to %s again", self._settings.tracking_uri)
        self._failures = 0


class _Relay(logging.Handler):
    """Tells the tracker what is logged here; it logs it again, where the user sees it."""

    def __init__(self, tell: Callable[..., None]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(logger=record.name, level=record.levelno, message=record.getMessage())


def main() -> None:
    """Follow a record as standard input says."""
    # The driver decides what a signal means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    orders = os.fdopen(0, "rb", buffering=0, closefd=False)
    # What a library prints must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def tell(**answer: Any) -> None:
        answers.write(json.dumps(answer) + "\n")

    logging.basicConfig(level=logging.WARNING, handlers=[_Relay(tell)])
    logging.getLogger("hpsearch").setLevel(logging.INFO)
    settings = FollowerSettings.from_json(orders.readline())
    finishing = threading.Event()
    threading.Thread(target=_obey, args=(orders, finishing), daemon=True).start()
    tell(progress=True)
    with mlflow_settings():
        Follower(settings, finishing, tell).run()
    tell(finished=True)
    os._exit(0)  # the driver waits for it, and Python's own end takes most of a second


def _obey(orders: RawIOBase, finishing: threading.Event) -> None:
    while orders.read(1):
        finishing.set()
    os._exit(1)  # at once: another driver may be about to continue


if __name__ == "__main__":
    main()
