"""The driver's side of MLflow's view: a process of its own follows the record and writes it.

MLflow's own code costs several milliseconds of processor time a result, and in the driver the
control loop would wait for it.
"""

from __future__ import annotations

import json
import logging
import math
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hpsearch.process import yield_processor
from hpsearch.record import Record

INTERVAL_S = 1.0
RUNNING_INTERVAL_S = 5.0
#: how long the first follower waits for its event
START_DELAY_S = 15.0
CLOSE_TIMEOUT_S = 300.0
#: seconds without progress after which `close` gives up: the store is down or hangs
CLOSE_PATIENCE_S = 10.0
#: between two followers of which the first died
RESTART_S = 2.0
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FollowerSettings:
    """What to follow, and where to.

    A run is written in one go when its trial ends, or every `running_interval_s` while it goes
    on: creating, filling and ending a run cost three calls, each further batch a call more.
    """

    place: str
    is_file: bool
    name: str
    tracking_uri: str
    artifacts: str | None
    interval_s: float
    running_interval_s: float

    def to_json(self) -> str:
        """Return them as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str | bytes) -> Self:
        """Read what `to_json` wrote."""
        return cls(**json.loads(line))


class Tracker:
    """Keeps MLflow's view of a record up to date while a driver writes it.

    What the store can't take now is tried again until `close`; the record has it all anyway.
    `artifacts` is the folder of a new experiment's artifacts; without it the store decides. The
    follower starts, which costs seconds of processor time, when the event `after` is set or soon
    after it should have been.
    """

    def __init__(
        self,
        record: Record,
        tracking_uri: str,
        artifacts: Path | None = None,
        *,
        after: threading.Event | None = None,
        interval_s: float = INTERVAL_S,
        running_interval_s: float = RUNNING_INTERVAL_S,
    ) -> None:
        self._settings = FollowerSettings(
            place=str(record.place),
            is_file=isinstance(record.place, Path),
            name=record.name,
            tracking_uri=tracking_uri,
            artifacts=None if artifacts is None else str(artifacts),
            interval_s=interval_s,
            running_interval_s=running_interval_s,
        )
        self._after = after
        self._closing = threading.Event()
        self._abandoned = threading.Event()
        self._finished = False
        self._progress_at = math.inf  # not known until the follower has started
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="mlflow-tracker", daemon=True)

    def start(self) -> None:
        """Start to follow. It begins with all that the record holds already."""
        self._thread.start()

    def finish(self) -> None:
        """Begin to write all that is left; `close` waits for it."""
        self._closing.set()
        if self._after is not None:
            self._after.set()
        self._ask_to_finish()

    def close(self, timeout: float | None = CLOSE_TIMEOUT_S) -> bool:
        """Have all that is left written and end; False if that couldn't be done in time.

        A store that takes nothing any more is given up sooner: the search must end.
        """
        started = time.monotonic()
        deadline = math.inf if timeout is None else started + timeout
        if not self._closing.is_set():
            self.finish()
        while self._thread.is_alive():
            patience_ends = max(started, self._progress_at) + CLOSE_PATIENCE_S
            if time.monotonic() > min(deadline, patience_ends):
                break
            self._thread.join(0.05)
        self._abandon()
        if not self._finished:
            logger.warning(
                "%s isn't up to date with search %s: `hpsearch resume %s` completes it",
                *(self._settings.tracking_uri, self._settings.name, self._settings.name),
            )
        return self._finished

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
        """Have a follower, and another one if it dies."""
        if self._after is not None:
            self._after.wait(START_DELAY_S)
        while not self._abandoned.is_set():
            # -P: a user's `random.py` in this folder is none of ours.
            command = [sys.executable, "-P", "-W", "ignore", "-m", "hpsearch.tracking.follower"]
            # a copy: another thread may change the environment just then, and the call would fail
            with subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=dict(os.environ),
                process_group=0,  # Ctrl-C is sent to the whole group, and means the driver
            ) as process:
                self._process = process
                yield_processor(process.pid)  # trials don't wait for it
                self._send(self._settings.to_json().encode() + b"\n")
                # Whoever looks for the process after it is known here finds it.
                if self._closing.is_set():
                    self._ask_to_finish()
                if self._abandoned.is_set():
                    process.kill()
                self._listen(process)
            if self._finished or self._abandoned.is_set():
                return
            logger.warning("the MLflow writer died; restarting it")
            self._progress_at = math.inf
            self._abandoned.wait(RESTART_S)

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._take(json.loads(line))

    def _take(self, answer: dict[str, Any]) -> None:
        if "message" in answer:
            logging.getLogger(answer["logger"]).log(answer["level"], "%s", answer["message"])
        elif "finished" in answer:
            self._finished = True
        else:
            self._progress_at = time.monotonic()

    def _ask_to_finish(self) -> None:
        self._send(b"\n")

    def _send(self, order: bytes) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        try:
            process.stdin.write(order)
            process.stdin.flush()
        except (OSError, ValueError):  # it has died, which `_run` sees
            return

    def _abandon(self) -> None:
        self._abandoned.set()
        process = self._process
        if process is not None and not self._finished:
            process.kill()
        self._thread.join()
