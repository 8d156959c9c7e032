"""The cluster of `deploy/` on this machine, and what is submitted to it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from deploy.checks.commands import DEPLOY

SPEC = """
name: {name}
objective: {{metric: score}}
trainable: train.py:train
space: {{x: {{low: 0.0, high: 1.0}}}}
search: {{trials: {trials}, max_concurrent: 1, checkpoint_every: 2,
          early_stopping: {{max_epochs: 9}}}}
"""


def local_cluster(*arguments: str | Path) -> str:
    """Call deploy/local-cluster; returns what it prints."""
    command = [sys.executable, str(DEPLOY / "local-cluster"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def first_token(folder: Path) -> tuple[str, str]:
    """Return where the service of a cluster is, and its admin's token."""
    found = re.search(r"^service +(\S+)", local_cluster("up", folder), re.M)
    assert found is not None
    return found[1], (folder / "secrets" / "admin_token").read_text().strip()
