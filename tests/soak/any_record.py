"""More records by chance than the default run has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.chance_records import is_read


@pytest.mark.parametrize("seed", range(8, 800))
def test_it_is_read(seed: int, tmp_path: Path) -> None:
    is_read(seed, tmp_path)
