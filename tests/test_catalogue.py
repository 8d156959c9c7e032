"""The pages of docs/ say what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpsearch import catalogue, registry

ROOT = Path(__file__).parents[1]


def test_the_page_of_components_is_current() -> None:
    """`make docs` makes it anew."""
    assert (ROOT / "docs" / "components.md").read_text() == catalogue.to_markdown()


@pytest.mark.parametrize("family", catalogue.families())
def test_every_component_says_what_it_is_and_can_be_named_somewhere(family: str) -> None:
    assert catalogue.place_of(family)
    for component, _ in catalogue.components(family):
        assert component.summary, f"{family} {component.name} has no docstring"
        assert component.fusible <= component.keywords.keys()


def test_a_keyword_tells_its_default_range_and_whether_it_is_fusible() -> None:
    keywords = dict(catalogue.components("optimizer"))[registry.get("optimizer", "sgd")]
    texts = [str(keyword) for keyword in keywords]
    assert "lr = 0.01 (auto: 0.0001 to 1, log)*" in texts
    assert "momentum = 0.0 (auto: 0 to 0.99)*" in texts
