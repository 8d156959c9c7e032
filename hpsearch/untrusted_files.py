"""Files below a folder that users' code may write to, opened by a process that trusts none of it.

In its search's folder a trial may put a link to a file that only this process may read, a FIFO
that nobody writes to, a device, or a file of any size. So no link is followed on the way, only
regular files are opened, nothing waits, and who reads says how much.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from hpsearch.errors import UnsafeFileError

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
#: folders in each other that are walked
MAX_DEPTH = 100
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_regular(root: Path, *parts: str) -> BinaryIO:
    """Open a regular file below a trusted folder for reading.

    Raises FileNotFoundError where there is none, UnsafeFileError where it is something else.
    """
    return os.fdopen(_open_file(root, parts, _READ), "rb")


def read_end(root: Path, *parts: str, num_bytes: int) -> tuple[bytes, bool]:
    """Return the last bytes of a file, and whether that is all of it; raises as open_regular."""
    with open_regular(root, *parts) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - num_bytes))
        return file.read(num_bytes), size <= num_bytes


def file_status(root: Path, *parts: str) -> os.stat_result | None:
    """Return the status of a regular file below a trusted folder; None where there is none."""
    try:
        with open_regular(root, *parts) as file:
            return os.fstat(file.fileno())
    except (FileNotFoundError, UnsafeFileError):
        return None


def regular_files(root: Path, *parts: str) -> Iterator[tuple[str, ...]]:
    """Yield the regular files below a folder, as paths from it; links and the like are left out.

    Raises FileNotFoundError where there is no such folder, UnsafeFileError for a link on the way,
    or for folders nested deeper than MAX_DEPTH.
    """
    if len(parts) > MAX_DEPTH:
        raise UnsafeFileError(f"{'/'.join(parts)}: must be nested at most {MAX_DEPTH} deep")
    with _parent(root, (*parts, "any")) as folder, os.scandir(folder) as entries:
        found = sorted((entry.name, entry.stat(follow_symlinks=False)) for entry in entries)
    for name, status in found:
        if stat.S_ISREG(status.st_mode):
            yield (name,)
        elif stat.S_ISDIR(status.st_mode):
            for below in regular_files(root, *parts, name):
                yield (name, *below)


def create_empty(root: Path, *parts: str) -> None:
    """Create an empty file where there is nothing; what is there stays as it is."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with _parent(root, parts) as folder, suppress(FileExistsError):
        os.close(os.open(parts[-1], flags, 0o644, dir_fd=folder))


def create_file(root: Path, *parts: str, content: bytes) -> None:
    """Create a file of a new name with its content, whole or not at all.

    Its folder is made if it isn't there, for the owner of that above. Raises FileNotFoundError
    where that is missing, UnsafeFileError for a link on the way.
    """
    with _parent(root, parts[:-1]) as above, suppress(FileExistsError):
        os.mkdir(parts[-2], 0o755, dir_fd=above)
        owner = os.fstat(above)
        with suppress(PermissionError):  # only root can, and only for it are they two
            os.chown(parts[-2], owner.st_uid, owner.st_gid, dir_fd=above, follow_symlinks=False)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    draft = f".{secrets.token_hex(8)}"
    with _parent(root, parts) as folder:
        with os.fdopen(os.open(draft, flags, 0o644, dir_fd=folder), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(draft, parts[-1], src_dir_fd=folder, dst_dir_fd=folder)


def remove_below(root: Path, *parts: str) -> None:
    """Remove a file, a link or a folder below a trusted folder.

    Raises FileNotFoundError where there is none, OSError, UnsafeFileError for a link on the way.
    """
    with _parent(root, parts) as folder:
        status = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            _empty(parts[-1], folder)
            os.rmdir(parts[-1], dir_fd=folder)
        else:
            os.unlink(parts[-1], dir_fd=folder)


def _empty(name: str, folder: int) -> None:
    """Remove all in a folder. It may be nested deeper than there are handles or calls, so each
    folder in it is brought to the top before it is emptied."""
    top = os.open(name, _FOLDER, dir_fd=folder)
    try:
        prefix, waiting, number = secrets.token_hex(8), _folders_left(top), 0
        while waiting:
            below, number = waiting.pop(), number + 1
            waiting += _emptied(below, top, f"{prefix}-{number}")
            os.rmdir(below, dir_fd=top)
    finally:
        os.close(top)


def _emptied(name: str, top: int, prefix: str) -> list[str]:
    """Empty a folder below `top`; returns the names there of those that were in it."""
    handle, brought = os.open(name, _FOLDER, dir_fd=top), []
    try:
        for number, below in enumerate(_folders_left(handle)):
            brought.append(f"{prefix}-{number}")
            os.rename(below, brought[-1], src_dir_fd=handle, dst_dir_fd=top)
    finally:
        os.close(handle)
    return brought


def _folders_left(handle: int) -> list[str]:
    """Remove all but the folders in a folder; returns their names."""
    with os.scandir(handle) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in found:
        if not is_folder:
            os.unlink(name, dir_fd=handle)
    return [name for name, is_folder in found if is_folder]


@contextmanager
def locked(root: Path, *parts: str) -> Iterator[bool]:
    """Hold a lock file, if it is there and free; yields False where another process has it."""
    try:
        # Over NFS only a file that was opened for writing can be locked.
        descriptor = _open_file(root, parts, _READ | os.O_RDWR)
    except (FileNotFoundError, UnsafeFileError):
        yield True
        return
    try:
        yield _lock(descriptor)
    finally:
        os.close(descriptor)  # and so the lock is gone


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _open_file(root: Path, parts: tuple[str, ...], flags: int) -> int:
    place = "/".join(parts)
    with _parent(root, parts) as folder:
        try:
            # Looked at first: to open a device may do something already.
            before = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False)
            _check_regular(before, place)
            descriptor = os.open(parts[-1], flags, dir_fd=folder)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise UnsafeFileError(f"{place}: can't be read: {error.strerror}") from error
    try:
        _check_regular(os.fstat(descriptor), place)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(status: os.stat_result, place: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnsafeFileError(f"{place}: must be a regular file, no link or device")


@contextmanager
def _parent(root: Path, parts: tuple[str, ...]) -> Iterator[int]:
    """Yield a handle of the folder that holds the last part."""
    if not parts or any(part in ("", ".", "..") or "/" in part or "\0" in part for part in parts):
        raise UnsafeFileError(f"{'/'.join(parts)!r}: must be a path inside the folder")
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            below = _open_folder(part, handle, parts)
            os.close(handle)
            handle = below
        yield handle
    finally:
        os.close(handle)


def _open_folder(name: str, handle: int, parts: tuple[str, ...]) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=handle)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            rule = f"{name} must be a folder, no link"
        elif isinstance(error, FileNotFoundError):
            raise
        else:
            rule = f"{name} can't be opened: {error.strerror}"
        raise UnsafeFileError(f"{'/'.join(parts)}: {rule}") from error
