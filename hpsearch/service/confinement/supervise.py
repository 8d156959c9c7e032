"""Run a command until it ends or is no longer wanted, and then end all that came of it.

`supervise.py DESCRIPTOR COMMAND…`: the descriptor is a pipe's; when its other end is closed, by
whoever doesn't want the command any more or by their death, the command is killed. Whatever it
started ends with it, however far away it went: on Linux, orphans become this process's children.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time

_PR_SET_CHILD_SUBREAPER = 36
#: seconds for which processes that keep starting others are killed again and again
_PATIENCE_S = 10.0


def main() -> None:
    """Do what the command line says; ends with the command's status."""
    wanted, *command = sys.argv[1:]
    with contextlib.suppress(OSError, AttributeError):  # not on Linux
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    process = subprocess.Popen(command, start_new_session=True)
    handle = os.pidfd_open(process.pid)
    select.select([int(wanted), handle], [], [])
    status = process.poll()
    kill_descendants()
    raise SystemExit(1 if status is None else status & 0xFF)


def kill_descendants() -> None:
    """Kill the processes below this one; stopped first, so that none escapes by a child."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        found = _descendants()
        if not found:
            return
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.005)


def _descendants() -> list[int]:
    """Return the processes below this one that haven't ended."""
    children: dict[int, list[int]] = {}
    ended = set()
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with contextlib.suppress(OSError), open(f"/proc/{entry.name}/stat") as file:
                state, parent = file.read().rpartition(")")[2].split()[:2]
                children.setdefault(int(parent), []).append(int(entry.name))
                if state == "Z":
                    ended.add(int(entry.name))
    found, waiting = [], [os.getpid()]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return [pid for pid in found if pid not in ended]


if __name__ == "__main__":
    main()
