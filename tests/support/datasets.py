"""Small data sets, and how tests load them."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from hpsearch.components import Arrays, Data, load_data


def load(name: str, folder: Path | str = ".", seed: int = 0, **keywords: Any) -> Data:
    return load_data({"name": name, **keywords}, seed=seed, folder=folder)


def arrays(split: Any) -> Arrays:
    assert isinstance(split, Arrays)
    return split


def user_factory(folder: Path, body: str) -> str:
    """Write a module with a factory `make` of the given body; returns its name in a spec."""
    name = f"user_data_{uuid.uuid4().hex}"  # a module's name is taken for the whole process
    (folder / f"{name}.py").write_text(f"import numpy as np, torch\n\n\ndef make():\n    {body}\n")
    return f"{name}.py:make"
