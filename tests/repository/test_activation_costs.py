"""The table of what activations cost, and the measurement that it is of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.activations import Ratio, alone_of, costs, step_of
from hpsearch import registry

TEXT = (Path(__file__).parents[2] / "docs" / "techniques.md").read_text()


def test_the_table_has_all_activations() -> None:
    """From the cheapest to the dearest."""
    section = TEXT.partition("## What activations cost")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) \(([\d.]+) to ([\d.]+)\)", section, re.M)
    assert sorted(name for name, *_ in rows) == sorted(registry.names("activation"))
    medians = [float(median) for _, median, *_ in rows]
    assert medians == sorted(medians)


@pytest.mark.parametrize("of", [alone_of, step_of])
def test_costs_are_ratios_to_relu(of: object) -> None:
    found = costs(of, (128, 128), rounds=5, passes=5)  # type: ignore[arg-type]
    assert found.keys() == set(registry.names("activation"))
    assert found["relu"] == Ratio(1.0, 1.0, 1.0)
    assert all(each.low <= each.median <= each.high for each in found.values())
    assert found["mish"].median > 1.1  # by itself about ten times
