"""The spec of the next search, as an agent gets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpsearch.cli.local import LocalSearches
from hpsearch.runs import Runs
from hpsearch.spec.reading import read_text
from tests.support.specs import make_spec

pytest.importorskip("mcp")


def test_the_plan_of_a_recipe_is_over_in_the_next_spec(tmp_path: Path) -> None:
    from hpsearch.cli.mcp_server import Tools

    spec = make_spec(
        tmp_path,
        model="mlp",
        optimizer={"name": "sgd", "lr": {"low": 1e-3, "high": 1.0, "log": True}},
        batch_size=32,
        search={"sampler": "disciplined"},
    )
    Runs(tmp_path / "runs").create(spec)
    text = Tools(LocalSearches(tmp_path / "runs")).next_spec("small", "more", trials=7)["spec"]
    following = read_text(text, "more.yaml", tmp_path).spec
    assert following is not None and following.name == "more"
    assert following.search.sampler == {"name": "auto"}
    assert (following.search.warm_start, following.search.trials) == (("small",), 7)
