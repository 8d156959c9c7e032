"""Recipes of a spec: what they write out, what stays, and where they are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpsearch.errors import SpecError
from hpsearch.spec import draft_spec
from hpsearch.spec.recipe import NUM_TRIALS, ONE_CYCLE
from hpsearch.validation import check

RAW: dict[str, Any] = {
    "name": "by-the-book",
    "objective": {"metric": "val_loss", "direction": "minimize"},
    "dataset": "digits",
    "model": {"name": "mlp", "hidden_sizes": [16]},
    "search": {"recipe": "disciplined"},
}


def with_search(**settings: Any) -> dict[str, Any]:
    return {**RAW, "search": {"recipe": "disciplined", **settings}}


def test_a_recipe_is_written_out() -> None:
    spec = check(draft_spec(with_search(early_stopping={"max_epochs": 12})))
    assert spec.search.recipe is None and spec.search.lr == "auto"
    assert spec.search.sampler == {"name": "disciplined"}
    assert spec.search.trials == NUM_TRIALS
    assert spec.search.early_stopping.name == "asha_promotion"
    assert spec.search.early_stopping.keywords == {"grace_period": 4}
    assert spec.optimizer["name"] == "sgd" and spec.optimizer["lr"].log
    assert list(spec.lr_schedule) == list(ONE_CYCLE)
    again = draft_spec(spec.to_dict()).spec
    assert again is not None and again.to_dict() == spec.to_dict()
    assert "recipe" not in spec.to_dict()["search"]


def test_what_is_given_stays() -> None:
    optimizer = {"name": "adamw", "lr": {"low": 1e-4, "high": 1e-2, "log": True}}
    raw = {
        **with_search(trials=20, early_stopping={"name": "none", "max_epochs": 3}),
        "optimizer": {**optimizer, "weight_decay": 0.01},
        "lr_schedule": {"name": "one_cycle"},
    }
    spec = check(draft_spec(raw))
    assert spec.search.trials == 20 and spec.search.early_stopping.name == "none"
    assert spec.optimizer["weight_decay"] == 0.01 and spec.lr_schedule == {"name": "one_cycle"}
    assert spec.optimizer["lr"].high == 1e-2


@pytest.mark.parametrize(
    ("changes", "path", "rule"),
    [
        (with_search(recipe="undisciplined"), "search.recipe", "must be"),
        (with_search(sampler="tpe"), "search.recipe", "must be given without search.sampler"),
        (
            {**RAW, "optimizer": {"choices": ["sgd", "adam"]}},
            "search.recipe",
            "must be given with one optimizer",
        ),
        (with_search(points=[{"optimizer.lr": 0.1}]), "search.points", "must not be given with"),
        (with_search(trials=11), "search.trials", "must be at least those of the plan (12)"),
        ({**RAW, "batch_size": {"choices": [16, 64]}}, "batch_size", "must be constant"),
        (
            {**RAW, "optimizer": {"lr": 0.1}},
            "search.recipe",
            "sets search.lr, which must have a range",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], path: str, rule: str) -> None:
    with pytest.raises(SpecError) as caught:
        check(draft_spec({**RAW, **changes}))
    assert [p for p in caught.value.problems if p.path == path and p.rule.startswith(rule)]


def test_what_a_recipe_wrote_is_refused_as_the_recipe() -> None:
    """A user who wrote no weight decay, and no sampler, is told of none by itself."""
    several = [{"metric": "val_loss", "direction": "minimize"}, {"metric": "val_accuracy"}]
    of_both = {key: value for key, value in RAW.items() if key != "objective"}
    for raw in ({**RAW, "optimizer": "lbfgs"}, {**of_both, "objectives": several}):
        with pytest.raises(SpecError) as caught:
            check(draft_spec(raw))
        assert {each.path for each in caught.value.problems} == {"search.recipe"}
    given = with_search(early_stopping={"max_epochs": 9, "grace_period": 12})
    with pytest.raises(SpecError, match="^search.early_stopping.grace_period: must be"):
        check(draft_spec(given))


def test_a_plan_has_no_more_trials() -> None:
    spec = check(draft_spec(with_search(time_limit=60)))
    with pytest.raises(SpecError, match="search.trials: must stay as it is: the disciplined plan"):
        spec.extended(trials=1)
    assert spec.extended(seconds=5).search.time_limit == 65


def test_your_own_code_has_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("def train(config, trial): yield {'val_loss': 0.5}")
    raw = {
        "name": "own",
        "objective": RAW["objective"],
        "trainable": "train.py:train",
        "space": {"lr": {"low": 0.1, "high": 0.5}},
        "search": RAW["search"],
    }
    with pytest.raises(SpecError, match="search.recipe: must be given with dataset, model and"):
        check(draft_spec(raw, tmp_path))
