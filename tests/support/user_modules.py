"""A module of the user's in a folder, as a spec names it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def user_module(folder: Path, name: str, code: str) -> Iterator[None]:
    """Have a module of a user's in a folder, and forget it afterwards."""
    (folder / f"{name}.py").write_text(code)
    path = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = path
        sys.modules.pop(name, None)
