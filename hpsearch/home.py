"""A home for users that have none: a container may run as any uid, also one that the system's
list of users doesn't have, and without a folder of its own.
"""

from __future__ import annotations

import os
import pwd
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from hpsearch.errors import RunsError

#: where Python and libraries look for the user's name
_USER_NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")


def home_settings() -> dict[str, str]:
    """Return what the environment lacks of a home and a user's name, without which libraries
    can't even be imported; nothing for a usual user."""
    settings = {}
    user = _user()
    if not os.environ.get("HOME"):
        home = user.pw_dir if user is not None else ""
        settings["HOME"] = home if home and is_writable(home) else str(private_folder())
    if user is None and not any(map(os.environ.get, _USER_NAMES)):
        settings["LOGNAME"] = f"uid{os.getuid()}"
    return settings


def private_folder() -> Path:
    """Return a folder that this user alone can read, below the one for temporary files.

    Raises RunsError where there can't be one.
    """
    advice = "set HOME or TMPDIR to a writable folder"
    try:
        folder = Path(tempfile.gettempdir()) / f"hpsearch-{os.getuid()}"
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
    except OSError as error:
        place = error.filename or "a folder for temporary files"
        raise RunsError(f"{place}: can't be created: {error.strerror}; {advice}") from error
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if not is_ours or stat.S_IMODE(found.st_mode) & 0o077:
        raise RunsError(f"{folder}: must be a private folder of this user; {advice}")
    return folder


def is_writable(folder: str | Path) -> bool:
    """Whether a folder is there and files can be made in it."""
    return Path(folder).is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(os.getuid())
    except KeyError:
        return None
