"""The settings of a search: sampler, early stopping, points."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.problems import problems_of
from tests.support.specs import changed


class TestSettings:
    @pytest.mark.parametrize(
        ("search", "expected"),
        [
            (
                {"sampler": "tppe"},
                "search.sampler.name: must be one of auto, cmaes, disciplined, gp, grid, nsga2, "
                "pb2, pbt, qmc, random, tpe, or yours as module:factory, but got 'tppe'; did you "
                "mean 'tpe'?",
            ),
            (
                {"sampler": {"name": "random", "sed": 3}},
                "search.sampler.sed: must be a keyword of sampler random",
            ),
            ({"sampler": "grid"}, "model.dropout: must be choices, integers or a range with a"),
            (
                {"early_stopping": {"grace_period": 10, "max_epochs": 9}},
                "search.early_stopping.grace_period: must be at most max_epochs (9), but got 10",
            ),
            (
                {"early_stopping": "ashaa"},
                "search.early_stopping.name: must be one of asha, asha_promotion, freeze_thaw, "
                "hyperband, median, none, or yours as module:factory, but got 'ashaa'; "
                "did you mean 'asha'?",
            ),
            (
                {"early_stopping": {"name": "asha_promotion", "grace_perid": 3}},
                "search.early_stopping.grace_perid: must be a keyword of early_stopping "
                "asha_promotion (max_epochs, grace_period, reduction_factor), but got "
                "'grace_perid'; did you mean 'grace_period'?",
            ),
            (
                {"early_stopping": {"grace_perid": 3}},
                "search.early_stopping.grace_perid: must be a keyword of early_stopping asha",
            ),
            (
                {"early_stopping": {"name": "none", "grace_period": 1}},
                "search.early_stopping.grace_period: must be a keyword of early_stopping none "
                "(max_epochs), but got 'grace_period'",
            ),
            (
                {"early_stopping": {"reduction_factor": 1}},
                "search.early_stopping.reduction_factor: must be greater than or equal to 2",
            ),
            (
                {"early_stopping": {"grace_period": {"low": 1, "high": 3}}},
                "search.early_stopping.grace_period: must be an integer",
            ),
            (
                {"early_stopping": {"direction": "maximize"}},
                "search.early_stopping.direction: must not be given: early_stopping asha gets",
            ),
            (
                {"early_stopping": {"name": "median", "grace_period": 28}},
                "search.early_stopping.grace_period: must be at most max_epochs (27), but got 28",
            ),
        ],
    )
    def test_that_do_not_fit(self, search: dict[str, Any], expected: str) -> None:
        found = problems_of(changed(search=search))
        assert found[0].startswith(expected)
        assert len(found) == 1

    @pytest.mark.parametrize(
        ("search", "rule"),
        [
            ({"final": {"top": 2, "seeds": 2}}, "new seeds are ranked by one objective"),
            ({"warm_start": "auto"}, "earlier searches were not compared by them"),
            (
                {"stop_when": {"improvement_below": 0.01}},
                "the forecast is of one objective",
            ),
        ],
    )
    def test_that_do_not_fit_constraints(self, search: dict[str, Any], rule: str) -> None:
        (place,) = search
        constraints = [{"metric": "parameters", "max": 1000}]
        (found,) = problems_of(changed(search=search, constraints=constraints))
        assert found.startswith(f"search.{place}: must not be given with constraints: {rule}")
