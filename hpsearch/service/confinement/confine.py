"""Become another user, and then another program: `confine.py OPTIONS -- COMMAND`.

What the user needs may lie below folders that only root may enter, such as root's home. This
process then sees these folders through others in their place, which hold nothing but what is
needed. That takes a mount namespace of its own, and so root's rights, which it then drops.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import resource
import signal
import stat
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_CLONE_NEWNS = 0x00020000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
#: how many processes there may be: in all, and in this container
_MAX_PROCESSES = (
    "/proc/sys/kernel/threads-max",
    "/proc/sys/kernel/pid_max",
    "/sys/fs/cgroup/pids.max",
    "/sys/fs/cgroup/pids/pids.max",
)
#: bytes of a file that is written
_MAX_FILE = 1 << 30


def main() -> None:
    """Do what the command line says; ends with status 126 where that is impossible."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--uid", type=int)
    parser.add_argument("--gid", type=int)
    parser.add_argument("--needs", action="append", default=[], type=Path)
    parser.add_argument("--limited", action="store_true", help="killed first when memory is short")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    try:
        if options.uid is not None:
            _open_ways(options.needs, options.uid, options.gid)
            _leave_processes()
            os.setgroups([])
            os.setresgid(options.gid, options.gid, options.gid)
            os.setresuid(options.uid, options.uid, options.uid)
            _end_with_parent()
        if options.limited:
            _limit()
        os.execvp(options.command[0], options.command)
    except OSError as error:
        print(f"can't be run as the user {options.uid}: {error}", file=sys.stderr)
        raise SystemExit(126) from error


def _leave_processes() -> None:
    """Leave others half of the processes and threads that there may be."""
    found = [number for path in _MAX_PROCESSES if (number := _number(Path(path))) is not None]
    limits = [number // 2 for number in found]
    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    if hard != resource.RLIM_INFINITY:
        limits.append(hard)
    if limits:
        resource.setrlimit(resource.RLIMIT_NPROC, (min(limits), min(limits)))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # not on Linux, or "max"
        return None


def _end_with_parent() -> None:
    """Ask for SIGTERM when the parent dies: what it had asked for goes with its user."""
    with contextlib.suppress(AttributeError):  # not on Linux
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def closed_folders(needs: Iterable[Path], uid: int, gid: int) -> dict[Path, list[Path]]:
    """Return the outermost folders that a user may not enter, with what it needs below each."""
    found: dict[Path, list[Path]] = {}
    for path in needs:
        for folder in reversed(path.parents):
            if not _may_enter(folder, uid, gid):
                found.setdefault(folder, []).append(path)
                break
    return found


def _may_enter(folder: Path, uid: int, gid: int) -> bool:
    status = folder.stat()
    if status.st_uid == uid:
        return bool(status.st_mode & stat.S_IXUSR)
    return bool(status.st_mode & (stat.S_IXGRP if status.st_gid == gid else stat.S_IXOTH))


def _open_ways(needs: Sequence[Path], uid: int, gid: int) -> None:
    closed = closed_folders(needs, uid, gid)
    if not closed:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.unshare(_CLONE_NEWNS), "a mount namespace")
    _mount(libc, None, Path("/"), None, _MS_REC | _MS_PRIVATE)
    for folder, paths in closed.items():
        handles = [os.open(path, os.O_PATH | os.O_CLOEXEC) for path in paths]
        _mount(libc, "tmpfs", folder, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755,size=1m")
        for path, handle in zip(paths, handles, strict=True):
            _make_place(path, os.fstat(handle))
            _mount(libc, f"/proc/self/fd/{handle}", path, None, _MS_BIND | _MS_REC)
            os.close(handle)


def _make_place(path: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        path.mkdir(parents=True, exist_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _mount(
    libc: ctypes.CDLL,
    source: str | None,
    target: Path,
    kind: str | None,
    flags: int,
    data: str | None = None,
) -> None:
    texts = [None if text is None else text.encode() for text in (source, str(target), kind)]
    options = None if data is None else data.encode()
    _check(libc.mount(*texts, ctypes.c_ulong(flags), options), f"a mount at {target}")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _limit() -> None:
    """Leave other processes their time, and be the one that ends where memory does."""
    os.nice(10)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_FILE, _MAX_FILE))
    with contextlib.suppress(OSError):  # not on Linux, or not allowed
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    main()
