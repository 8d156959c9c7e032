"""What a study says of searches: measures, pairs that are left out, several variants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from hpsearch.errors import SpecError
from hpsearch.outcome import Outcome
from hpsearch.runs import Runs
from hpsearch.studies import answer_sections, cells, load_study, plain_study
from hpsearch.studies.answers import answers, holm
from tests.support.studies import GATES, write

#: the objective epoch by epoch, of a variant and a seed; None where the trial diverged
Curves = dict[tuple[str, int], list[float] | None]


def answered(folder: Path, curves: Curves, **changes: Any) -> tuple[str, dict[str, Any]]:
    """Return a study's text and its plain answer, of searches whose curves are given."""
    names = list(dict.fromkeys(variant for variant, _ in curves))
    variants = {name: {"model.hidden_sizes": [8 + i]} for i, name in enumerate(names)}
    seeds = 1 + max(seed for _, seed in curves)
    study = load_study(write(folder, variants=variants, seeds=seeds, **changes))
    place, planned = Runs(folder / "runs"), cells(study)
    (folder / "runs").mkdir()
    for cell in planned:
        record = place.create(cell.spec).take_over()
        record.add_trial({})
        curve = curves[cell.variant, cell.seed]
        for epoch, value in enumerate(curve or (), 1):
            record.report(0, epoch, {"train_loss": value, "seconds": 0.5})
        record.end_trial(0, Outcome.COMPLETED if curve else Outcome.DIVERGED)
        record.set_result(test_metrics={"test_loss": -1.0 if cell.variant == "a" else 2.0})
        record.end("finished")
    found = answers(study, planned, place)
    (section,) = answer_sections(study, found)
    return "\n".join(map(str, section.blocks)), plain_study(study, found)


PAIRS: Curves = {("a", 0): [0.9, 0.5], ("a", 1): [0.4, 0.3], ("b", 0): [0.2], ("b", 1): [0.1]}


def test_a_pair_without_a_value_is_left_out_and_said_to_be(tmp_path: Path) -> None:
    text, plain = answered(tmp_path, {**PAIRS, ("a", 2): [0.5], ("b", 2): None})
    (answer,) = plain["answers"]
    assert answer["values"] == {"a": [0.5, 0.3, 0.5], "b": [0.2, 0.1, None]}
    assert answer["differences"][0]["mean"] == pytest.approx(-0.25)
    assert "`b` has no value in 1 of 3 pairs, which are left out: that flatters it." in text
    assert "`a` has no value" not in text


def test_a_variant_without_any_pair_has_no_difference(tmp_path: Path) -> None:
    curves: Curves = {**PAIRS, ("c", 0): None, ("c", 1): None}
    text, plain = answered(tmp_path, curves)
    assert [each["second"] for each in plain["answers"][0]["differences"]] == ["b"]
    assert "`c` has no value in 2 of 2 pairs" in text and "('all', 'c', '–', '')" in text


def test_epochs_and_seconds_to_a_target_are_counted(tmp_path: Path) -> None:
    curves: Curves = {
        ("a", 0): [0.9, 0.2, 0.1],
        ("a", 1): [0.1, 0.9],  # the first time counts
        ("b", 0): [0.9, 0.8, 0.3],
        ("b", 1): [0.9, 0.5],
    }
    changes = {"measure": "epochs_to_target", "target": 0.3}
    text, plain = answered(tmp_path, curves, **changes)
    assert plain["measure"] == "epochs to train_loss 0.3"
    assert plain["answers"][0]["values"] == {"a": [2.0, 1.0], "b": [3.0, None]}
    assert "`b` has no value in 1 of 2 pairs" in text
    (tmp_path / "seconds").mkdir()
    text, plain = answered(
        tmp_path / "seconds", curves, **changes | {"measure": "seconds_to_target"}
    )
    assert plain["answers"][0]["values"] == {"a": [1.0, 0.5], "b": [1.5, None]}


def test_fewer_epochs_to_a_target_are_better_whatever_the_objective(tmp_path: Path) -> None:
    spec = {**GATES["spec"], "objective": {"metric": "train_loss", "direction": "maximize"}}
    curves = {("a", s): [0.0, 0.0, 1.0] for s in range(3)} | {("b", s): [1.0] for s in range(3)}
    changes = {"measure": "epochs_to_target", "target": 0.5, "spec": spec}
    text, plain = answered(tmp_path, curves, **changes)  # type: ignore[arg-type]
    assert plain["answers"][0]["values"] == {"a": [3.0] * 3, "b": [1.0] * 3}
    assert "`b` is better than `a` by 2" in text


def test_the_test_split_is_compared(tmp_path: Path) -> None:
    spec = {**GATES["spec"], "objective": {"metric": "val_loss", "direction": "minimize"}}
    with pytest.raises(SpecError, match="measure: must be another one: train_loss has no test"):
        cells(load_study(write(tmp_path, measure="test")))
    study = load_study(write(tmp_path, measure="test", spec=spec))
    place = Runs(tmp_path / "runs")
    (tmp_path / "runs").mkdir()
    for cell in cells(study):
        record = place.create(cell.spec).take_over()
        record.add_trial({})
        record.report(0, 1, {"val_loss": 0.5})
        record.end_trial(0, Outcome.COMPLETED)
        record.set_result(test_metrics={"test_loss": 1.0 + cell.seed})
    plain = plain_study(study, answers(study, cells(study), place))
    assert plain["measure"] == "test_loss"
    assert plain["answers"][0]["values"] == {"linear": [1.0, 2.0], "tanh": [1.0, 2.0]}


def test_holm_lets_the_interval_of_each_variant_agree_with_its_test(tmp_path: Path) -> None:
    gains = {
        "far": [0.50, 0.51, 0.52, 0.49, 0.50],
        "near": [0.10, 0.02, 0.07, 0.01, 0.09],  # by itself told apart, but not beside the other
        "same": [0.10, -0.10, 0.03, -0.02, 0.0],
    }
    curves: Curves = {("base", seed): [1.0] for seed in range(5)}
    curves |= {
        (name, s): [1.0 - gain] for name, all_ in gains.items() for s, gain in enumerate(all_)
    }
    text, plain = answered(tmp_path, curves)
    p_values = [float(stats.ttest_1samp(each, 0).pvalue) for each in gains.values()]
    assert p_values[0] < 0.05 / 3 and 0.05 / 2 < p_values[1] < 0.05
    found = plain["answers"][0]["differences"]
    levels = [1 - 0.05 / 3, 1 - 0.05 / 2, 1 - 0.05 / 2]
    assert [each["confidence"] for each in found] == pytest.approx(levels)
    for each, level in zip(found, levels, strict=True):
        own = [-gain for gain in gains[each["second"]]]
        expected = stats.ttest_1samp(own, 0).confidence_interval(level)
        assert each["interval"] == pytest.approx((expected.low, expected.high))
    assert "`far` is better than `base`" in text
    assert "`near` and `base` can't be told apart" in text and "97.5 % interval" in text


def test_holm_goes_on_to_the_last_while_each_is_small_enough() -> None:
    assert holm([0.02, 0.001]) == pytest.approx([0.05, 0.025])
    assert holm([0.03, 0.03]) == pytest.approx([0.025, 0.025])
    assert holm([]) == []
