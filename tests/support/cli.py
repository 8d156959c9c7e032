"""The command line as a process, and specs for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SPEC = """
name: tiny
objective: {metric: val_accuracy}
dataset: wine
model: {name: mlp, hidden_sizes: [16], dropout: {low: 0.0, high: 0.5}}
optimizer: {name: adam, lr: {low: 1e-3, high: 1e-1, log: true}}
batch_size: 32
search: {trials: 4, max_concurrent: 1, early_stopping: {max_epochs: 3}}
"""
FIVE_MISTAKES = """
name: five
objective: {metric: val_acuracy}
dataset: wine
model: {name: mpl}
optimizer: {name: sgd, lr: {low: 1.0, high: 0.1}, momentun: 0.9}
batch_size: 100000
serach: {trials: 4}
"""


def hpsearch(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hpsearch.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
