"""A user's shell, with a home of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.breaking import TRAIN
from tests.support.cli import FIVE_MISTAKES

SPEC = """
name: team
objective: {metric: score}
trainable: train.py:train
space: {x: {low: 0.0, high: 1.0}}
search: {trials: 2, max_concurrent: 1, early_stopping: {name: none, max_epochs: 3}}
"""


class Shell:
    """A user's machine: a home of their own, and a folder to work in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "code").mkdir(parents=True)
        (folder / "code" / "train.py").write_text(TRAIN)
        (folder / "code" / "team.yaml").write_text(SPEC)
        (folder / "five.yaml").write_text(FIVE_MISTAKES)
        self.environment = os.environ | {"XDG_CONFIG_HOME": str(folder / "config")}

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run a command of hpsearch; returns what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "hpsearch.cli", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr
