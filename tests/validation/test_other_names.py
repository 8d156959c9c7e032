"""Names of other libraries and papers lead to those of a spec."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from hpsearch import registry
from hpsearch.validation.other_names import ELSEWHERE, KEYWORDS, NAMES, hint_of_name
from tests.support.problems import problems_of
from tests.support.specs import changed

PAIRS = [(family, name) for family, names in NAMES.items() for name in names]


def messages(**sections: Any) -> list[str]:
    return [str(each) for each in problems_of(changed(**sections))]


@pytest.mark.parametrize(("family", "name"), PAIRS)
def test_what_is_told_is_a_component_with_its_keywords(family: str, name: str) -> None:
    written: Any = yaml.safe_load(NAMES[family][name])
    section = {"name": written} if isinstance(written, str) else written
    assert name not in registry.names(family)
    component = registry.get(family, section.pop("name"))
    assert section.keys() <= component.own_keywords.keys()


def test_a_spec_is_told_of_it() -> None:
    (found,) = messages(model={"name": "LSTM"})
    assert found.endswith("but got 'LSTM'; write {name: rnn, cell: lstm}")
    (found,) = messages(initializer="glorot_uniform")
    assert found.endswith("but got 'glorot_uniform'; write xavier_uniform")
    (found,) = messages(callbacks=["terminate_on_nan"])
    assert found.endswith("; a trial ends by itself where its loss isn't finite")


@pytest.mark.parametrize(("family", "name"), ELSEWHERE)
def test_what_stands_elsewhere_is_no_component(family: str, name: str) -> None:
    assert name not in registry.names(family)
    assert hint_of_name(family, name) == ELSEWHERE[family, name]


@pytest.mark.parametrize("keyword", [keyword for _, keyword in KEYWORDS])
def test_keywords_of_other_optimizers(keyword: str) -> None:
    found = messages(optimizer={"name": "adam", "lr": 0.1, keyword: True})
    (hint,) = [each for each in found if each.startswith(f"optimizer.{keyword}: ")]
    assert hint.endswith(f"; {KEYWORDS['optimizer', keyword]}")
