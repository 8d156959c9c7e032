"""The socket of a trial: who waits at it, and for how long."""

from __future__ import annotations

import json
import selectors
import socket
from collections.abc import Iterator

import pytest

from hpsearch.errors import UserCodeError
from hpsearch.training.command.server import TELL_AFTER_S, WAIT_AT_MOST_S, ReportServer


class Trial:
    """A server whose time a test sets, and a rank's connection to it."""

    def __init__(self) -> None:
        self.time = 0.0
        self.selector = selectors.DefaultSelector()
        self.server = ReportServer(self.selector, lambda _: True, now=lambda: self.time)
        self.connections: list[socket.socket] = []

    def report(self, rank: int) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(str(self.server.path))
        self.connections.append(connection)
        message = {"rank": rank, "epoch": 1, "step": None, "metrics": {}}
        message |= {"on_stop": "raise", "has_runs": False}
        connection.sendall(json.dumps(message).encode() + b"\n")
        for _ in range(2):  # the connection, and what it sends
            for key, _ in self.selector.select(5):
                key.data()
        return connection

    def close(self) -> None:
        self.server.close()
        self.selector.close()
        for connection in self.connections:
            connection.close()


@pytest.fixture
def trial() -> Iterator[Trial]:
    trial = Trial()
    yield trial
    trial.close()


def test_a_rank_that_waits_for_a_silent_rank_0_is_told_and_then_an_error(
    trial: Trial, capsys: pytest.CaptureFixture[str]
) -> None:
    trial.report(rank=1)
    trial.time = TELL_AFTER_S - 1
    trial.server.check_waiting()
    assert capsys.readouterr().err == ""
    trial.time = TELL_AFTER_S
    for _ in range(2):  # it is said once
        trial.server.check_waiting()
    rule = "all ranks must report where one asks for on_stop='raise'"
    assert capsys.readouterr().err == f"hpsearch: rank 1 waits in report 1 for rank 0; {rule}\n"
    trial.time = WAIT_AT_MOST_S
    with pytest.raises(UserCodeError, match=r"report 1 for rank 0, for 30 min; all ranks must"):
        trial.server.check_waiting()


def test_ranks_may_wait_for_a_decision_as_long_as_it_takes(trial: Trial) -> None:
    connections = [trial.report(rank) for rank in (1, 0)]
    trial.time = 2 * WAIT_AT_MOST_S
    trial.server.check_waiting()
    trial.server.release()
    assert [connection.recv(100) for connection in connections] == [b'{"stop": false}\n'] * 2
