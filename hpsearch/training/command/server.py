"""The socket at which the processes of a trial report (`hpsearch.report`)."""

from __future__ import annotations

import hmac
import json
import secrets
import selectors
import shutil
import socket
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hpsearch.errors import UserCodeError
from hpsearch.reporting import TCP
from hpsearch.training.command.addresses import family_of
from hpsearch.training.command.epochs import ScriptReport

#: called with a report of rank 0; returns whether it must wait for a decision
OnReport = Callable[[ScriptReport], bool]
_STOP, _CONTINUE = b'{"stop": true}\n', b'{"stop": false}\n'
_CHUNK = 1 << 16
_SECRET_BYTES = 32
#: characters of the folder for temporary files: a socket's path has at most 107, on macOS 103
MAX_FOLDER = 70
#: the epoch and the step of a report
_Place = tuple[int | None, int | None]
_NOWHERE: _Place = (None, None)
#: seconds that a rank waits for rank 0 before it is said, and before it is an error, as it is for
#: torch.distributed by default
TELL_AFTER_S, WAIT_AT_MOST_S = 60.0, 1800.0


@dataclass(eq=False)
class _Client:
    socket: socket.socket
    is_trusted: bool = True
    received: bytes = b""
    rank: int = 0
    raises: bool = False
    has_runs: bool = False  # of MLflow
    asked_at: float = 0.0
    is_told: bool = False


class ReportServer:
    """Takes the reports of a trial's processes and holds those that wait for a decision.

    Ranks other than 0 only say where they are. Those that ask to be stopped by an exception wait
    for the decision on rank 0's report, so that all are stopped at the same one. With `address`,
    one of this machine's, ranks of other nodes connect by TCP, and show the trial's secret first.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        on_report: OnReport,
        address: str | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._selector = selector
        self._on_report = on_report
        self._now = now
        self._folder = _short_folder()
        self.path = self._folder / "report"
        local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        local.bind(str(self.path))
        local.listen()
        self._sockets = [local]
        self._secret = secrets.token_hex(_SECRET_BYTES)
        #: where other nodes report, as `hpsearch.report` reads it
        self.remote = ""
        if address is not None:
            self._sockets.append(socket.create_server((address, 0), family=family_of(address)))
            port = self._sockets[-1].getsockname()[1]
            self.remote = f"{TCP}{self._secret}@{address}:{port}"
        self._clients: set[_Client] = set()
        self._waiting: list[_Client] = []
        #: by rank, the epochs or steps that it reported, in order
        self._places: defaultdict[int, list[_Place]] = defaultdict(list)
        self._num_released = 0  # reports of rank 0 that were answered
        self._stops = False
        self._ending: list[_Client] = []
        for each in self._sockets:
            selector.register(each, selectors.EVENT_READ, partial(self._accept, each))

    def release(self) -> None:
        """Let all that wait continue."""
        self._num_released = len(self._places[0])
        waiting, self._waiting = self._waiting, []
        for client in waiting:
            if client.rank == 0 or self._is_decided(client.rank):
                self._answer(client, _CONTINUE)
            else:
                self._waiting.append(client)

    def check_waiting(self) -> None:
        """Say which rank waits for a report of rank 0; raises UserCodeError where it was long."""
        num_reports = len(self._places[0])
        for client in self._waiting:
            number = len(self._places[client.rank])
            waited = self._now() - client.asked_at
            if number <= num_reports or waited < TELL_AFTER_S:
                continue
            rule = "all ranks must report where one asks for on_stop='raise'"
            problem = f"rank {client.rank} waits in report {number} for rank 0"
            if waited >= WAIT_AT_MOST_S:
                raise UserCodeError(f"{problem}, for {WAIT_AT_MOST_S / 60:.0f} min; {rule}")
            if not client.is_told:
                client.is_told = True
                print(f"hpsearch: {problem}; {rule}", file=sys.stderr, flush=True)

    def stop(self) -> None:
        """Raise TrialStopped where reports wait that ask for it, and have runs of MLflow ended."""
        self._stops = True
        self._ending = [client for client in self._waiting if client.raises or client.has_runs]
        for client in self._ending:
            self._answer(client, _STOP)

    @property
    def is_ending(self) -> bool:
        """Whether a process is about to end what it has open, before it gets SIGTERM."""
        return any(client.raises or client.has_runs for client in self._ending)

    @property
    def ranks(self) -> set[int]:
        """Those that have reported."""
        return {rank for rank, places in self._places.items() if places}

    def close(self) -> None:
        """Close the socket and remove it."""
        for client in list(self._clients):
            self._drop(client)
        for each in self._sockets:
            self._selector.unregister(each)
            each.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _accept(self, listening: socket.socket) -> None:
        accepted = listening.accept()[0]
        client = _Client(accepted, is_trusted=accepted.family == socket.AF_UNIX)
        self._clients.add(client)
        self._selector.register(client.socket, selectors.EVENT_READ, partial(self._read, client))

    def _read(self, client: _Client) -> None:
        try:
            chunk = client.socket.recv(_CHUNK)
        except ConnectionError:
            chunk = b""
        if not chunk:
            self._drop(client)
            return
        *lines, client.received = (client.received + chunk).split(b"\n")
        if not client.is_trusted and not self._is_secret(lines, client):
            return
        for line in lines:
            if line:
                self._take(client, json.loads(line))
            else:  # it has ended its runs
                client.has_runs = False

    def _is_secret(self, lines: list[bytes], client: _Client) -> bool:
        """Take a remote connection's first line; drop the connection if it isn't the secret."""
        first = lines.pop(0) if lines else None
        client.is_trusted = first is not None and hmac.compare_digest(first, self._secret.encode())
        is_awaited = first is None and len(client.received) <= 2 * _SECRET_BYTES
        if not client.is_trusted and not is_awaited:
            self._drop(client)
        return client.is_trusted

    def _take(self, client: _Client, message: dict[str, Any]) -> None:
        client.rank, client.raises = message["rank"], message["on_stop"] == "raise"
        client.has_runs = message["has_runs"]
        client.asked_at, client.is_told = self._now(), False
        place = (message["epoch"], message["step"])
        if self._stops:
            self._answer(client, _STOP if client.raises else _CONTINUE)
            return
        places = self._places[client.rank]
        if place == _NOWHERE or place not in places[-1:]:  # an epoch may be reported in parts
            places.append(place)
        self._compare_ranks(client.rank)
        if client.rank != 0:
            waits = client.raises and not self._is_decided(client.rank)
            self._waiting.append(client) if waits else self._answer(client, _CONTINUE)
        elif self._on_report(ScriptReport(message["metrics"], *place)):
            self._waiting.append(client)
        else:
            self._answer(client, _CONTINUE)

    def _compare_ranks(self, rank: int) -> None:
        """Raise where the newest report of a rank is of another epoch than rank 0's like it."""
        first = self._places[0]
        for other in list(self._places) if rank == 0 else [rank]:
            places = self._places[other]
            i = min(len(first), len(places)) - 1
            if i >= 0 and first[i] != places[i]:
                where = f"{_said(places[i])} where rank 0 reports {_said(first[i])}"
                raise UserCodeError(
                    f"report {i + 1} of rank {other}: {where}; all ranks must report the same"
                )

    def _is_decided(self, rank: int) -> bool:
        return len(self._places[rank]) <= self._num_released

    def _answer(self, client: _Client, answer: bytes) -> None:
        with suppress(OSError):  # the process has ended
            client.socket.sendall(answer)

    def _drop(self, client: _Client) -> None:
        client.has_runs = False
        self._clients.discard(client)
        self._waiting = [each for each in self._waiting if each is not client]
        self._selector.unregister(client.socket)
        client.socket.close()


def _short_folder() -> Path:
    """Return a new folder for the socket, whose path must be short."""
    is_long = len(tempfile.gettempdir()) > MAX_FOLDER
    return Path(tempfile.mkdtemp(prefix="hpsearch-", dir="/tmp" if is_long else None))


def _said(place: _Place) -> str:
    named = [
        f"{name} {at}" for name, at in zip(("epoch", "step"), place, strict=True) if at is not None
    ]
    return " and ".join(named) or "no epoch"
