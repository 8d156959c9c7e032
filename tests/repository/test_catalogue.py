"""The pages of docs/ say what is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from hpsearch import catalogue, registry

ROOT = Path(__file__).parents[2]


def test_the_page_of_components_is_current() -> None:
    """`make docs` updates it."""
    assert (ROOT / "docs" / "components.md").read_text() == catalogue.to_markdown()


@pytest.mark.parametrize("family", catalogue.families())
def test_every_component_says_what_it_is_and_can_be_named_somewhere(family: str) -> None:
    assert catalogue.place_of(family)
    for component, _ in catalogue.components(family):
        assert component.summary, f"{family} {component.name} has no docstring"


def test_a_keyword_tells_its_default_and_its_range() -> None:
    keywords = dict(catalogue.components("optimizer"))[registry.get("optimizer", "sgd")]
    texts = [str(keyword) for keyword in keywords]
    assert "lr = 0.001 (auto: 0.0001 to 1, log; Keras: 0.01)" in texts
    assert "momentum = 0.0 (auto: 0 to 0.99)" in texts


def rows() -> list[list[str]]:
    text, _, _ = (ROOT / "docs" / "techniques.md").read_text().partition("## Known numbers")
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines[1:]]


def is_test(name: str) -> bool:
    """Whether a file of tests, of any folder that has one, defines what `file::name` says."""
    file, _, function = name.partition("::")
    texts = [path.read_text() for path in (ROOT / "tests").rglob(file)]
    return any(re.search(rf"(def|class) {function}\b", text) for text in texts)


def test_known_numbers_have_the_tests_that_are_said() -> None:
    text = (ROOT / "docs" / "techniques.md").read_text()
    section = text.partition("## Known numbers")[2].partition("\n## ")[0]
    named = re.findall(r"`(test_\w+\.py::\w+)`", section)
    assert len(named) > 30
    assert [name for name in named if not is_test(name)] == []


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_every_row_of_the_techniques_is_where_it_says(row: list[str]) -> None:
    _, names, where, test = row
    module, _, attribute = where.strip("`").rpartition(".")
    assert hasattr(importlib.import_module(f"hpsearch.{module}"), attribute)
    assert is_test(test.strip("`"))
    known = {name for family in registry.INJECTED for name in registry.names(family)}
    words = {word for word in re.findall(r"`([^`]+)`", names) if re.fullmatch(r"[a-z_0-9]+", word)}
    sections = {"gradient_noise", "norm_position", "bias", "regime_adaptation", "scaling"}
    sections |= {"input_dropout", "dropout", "conv_dropout", "mc_dropout_samples", "forget_bias"}
    sections |= {"first", "output", "recurrent", "layers", "activation", "drop", "pad", "wrap"}
    sections |= {"data_init", "gradient", "by_gate", "embedding", "stages"}
    sections |= {"skip", "depth", "stride", "padding", "pooling", "global_pool", "readout"}
    sections |= {"auto", "accumulate", "peak_memory_mb", "latency_ms", "parameters"}
    sections |= {"report", "compare"}
    sections |= {"encoder", "spread", "agent", "lr_schedule", "target_rate"}
    sections |= {"gae_lambda", "stateful", "p_embed", "phrases", "rows_per_class"}
    sections |= {"mask_value", "convs_per_block"}
    assert words <= known | sections
