"""Partial dependence and interactions, on records of functions whose effects are known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpsearch.analysis import SearchReport
from hpsearch.analysis.figures import figure_names
from hpsearch.analysis.response import Response
from hpsearch.outcome import Outcome, StoppedBy
from hpsearch.record import Record
from tests.support.records import add
from tests.support.records import make_spec as make_spec_of_rungs
from tests.support.searched import Score, searched

LOG = {"low": 1e-4, "high": 1.0, "log": True}
LINE = {"low": 0.0, "high": 1.0}
SPACE = {"lr": LOG, "x": LINE, "y": LINE, "k": {"choices": ["a", "b", "c"]}}
NAMES = ["lr", "x", "y", "k"]


def bowl(params: dict[str, Any]) -> float:
    return -float((math.log10(params["lr"]) + 2) ** 2)


def additive(params: dict[str, Any]) -> float:
    return bowl(params) + params["x"] + (params["k"] == "a")


def product(params: dict[str, Any]) -> float:
    return 0.3 * bowl(params) + 2 * (params["x"] - 0.5) * (params["y"] - 0.5)


def opposed(params: dict[str, Any]) -> float:
    return float(params["x"] if params["k"] == "a" else -params["x"])


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_a_sum_has_no_interactions(tmp_path: Path, seed: int, noise: float) -> None:
    rng = np.random.default_rng(seed)

    def score(params: dict[str, Any]) -> float:
        return additive(params) + noise * float(rng.standard_normal())

    response = Response(searched(tmp_path, SPACE, score, seed=seed))
    assert response.interactions(NAMES) == []
    lr = response.dependence("lr")
    assert lr is not None
    assert lr.values[int(lr.mean.argmax())] == pytest.approx(0.01, rel=0.9)
    assert ((lr.low < lr.mean) & (lr.mean < lr.high)).all()
    for name, spread in ("x", 1.0), ("y", 0.0), ("k", 1.0):
        found = response.dependence(name)
        assert found is not None and found.spread == pytest.approx(spread, abs=0.35)


@pytest.mark.parametrize(
    ("score", "pair", "weakest"), [(product, ("x", "y"), 0.8), (opposed, ("x", "k"), 0.4)]
)
@pytest.mark.parametrize("seed", range(3))
def test_interactions_are_told(
    tmp_path: Path, score: Score, pair: tuple[str, str], weakest: float, seed: int
) -> None:
    [found] = Response(searched(tmp_path, SPACE, score, seed=seed)).interactions(NAMES)
    assert tuple(parameter.name for parameter in found.parameters) == pair
    assert weakest < found.strength <= 1.0
    assert found.mean.shape == tuple(map(len, found.coordinates))


def test_of_a_loss_the_lowest_is_expected_best(tmp_path: Path) -> None:
    minimize = {"metric": "val_accuracy", "direction": "minimize"}
    record = searched(tmp_path, SPACE, lambda p: -additive(p), objective=minimize)
    report = SearchReport(record)
    row = next(line for line in report.to_markdown().splitlines() if line.startswith("| `k` |"))
    assert "| a |" in row
    lr = report.partial_dependence("lr")
    assert lr is not None and list(lr) == ["value", "mean", "low", "high"]
    assert lr["value"][int(lr["mean"].argmin())] == pytest.approx(0.01, rel=0.9)
    with pytest.raises(KeyError):
        report.partial_dependence("momentum")


def test_of_what_has_no_effect_any_value_is_expected_best(tmp_path: Path) -> None:
    space = {"lr": LOG, "y": LINE}
    text = SearchReport(searched(tmp_path, space, bowl)).to_markdown()
    [row] = [line for line in text.splitlines() if line.startswith("| `y` |") and "%" in line]
    assert "| any | – |" in row


def test_what_only_some_trials_have(tmp_path: Path) -> None:
    choices = [{"name": "sgd", "lr": LOG, "momentum": LINE}, {"name": "adam", "lr": LOG}]
    sections = {"model": {"name": "mlp"}, "optimizer": {"choices": choices}}

    def score(params: dict[str, Any]) -> float:
        return float(params.get("optimizer.sgd.momentum", 0.4))

    response = Response(searched(tmp_path, {}, score, **sections))
    found = response.dependence("optimizer.sgd.momentum")
    assert found is not None and found.spread == pytest.approx(1.0, abs=0.2)
    names = ["optimizer", "optimizer.sgd.momentum", "optimizer.adam.lr"]
    assert response.interactions(names) == []


def test_trials_that_were_stopped_count_by_their_forecast(tmp_path: Path) -> None:
    record = Record.create(tmp_path / "record.journal", make_spec_of_rungs({"x": LINE}))
    rng = np.random.default_rng(0)
    for number in range(40):
        x = float(rng.random())
        last = 9 if number < 3 or x > 0.7 else 1
        curve = [x + epoch / 10 for epoch in range(last)]
        trial = add(record, curve, Outcome.COMPLETED if last == 9 else Outcome.STOPPED_EARLY, x=x)
        trial.stopped_by = StoppedBy("asha", 1) if last == 1 else None
    found = Response(record).dependence("x")
    assert found is not None
    # the trials that were stopped tell of low values, in units of the last epoch
    at = [int(np.abs(found.coordinates - place).argmin()) for place in (0.2, 0.9)]
    assert found.mean[at].tolist() == pytest.approx([1.0, 1.7], abs=0.15)


@pytest.mark.parametrize("score", [lambda p: 1e308 * p["x"], lambda p: 1.0])
def test_values_that_cannot_be_compared(tmp_path: Path, score: Score) -> None:
    report = SearchReport(searched(tmp_path, SPACE, score))
    assert report.interactions == []
    assert "nan" not in report.to_html().lower().split("<script")[0]


def test_few_trials_say_nothing(tmp_path: Path) -> None:
    record = searched(tmp_path, SPACE, additive, num_trials=11)
    report = SearchReport(record)
    assert report.partial_dependence("x") is None and report.interactions == []
    assert "expected best" not in report.to_markdown()


def test_members_of_a_population_inherit_weights(tmp_path: Path) -> None:
    pbt = {"sampler": {"name": "pbt"}, "early_stopping": {"name": "none", "max_epochs": 1}}
    report = SearchReport(searched(tmp_path, SPACE, additive, search=pbt))
    assert report.partial_dependence("x") is None and "interaction" not in report.figures


def test_the_report_tells_and_draws_them(tmp_path: Path) -> None:
    report = SearchReport(searched(tmp_path, SPACE, product))
    text = report.to_markdown()
    assert "expected best" in text and "## Interactions" in text
    assert "| `x` and `y` |" in text or "| `y` and `x` |" in text
    figure = report.figures["interaction"]
    assert figure.data[0].z.shape == (6, 6)
    bands = [trace for trace in report.figures["slice:x"].data if trace.fill == "tonexty"]
    assert len(bands) == 1 and len(bands[0].x) > 10
    dashes = report.figures["slice:k"].data[0]
    assert list(dashes.x) == [0, 1, 2] and len(dashes.error_y.array) == 3
    assert "interaction" in figure_names(report.record, report._importances)
