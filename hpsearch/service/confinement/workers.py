"""As whom users' code runs on this machine: another user where the service is root."""

from __future__ import annotations

import os
import pwd
import site
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpsearch.errors import ServiceError

_PROGRAMS = Path(__file__).parent
#: the user that has nothing of its own on every system
DEFAULT_USER = "nobody"
PROBE_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class WorkerUser:
    """The user that users' code runs as; None where that is the service's own."""

    uid: int | None = None
    gid: int | None = None
    name: str | None = None

    @classmethod
    def of(cls, name: str | None) -> WorkerUser:
        """Return the user of a name or number; by default another one, if the service is root.

        Raises ServiceError for an unknown user, and where only root could become one.
        """
        if name is None and os.getuid() != 0:
            return cls()
        try:
            wanted = name or DEFAULT_USER
            known = pwd.getpwuid(int(wanted)) if wanted.isdecimal() else pwd.getpwnam(wanted)
        except (KeyError, OverflowError) as error:
            raise ServiceError(
                f"--worker-user: must be a user of this machine, but got {name!r}"
            ) from error
        if known.pw_uid == os.getuid():
            return cls()
        if os.getuid() != 0:
            rule = "only root can run users' code as another user"
            raise ServiceError(f"--worker-user: {rule}, but got {name!r}")
        return cls(known.pw_uid, known.pw_gid, known.pw_name)

    @property
    def is_apart(self) -> bool:
        """Whether it is another user than the service's."""
        return self.uid is not None

    def give(self, *paths: Path) -> None:
        """Give files or folders to the user."""
        if self.uid is not None and self.gid is not None:
            for path in paths:
                os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def give_all(self, folder: Path) -> None:
        """Give a folder and all in it to the user, unless it has been given already."""
        if self.uid is None or folder.stat().st_uid == self.uid:
            return
        for _, folders, files, handle in os.fwalk(folder, topdown=False):
            for name in (*folders, *files):
                os.chown(name, self.uid, self.gid or 0, dir_fd=handle, follow_symlinks=False)
        self.give(folder)

    def command(
        self, command: Sequence[str], needs: Iterable[Path] = (), limited: bool = False
    ) -> list[str]:
        """Return the command that runs another as the user, who can read the interpreter, its
        packages and what else it `needs`."""
        options = ["--limited"] if limited else []
        if self.uid is not None:
            options += ["--uid", str(self.uid), "--gid", str(self.gid)]
            for path in (*_interpreter(), *needs):
                options += ["--needs", str(path)]
        program = [sys.executable, "-I", "-S", str(_PROGRAMS / "confine.py"), *options]
        return [*program, "--", *command] if options else list(command)

    def check(self, needs: Iterable[Path]) -> None:
        """Raise ServiceError where the user can't run Python and read what it needs."""
        if not self.is_apart:
            return
        needed = [str(path) for path in needs]
        test = "import hpsearch, os, sys; [os.listdir(path) for path in sys.argv[1:]]"
        command = self.command([sys.executable, "-c", test, *needed], map(Path, needed))
        done = subprocess.run(
            command, cwd="/", capture_output=True, text=True, timeout=PROBE_TIMEOUT_S
        )
        if done.returncode != 0:
            why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ServiceError(
                f"users' code can't run as the user {self.name}: {why}. Install Python where that "
                "user can read it, name another by --worker-user, or pass --worker-user root, "
                "which gives users' code all rights of the service"
            )


def supervised(command: Sequence[str], wanted: int) -> list[str]:
    """Return the command that runs another for as long as a pipe's other end is open."""
    program = [sys.executable, "-I", "-S", str(_PROGRAMS / "supervise.py"), str(wanted)]
    return [*program, *command]


def _interpreter() -> list[Path]:
    """Return the folders from which this interpreter takes what it imports."""
    package = Path(__file__).parents[2]
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    places = (sys.prefix, sys.base_prefix, *site.getsitepackages(), *filter(None, named))
    folders = [package, *map(Path, places)]
    both = dict.fromkeys([*(path.absolute() for path in folders), *(p.resolve() for p in folders)])
    return [folder for folder in both if folder.is_dir()]
