"""The environment of a command: that of the process which starts it, and what a trial adds."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from hpsearch.reporting import RANK_VARIABLES
from hpsearch.spec import TrialConfig


def added_variables(
    config: TrialConfig, own: Mapping[str, str], source: Mapping[str, str]
) -> dict[str, str]:
    """Return what a trial adds: `own` is what its spec says, `source` what its metrics need."""
    paths = [source.get("PYTHONPATH", ""), own.get("PYTHONPATH", "")]
    return {
        "PYTHONUNBUFFERED": "1",  # lines are read as they come
        "OMP_NUM_THREADS": str(max(1, config.cpu // config.processes)),
        **source,
        **own,
        "PYTHONPATH": _joined(*paths),
    }


def complete_environment(added: Mapping[str, str]) -> dict[str, str]:
    """Return this process' environment with a trial's variables, and the same Python in it."""
    # a worker that Slurm or MPI started has a rank of its own
    inherited = {key: os.environ[key] for key in os.environ if key not in RANK_VARIABLES}
    path = _joined(added.get("PYTHONPATH", ""), inherited.get("PYTHONPATH", ""))
    return {**inherited, "PATH": command_path(), **added, "PYTHONPATH": path}


def command_path() -> str:
    """Return where commands are looked for: beside this Python first, as in its environment."""
    return _joined(str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))


def _joined(*paths: str) -> str:
    return os.pathsep.join(filter(None, paths))
