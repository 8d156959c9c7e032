"""Validation imports no more than it needs: each of these packages costs about a second."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SPECS = Path(__file__).parents[2] / "search_spaces"
PROGRAM = """
import sys
from hpsearch.validation import load_checked_spec
for path in sys.argv[1:]:
    load_checked_spec(path)
slow = {"mlflow", "pandas", "ray", "scipy.stats", "sklearn", "torch._dynamo"}
print(*sorted(slow & sys.modules.keys()))
"""


def test_validation_of_built_in_data_sets_imports_nothing_slow() -> None:
    names = ("digits_mlp", "wine_mlp", "full_batch", "diabetes_losses")
    paths = [str(SPECS / f"{name}.yaml") for name in names]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *paths], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
