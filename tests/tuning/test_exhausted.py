"""A sampler that has tried all that it has ends the search, which says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpsearch.early_stopping import make_early_stopper
from hpsearch.record import Record
from hpsearch.samplers import make_sampler
from hpsearch.tuning.control import SearchControl
from hpsearch.tuning.report import Report
from tests.support.specs import make_spec


def ended(folder: Path, trials: int, sampler: str = "grid") -> tuple[str, str | None]:
    """Run a search of three configurations to its end; returns how it ends, and why."""
    spec = make_spec(
        folder,
        objective={"metric": "score"},
        trainable="train.py:train",
        space={"x": {"choices": [1, 2, 3]}},
        search={"trials": trials, "sampler": sampler},
    )
    record = Record.create(folder / "record.journal", spec)
    rule = make_early_stopper(spec)
    made = make_sampler(
        spec.search.sampler, record.space, seed=0, direction="maximize", rungs=rule.rungs, slots=1
    )
    control = SearchControl(record, made, rule, folder)
    while (trial := control.next_trial()) is not None:
        control.start_attempt(trial.number)
        for epoch in (1, 2, 3):
            if control.take_report(trial.number, Report(epoch, {"score": 1.0})):
                break
    assert control.is_over
    found = control.end_trials()
    control.close()
    return found


def test_a_grid_that_is_smaller_than_the_budget(tmp_path: Path) -> None:
    assert ended(tmp_path, 4) == (
        "finished",
        "the sampler grid has tried all of its configurations",
    )


@pytest.mark.parametrize(("trials", "sampler"), [(3, "grid"), (2, "grid"), (4, "random")])
def test_a_budget_that_is_used_up_needs_no_reason(
    tmp_path: Path, trials: int, sampler: str
) -> None:
    assert ended(tmp_path, trials, sampler) == ("finished", None)
