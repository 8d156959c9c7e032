"""What a script says to the search that runs it as a trial.

    import hpsearch
    hpsearch.report(epoch=epoch, val_accuracy=accuracy)

Outside a search nothing happens, so the script still runs by itself. Any process of the trial may
report. Python's standard library only: a script pays milliseconds for it.

A report is a line of JSON on a Unix socket, answered by a line of JSON once the search wants the
trial to continue, or to stop. Processes on other nodes than the trial's first have a TCP
connection, which begins with a line that is the trial's secret.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

#: variables of a trial's environment: the socket (a path, or tcp://SECRET@HOST:PORT), and the
#: folder of its checkpoints
SOCKET, CHECKPOINT_DIR = "HPSEARCH_SOCKET", "HPSEARCH_CHECKPOINT_DIR"
TCP = "tcp://"
#: where launchers of several processes say which one this is
RANK_VARIABLES = ("RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID")
OnStop = Literal["terminate", "raise"]


class TrialStopped(SystemExit):
    """Raised by `report(..., on_stop="raise")` where the trial is stopped.

    The script may clean up. Uncaught it ends the script quietly, as `sys.exit()` does.
    """


def is_trial() -> bool:
    """Whether this process belongs to a trial that a search runs as a command."""
    return SOCKET in os.environ


def report(
    metrics: Mapping[str, Any] | None = None,
    /,
    *,
    epoch: int | None = None,
    step: int | None = None,
    on_stop: OnStop = "terminate",
    **more: Any,
) -> None:
    """Report metrics of an epoch, or of a step; returns once the trial may continue.

    Metrics are numbers, or arrays and tensors of one element; `epoch` or `step` may be among those
    of a mapping. Without `epoch` and `step` each
    report that holds the search's objective counts as an epoch. A trial that is stopped gets
    SIGTERM, or with `on_stop="raise"` TrialStopped is raised here. In distributed training rank 0
    decides; the other ranks may report too, and are stopped at the same report. Outside a search
    this does nothing. Raises TypeError for a metric that is no number.
    """
    if not is_trial():
        return
    if on_stop not in ("terminate", "raise"):
        raise TypeError(
            f"hpsearch.report: on_stop must be terminate or raise, but got {on_stop!r}"
        )
    values = {name: _number(name, value) for name, value in {**(metrics or {}), **more}.items()}
    place = {"epoch": _count("epoch", epoch), "step": _count("step", step)}
    if epoch is None and step is None:
        place |= _place_among(values)
    message = {"rank": _rank(), "metrics": values, "on_stop": on_stop, **place}
    message |= {"has_runs": has_mlflow_runs()}
    with _lock:
        answer = _connection().ask(message)
    if answer["stop"]:
        finish_mlflow_runs()
        if on_stop == "terminate":
            _connection().wait_for_end()
        raise TrialStopped


def checkpoint_dir(default: str | Path = "checkpoints") -> Path:
    """Return the folder for the script's checkpoints, in which a restarted script finds them.

    The search keeps it for retries, pauses and its best trials, and deletes it with the trial's
    other files. Outside a search it is `default`.
    """
    folder = Path(os.environ.get(CHECKPOINT_DIR, default))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def has_mlflow_runs() -> bool:
    """Whether this thread has runs of MLflow open."""
    mlflow = sys.modules.get("mlflow")
    with suppress(Exception):  # it may be half imported
        return mlflow is not None and mlflow.active_run() is not None
    return False


def finish_mlflow_runs() -> None:
    """End the runs of MLflow that this thread has open, before what ends them as failed."""
    with suppress(Exception):  # its server may be gone
        while has_mlflow_runs():
            sys.modules["mlflow"].end_run()


class _Connection:
    """A process' own connection to its trial; what is forked opens another."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._socket = _connected(os.environ[SOCKET])

    def ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        self._socket.sendall(json.dumps(message).encode() + b"\n")
        line = b""  # by hand: a signal's handler may ask while this waits
        while not line.endswith(b"\n") and (byte := self._socket.recv(1)):
            line += byte
        # no answer: the trial's worker is gone, and whoever supervises this process will end it
        answer: dict[str, Any] = json.loads(line) if line else {"stop": True}
        return answer

    def wait_for_end(self) -> None:
        """Say, by an empty line, that this process may be ended, and wait for SIGTERM."""
        with suppress(OSError):  # the trial's worker is gone
            self._socket.sendall(b"\n")
            while self._socket.recv(1):
                pass


def _connected(place: str) -> socket.socket:
    if not place.startswith(TCP):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(place)
        return connection
    secret, _, address = place.removeprefix(TCP).rpartition("@")
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)))
    connection.sendall(secret.encode() + b"\n")
    return connection


# a handler of a signal may report while the script waits in a report
_lock = threading.RLock()
_current: _Connection | None = None


def _connection() -> _Connection:
    global _current
    if _current is None or _current.pid != os.getpid():
        _current = _Connection()
    return _current


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)  # another thread may hold it


def _number(name: str, value: Any) -> float:
    try:
        number = value.item() if hasattr(value, "item") else value  # of one element
        return float(number) if not isinstance(number, str | bytes) else _refuse(name, value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return _refuse(name, value)


def _refuse(name: str, value: Any) -> float:
    raise TypeError(f"hpsearch.report: {name} must be a number, but got {value!r}")


def _count(name: str, value: Any) -> int | None:
    if value is None:
        return None
    number = _number(name, value)
    if isinstance(value, bool) or not number.is_integer() or number < 0:
        raise TypeError(f"hpsearch.report: {name} must be a whole number >= 0, but got {value!r}")
    return int(number)


def _place_among(values: dict[str, float]) -> dict[str, int]:
    """Take the epoch and the step out of a mapping, where they are whole numbers."""
    names = [name for name in ("epoch", "step") if values.get(name, -1) >= 0]
    return {name: int(values.pop(name)) for name in names if values[name].is_integer()}


def _rank() -> int:
    """Return the rank of this process: torch.distributed's, or that which its launcher set."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_rank())
    return next((int(os.environ[name]) for name in RANK_VARIABLES if os.environ.get(name)), 0)
