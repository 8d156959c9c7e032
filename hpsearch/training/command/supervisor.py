"""Runs a trial's command and ends all of its processes.

    python -I -S supervisor.py FD GRACE COMMAND...

A program of its own, so that nothing is left when the worker dies in whatever way. It forks itself
first: Ray's workers kill their children as they exit, and it must outlive them. It ends the
command's whole tree when a line or the end of file comes on standard input, which the worker
holds: SIGTERM, then SIGKILL after GRACE seconds. Processes that outlive the command are ended too.
It is the subreaper of the tree: processes that detach themselves (double fork, setsid) stay its
descendants. It writes to the descriptor FD one line of JSON: {"exit_code": …} or {"error": …}.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
POLL_S = 0.01


def main() -> None:
    if os.fork():
        os._exit(0)
    status, grace, command = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _ignore)  # not SIG_IGN, which the command would inherit
    wakeup = _wake_on_child()
    _prctl(_SET_CHILD_SUBREAPER, 1)
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=lambda: _prctl(_SET_PDEATHSIG, signal.SIGKILL),
        )
    except OSError as error:
        _say(status, {"error": f"{command[0]}: {error.strerror}"})
        return
    _let_go_of_output()
    exit_code = _wait(child, wakeup)
    _end_tree(child.pid, grace)
    _say(status, {"exit_code": exit_code})


def _ignore(number: int, frame: object) -> None:
    """Handle a signal by nothing."""


def _wake_on_child() -> int:
    """Return a descriptor that is readable once a child has ended."""
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.signal(signal.SIGCHLD, _ignore)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    return readable


def _wait(child: subprocess.Popen[bytes], wakeup: int) -> int | None:
    """Wait until the command has ended, or is to end; returns its exit code, None if it is to."""
    while (exit_code := child.poll()) is None:
        readable, _, _ = select.select([0, wakeup], [], [])
        if wakeup in readable:
            os.read(wakeup, 4096)
        elif 0 in readable:
            return None
    return exit_code


def _let_go_of_output() -> None:
    """Leave the pipes to the command, so that their end of file is the tree's."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nothing, stream)


def _end_tree(group: int, grace: float) -> None:
    deadline = time.monotonic() + grace
    _signal_all(group, signal.SIGTERM)
    while _reap_and_find(group):
        if time.monotonic() > deadline:
            _signal_all(group, signal.SIGKILL)
        time.sleep(POLL_S)


def _signal_all(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
    for pid in _descendants(group):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _reap_and_find(group: int) -> list[int]:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return _descendants(group)


def _descendants(group: int) -> list[int]:
    """Return the processes below this one, the group where the system has no /proc."""
    if not Path("/proc/self/stat").exists():
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, 0)
            return [group]
        return []
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError, ValueError):
                # "pid (name) state ppid …", and the name may hold spaces and parentheses
                fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry))
    found, waiting = [], list(children.get(os.getpid(), ()))
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, ())
    return found


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _say(status: int, what: dict[str, object]) -> None:
    with suppress(OSError):  # the worker is gone
        os.write(status, json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    main()
