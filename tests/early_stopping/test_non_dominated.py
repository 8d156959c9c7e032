"""Successive halving by non-dominated rank, told standings one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hpsearch.early_stopping import make_early_stopper, make_rule
from hpsearch.errors import SpecError
from hpsearch.pareto import Standing
from hpsearch.spec import EarlyStopping, SearchSpec, draft_spec

OBJECTIVES = [{"metric": "score"}, {"metric": "latency", "direction": "minimize"}]


def spec(early_stopping: dict[str, object], **sections: object) -> SearchSpec:
    raw = {"name": "s", "search": {"early_stopping": early_stopping}, "objectives": OBJECTIVES}
    draft = draft_spec(raw | sections)
    assert draft.spec is not None, draft.problems
    return draft.spec


def test_with_one_objective_it_is_asha() -> None:
    # a quarter is exact: with a third the quantile's place is rounded
    settings = EarlyStopping(name="asha", max_epochs=9, reduction_factor=4)
    asha = make_rule(settings, "minimize", Path())
    ranked = make_rule(settings, "minimize", Path(), by_standing=True)
    values = np.random.default_rng(0).normal(size=(200, 2))
    for number, (first, second) in enumerate(values):
        for epoch, value in ((1, first), (4, second)):
            stopped = asha.report(number, epoch, value)
            assert bool(ranked.report(number, epoch, Standing((-value,)))) == bool(stopped)
            if stopped:
                break


def test_the_front_goes_on_and_the_dominated_stop() -> None:
    rule = make_early_stopper(spec({"name": "asha", "max_epochs": 9, "reduction_factor": 2}))
    assert rule.report(0, 1, Standing((0.9, -9.0))) is None
    stop = rule.report(1, 1, Standing((0.8, -9.5)))  # worse in both
    assert stop is not None and stop.numbers == {"rank": 2, "trials": 2}
    assert rule.report(2, 1, Standing((0.1, -1.0))) is None  # the other end of the front
    assert rule.report(3, 1, Standing((0.85, -9.0)))


def test_what_breaks_a_constraint_takes_no_place() -> None:
    rule = make_early_stopper(spec({"name": "asha", "max_epochs": 9}))
    for number in range(3):
        assert rule.report(number, 1, Standing((0.5, -number))) is None or number
    assert rule.report(3, 1, Standing((99.0, 99.0), violation=0.1))
    assert rule.report(4, 1, Standing((0.6, 0.0))) is None


@pytest.mark.parametrize("name", ["hyperband", "none"])
def test_rules_that_can_do_several(name: str) -> None:
    rule = make_early_stopper(spec({"name": name, "max_epochs": 9}))
    for number in range(9):
        rule.report(number, 1, Standing((number, number)))
        rule.finish(number, 1, Standing((number, number)))
    assert rule.rungs[-1] == 9


@pytest.mark.parametrize("name", ["median", "asha_promotion", "freeze_thaw"])
def test_rules_that_compare_one_number_are_refused(name: str) -> None:
    with pytest.raises(SpecError) as error:
        make_early_stopper(spec({"name": name}))
    [problem] = error.value.problems
    assert problem.path == "search.early_stopping.name"
    expected = "with several objectives or constraints must be one of asha, hyperband, none"
    assert problem.rule.startswith(expected)
