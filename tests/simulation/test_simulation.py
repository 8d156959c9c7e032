"""Searches in virtual time: their decisions are those of real ones, whatever the curves."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.storages import InMemoryStorage
from typer.testing import CliRunner

from hpsearch.cli import app
from hpsearch.errors import HpsearchError, SpecError
from hpsearch.outcome import Outcome
from hpsearch.record import Goal, Origin, Record
from hpsearch.runs import Runs
from hpsearch.searches import run_search
from hpsearch.simulation import (
    Better,
    RecordedCurves,
    Simulated,
    Training,
    better_trials,
    compare,
    quality_levels,
    replay,
    simulate,
    variants,
)
from hpsearch.simulation.figures import BY_EPOCHS, BY_TIME, results_figures
from hpsearch.spec import Direction, Objective, SearchSpec, load_spec
from hpsearch.spec.objectives import Constraint
from tests.support.cli import hpsearch
from tests.support.records import add, make_spec

SPEC = """
name: real
objective: {metric: score, direction: maximize}
trainable: train.py:train
space: {lr: {low: 1.0e-4, high: 1.0, log: true}, width: {choices: [64, 128]}}
search: {trials: 24, max_concurrent: 1, early_stopping: {name: asha, max_epochs: 9}}
"""
TRAIN = """
import math

def train(config, trial):
    level = math.exp(-(math.log10(config["lr"]) + 2) ** 2) * (0.9 + 0.001 * config["width"])
    for epoch in range(1, 10):
        yield {"score": level * (1 - 0.8**epoch) + 0.01 * math.sin(7.3 * trial.number + epoch)}
"""
RULES = ("asha", "asha_promotion", "hyperband", "median", "freeze_thaw", "none")


class Formula:
    """Curves that rise with the distance of lr from 0.01, an epoch in one second or two."""

    max_epochs = 27

    def training(self, number: int, params: Mapping[str, Any], seed: int) -> Training:
        rng = np.random.default_rng((seed, number))
        level = math.exp(-((math.log10(params["lr"]) + 2) ** 2))
        values = [
            level * (1 - 0.8**epoch) + 0.02 * rng.standard_normal() for epoch in range(1, 28)
        ]
        return Training(values, [params["width"] / 64] * 27)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A runs folder with a search that Ray ran, one trial at a time."""
    folder = tmp_path_factory.mktemp("simulated")
    (folder / "train.py").write_text(TRAIN)
    (folder / "real.yaml").write_text(SPEC)
    run_search(load_spec(folder / "real.yaml"), folder / "runs")
    yield folder / "runs"


@pytest.fixture(scope="module")
def real(runs: Path) -> Record:
    return Runs(runs).search("real").open_record()


def settings(rule: str, **search: Any) -> SearchSpec:
    stopping = {"name": rule, "max_epochs": 27}
    return make_spec(early_stopping=stopping, **{"sampler": "random", **search})


def facts(record: Record) -> list[tuple[Any, ...]]:
    metric = record.spec.objective.metric
    return [(t.params, t.metric(metric), t.outcome, t.stopped_by) for t in record.trials]


def test_a_real_search_is_found_again(real: Record) -> None:
    simulated = simulate(real.spec, RecordedCurves(real), workers=1)
    assert facts(simulated) == facts(real)
    took, simulated_took = real.ended_at - real.created_at, simulated.ended_at
    assert 0.3 * took < simulated_took < 1.05 * took  # Ray's own start is left out


def test_a_replay_makes_the_decisions_of_the_real_run(real: Record) -> None:
    found = replay(real)
    assert found.is_identical
    assert found.num_stops == sum(t.outcome is Outcome.STOPPED_EARLY for t in real.trials) > 5
    assert found.num_decisions > found.num_stops


@pytest.mark.parametrize("rule", RULES)
def test_a_replay_of_concurrent_trials_makes_the_same_decisions(rule: str) -> None:
    record = simulate(settings(rule, trials=60), Formula(), workers=16)
    found = replay(record)
    assert found.is_identical
    assert found.num_decisions > 60
    assert (found.num_stops > 0) == (rule != "none")


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_a_line_of_a_figure_is_the_median_over_seeds_and_its_band_holds_all(
    direction: Direction,
) -> None:
    sign = 1 if direction == "maximize" else -1
    seeds = [[(10, 1), (30, 4)], [(20, 2), (40, 3)], [(5, 0), (30, 5)]]
    better = tuple(
        tuple(Better(float(at), 2 * at, float(sign * value), 0) for at, value in seed)
        for seed in seeds
    )
    found = Simulated(8, {"search.sampler": "tpe"}, 3, 9, 2, 100, 60.0, sign * 4.0, (), better)
    unfinished = replace(found, better=((), *better[1:]))
    objective = Objective(metric="score", direction=direction)
    for name, factor in {BY_TIME: 1, BY_EPOCHS: 2}.items():
        figure = results_figures([found, unfinished], objective)[name]
        low, high, line = figure.data
        assert line.name == "sampler tpe, 8 workers"
        last = 60 if name == BY_TIME else 100
        assert list(line.x) == [20 * factor, 30 * factor, 40 * factor, last]
        assert list(sign * line.y) == [1, 4, 4, 4]
        assert sorted([list(sign * low.y), list(sign * high.y)]) == [[0, 2, 3, 3], [2, 5, 5, 5]]


def test_a_replay_finds_decisions_of_another_rule() -> None:
    record = simulate(settings("asha", trials=60), Formula(), workers=16)
    record.spec = settings("hyperband", trials=60)
    assert not replay(record).is_identical


def test_curves_of_trials_that_users_let_train_longer_are_used_as_far_as_the_search_trains() -> (
    None
):
    record = Record.create(InMemoryStorage(), make_spec())
    for number, epochs in enumerate((9, 12, 9)):
        origin = Origin("a", 0, 9) if number == 2 else None  # it goes on where the first ended
        goal = Goal("a", 12, 9) if number == 2 else None
        params = {"lr": 0.1, "width": 64}
        trial = record.add_trial(params, origin=origin, goal=goal)
        record.start_attempt(number)
        first = trial.first_epoch
        for epoch in range(first, first + (3 if number == 2 else epochs)):
            record.report(number, epoch, {"score": 0.01 * epoch + number % 2})
        record.end_trial(number, Outcome.COMPLETED)
    curves = RecordedCurves(record, record.spec)
    assert curves.num_trials == 2
    assert sorted(curves.finals) == pytest.approx([0.09, 1.09])


def test_more_workers_take_less_time_for_the_same_epochs() -> None:
    spec = settings("none", trials=40)
    alone, eight = (simulate(spec, Formula(), workers) for workers in (1, 8))
    epochs = [sum(len(t.curve) for t in record.trials) for record in (alone, eight)]
    assert epochs == [40 * 27, 40 * 27]
    assert alone.ended_at == sum(t.params["width"] / 64 * 27 for t in alone.trials)
    assert alone.ended_at / 8 <= eight.ended_at < alone.ended_at / 6


def test_no_more_trials_run_at_once_than_there_are_workers() -> None:
    record = simulate(settings("asha", trials=40), Formula(), workers=5)
    begins = [(t.attempted_at[0], 1) for t in record.trials]
    ends = [(t.ended_at, -1) for t in record.trials]
    running = np.cumsum([step for _, step in sorted(begins + ends)])
    assert running.max() == 5


def test_a_time_limit_ends_a_simulated_search() -> None:
    spec = settings("asha", trials=1000, time_limit="60s")
    record = simulate(spec, Formula(), workers=4)
    assert record.reason == "time_limit of 1 min 0 s reached"
    assert 60 <= record.ended_at <= 62
    assert len(record.trials) < 1000


def test_better_trials_are_those_that_completed_with_more_than_all_before() -> None:
    record = simulate(settings("asha", trials=60), Formula(), workers=4)
    found = better_trials(record)
    assert [b.value for b in found] == sorted({b.value for b in found})
    assert found[-1].trial == record.best.number
    used = sum(at <= found[0].seconds for t in record.trials for at in t.reported_at.values())
    assert found[0].epochs == used >= 27


@pytest.mark.long
def test_ten_thousand_trials_on_five_hundred_workers() -> None:
    """In a minute on a machine of its own; here others share the cores."""
    started = time.process_time()
    record = simulate(settings("asha", trials=10_000), Formula(), workers=500)
    assert time.process_time() - started < 60
    assert len(record.trials) == 10_000
    assert replay(record).is_identical


class TestRecordedCurves:
    def recorded(self, direction: str = "maximize") -> Record:
        sign = 1.0 if direction == "maximize" else -1.0
        record = Record.create(InMemoryStorage(), make_spec(direction=direction))
        for number, lr in enumerate(np.geomspace(1e-4, 1.0, 13)):
            level = sign * (1 - abs(math.log10(lr) + 2) / 4)
            curve = [level + 0.1 * sign * epoch for epoch in range(9)]
            is_full = number % 3 == 0
            outcome = Outcome.COMPLETED if is_full else Outcome.STOPPED_EARLY
            add(record, curve if is_full else curve[:3], outcome, lr=float(lr), width=64)
        return record

    def test_a_trial_that_was_stopped_goes_on_as_those_that_continued(self) -> None:
        curves = RecordedCurves(self.recorded())
        trial = curves.training(1, {"lr": float(np.geomspace(1e-4, 1, 13)[1]), "width": 64}, 0)
        assert trial.values[:3] == [7 / 12, 7 / 12 + 0.1, 7 / 12 + 0.2]
        assert trial.values == pytest.approx([7 / 12 + 0.1 * epoch for epoch in range(9)])
        assert trial.seconds == [2.0] * 9

    @pytest.mark.parametrize("direction", ["maximize", "minimize"])
    def test_nothing_is_better_than_the_best_of_the_record(self, direction: Direction) -> None:
        record, sign = self.recorded(direction), 1.0 if direction == "maximize" else -1.0
        slow = [sign * (0.1 * epoch - 1.0) for epoch in range(9)]  # makes the mean change large
        add(record, slow, Outcome.COMPLETED, lr=2e-4, width=128)
        near = [sign * (1.6 + 0.05 * epoch) for epoch in range(3)]  # the best ends at 1.8
        add(record, near, Outcome.STOPPED_EARLY, lr=0.02, width=128)
        curves = RecordedCurves(record)
        values = sign * np.array(curves.training(14, {"lr": 0.02, "width": 128}, 0).values)
        assert values[:3] == pytest.approx([1.6, 1.65, 1.7])
        assert (np.diff(values) > 0).all()
        assert 1.75 < values[-1] < 1.8
        assert (sign * curves.finals).max() == pytest.approx(1.8)

    @pytest.mark.parametrize("direction", ["maximize", "minimize"])
    def test_another_configuration_is_between_its_neighbours(self, direction: str) -> None:
        curves = RecordedCurves(self.recorded(direction))
        ends = [
            abs(curves.training(99, {"lr": lr, "width": 64}, 0).values[-1])
            for lr in (2e-4, 1.2e-2)
        ]
        assert 1.2 < ends[0] < 1.5 < 1.6 < ends[1] <= 1.8
        assert curves.rank_correlation() > 0.7

    def test_a_configuration_beside_one_that_diverged_diverges(self) -> None:
        record = self.recorded()
        for lr in (0.5, 0.6, 0.7):
            add(record, [0.1], Outcome.DIVERGED, "loss nan", lr=lr, width=128)
        training = RecordedCurves(record).training(99, {"lr": 0.61, "width": 128}, 0)
        assert (training.end, training.why) == (Outcome.DIVERGED, "loss nan")
        assert list(training.values) == [0.1]
        assert len(training.seconds) == 2  # it diverges in the epoch after

    def test_a_trial_that_ended_itself_does_so(self) -> None:
        record = self.recorded()
        add(record, [0.3, 0.4], Outcome.COMPLETED, "patience", lr=0.3, width=128)
        training = RecordedCurves(record).training(13, {"lr": 0.3, "width": 128}, 0)
        assert (list(training.values), training.end) == ([0.3, 0.4], Outcome.COMPLETED)

    def test_a_record_must_say_how_curves_end(self) -> None:
        record = Record.create(InMemoryStorage(), make_spec())
        add(record, [0.1], Outcome.STOPPED_EARLY)
        with pytest.raises(HpsearchError, match="demo: none of its trials was trained in full"):
            RecordedCurves(record)

    def test_its_trials_must_fit_the_space(self) -> None:
        other = make_spec(space={"momentum": {"low": 0.0, "high": 1.0}})
        with pytest.raises(HpsearchError, match="demo: none of its trials fits the search space"):
            RecordedCurves(self.recorded(), other)

    def test_curves_are_of_one_objective(self) -> None:
        limit = Constraint(metric="cost", max=1.0)
        spec = make_spec().model_copy(update={"constraints": (limit,)})
        with pytest.raises(SpecError, match="constraints: must not be given in a simulation"):
            simulate(spec, RecordedCurves(self.recorded()), 2)

    def test_curves_are_no_longer_than_the_record_s(self) -> None:
        longer = make_spec(early_stopping={"name": "asha", "max_epochs": 27})
        with pytest.raises(SpecError, match="max_epochs: must be at most 9, the epochs of the"):
            simulate(longer, RecordedCurves(self.recorded(), longer), workers=1)


class TestCompare:
    def test_medians_over_seeds(self) -> None:
        specs = {"2": settings("asha", trials=30), "4": settings("none", trials=30)}
        found = variants({"factor": ["2", "4"]}, [1, 8], lambda given: specs[given[0][-1]])
        assert [(each.workers, each.settings["factor"]) for each in found] == [
            (1, "2"), (8, "2"), (1, "4"), (8, "4"),
        ]  # fmt: skip
        results = list(compare(found, lambda spec: Formula(), [0.5, 2.0], seeds=3))
        assert [each.epochs for each in results[2:]] == [30 * 27] * 2
        assert results[0].epochs < 30 * 27 / 2
        assert results[3].seconds < results[2].seconds / 6
        for each in results:
            reached, never = each.reached
            assert never.seconds is None and never.num_seeds == 0
            assert reached.num_seeds >= 2 and reached.seconds <= each.seconds

    def test_qualities_are_those_of_the_best_trials(self) -> None:
        finals = np.linspace(0.0, 1.0, 101)
        assert quality_levels(finals, "maximize") == pytest.approx([0.75, 0.9, 0.98])
        assert quality_levels(finals, "minimize") == pytest.approx([0.25, 0.1, 0.02])


class TestCommand:
    def test_values_are_compared(self, runs: Path) -> None:
        run = hpsearch(
            "simulate", "../real.yaml", "--from", "real", "--runs", ".", "--workers", "1,4",
            "--set", "search.early_stopping.reduction_factor=2,3", "--set", "search.trials=12",
            "--seeds", "1", "--quality", "0.5",
            cwd=runs,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        first, second, _, head, *rows = run.stdout.splitlines()
        assert first.startswith("replayed real: ") and first.endswith("all as in the record")
        assert second.startswith("other configurations: from their nearest of 24 trials; rank")
        assert head.split() == (
            [
                "reduction_factor",
                "workers",
                "trials",
                "in",
                "full",
                "epochs",
                "time",
                "best",
                "≥",
                "0.5",
            ]
        )
        assert [row.split()[:3] for row in rows] == [
            ["2", "1", "12"], ["2", "4", "12"], ["3", "1", "12"], ["3", "4", "12"],
        ]  # fmt: skip

    def test_a_page_draws_each_variant_with_its_band(self, runs: Path, tmp_path: Path) -> None:
        page = tmp_path / "simulated.html"
        run = hpsearch("simulate", "--from", "real", "--workers", "1,8", "--seeds", "2",
                       "--html", page, "--runs", ".", cwd=runs)  # fmt: skip
        assert run.returncode == 0, run.stderr
        text = page.read_text()
        assert "<h1>Simulated from real</h1>" in text
        figures = json.loads(
            text.partition('<script id="figures" type="application/json">')[2].partition("</")[0]
        )
        assert list(figures["figures"]) == [BY_TIME, BY_EPOCHS]
        names = [each.get("name") for each in figures["figures"][BY_TIME]["data"]]
        assert names == [None, None, "1 worker", None, None, "8 workers"]

    def test_json_has_the_same(self, runs: Path, real: Record) -> None:
        run = hpsearch("simulate", "--from", "real", "--workers", "1", "--seeds", "1", "--json",
                       "--runs", ".", cwd=runs)  # fmt: skip
        found = json.loads(run.stdout)
        assert found["replay"]["differing"] == []
        [simulation] = found["simulations"]
        assert simulation["epochs"] == sum(len(trial.curve) for trial in real.trials)
        assert simulation["best"] == real.objective(real.best)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--workers", "0"], "--workers: must be numbers of concurrent trials"),
            (["--set", "search.trials"], "--set: must be path=value, or path=value,value"),
            (["--set", "search.early_stopping.name=ahsa"], "search.early_stopping.name: must be"),
            (["--set", "objective.metric=loss"], "objective: must be that of real, maximize sc"),
            (["--set", "search.trails=3"], "search.trails: must be a known key"),
        ],
    )
    def test_mistakes_are_refused(self, runs: Path, options: list[str], message: str) -> None:
        words = ["simulate", "--from", "real", "--runs", str(runs), *options]
        run = CliRunner().invoke(app, words)
        assert isinstance(run.exception, SpecError)
        assert str(run.exception).startswith(message)


def test_a_search_of_a_single_configuration_is_simulated(tmp_path: Path) -> None:
    record = Record.create(tmp_path / "record.journal", make_spec({"lr": 0.1}, trials=1))
    for final in (0.5, 0.75):
        trial = record.add_trial({})
        trial.curve = {epoch: {"score": final * epoch / 9} for epoch in range(1, 10)}
        trial.reported_at = {epoch: trial.started_at + epoch for epoch in trial.curve}
        trial.outcome, trial.ended_at = Outcome.COMPLETED, trial.started_at + 9
    simulated = simulate(record.spec, RecordedCurves(record, record.spec), workers=4)
    [again] = simulated.trials
    assert simulated.objective(again) in (0.5, 0.75)
