"""Rules of early stopping of a user's own: in a file, by a package, wrong ones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from hpsearch import importing, run_search
from hpsearch.early_stopping import make_early_stopper, make_registered_stopper
from hpsearch.errors import SpecError
from hpsearch.outcome import Outcome, StoppedBy
from hpsearch.record import Record
from hpsearch.runs import Runs
from hpsearch.schema import json_schema
from hpsearch.validation import check_spec
from tests.support.specs import make_spec
from tests.support.stopping import spec

RULES = """
from hpsearch import EarlyStopper, Stop

class Floor(EarlyStopper):
    "Stops what is below a floor at epoch 2."

    def __init__(self, max_epochs, direction: str, floor: float = 0.5):
        self.rungs = (2, max_epochs)
        self._floor, self._direction = floor, direction

    def report(self, number, epoch, value):
        if epoch == 2 and (value < self._floor) == (self._direction == "maximize"):
            return Stop({"floor": self._floor})

class SaysTrue(Floor):
    def report(self, number, epoch, value):
        return epoch == 1 and value < self._floor

class NoRungs(EarlyStopper):
    def report(self, number, epoch, value):
        return False

class OtherRungs(Floor):
    def __init__(self, max_epochs):
        self.rungs = (3, 2)

class NoReport:
    rungs = (3,)

class TakesNone(Floor):
    def report(self):
        return False

def fails(max_epochs):
    raise RuntimeError("no licence")
"""
TRAIN = """
def train(config, trial):
    for epoch in range(trial.epoch + 1, trial.max_epochs + 1):
        yield {"score": config["level"] + epoch / 100}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / f"{module(tmp_path)}.py").write_text(RULES + TRAIN)
    return tmp_path


def module(folder: Path) -> str:
    return f"rules_{abs(hash(str(folder)))}"


def function_spec(folder: Path, rule: str, **keywords: Any) -> Any:
    name = f"{module(folder)}.py"
    return make_spec(
        folder,
        objective={"metric": "score"},
        trainable=f"{name}:train",
        space={"level": {"choices": [0.1, 0.4, 0.7]}},
        search={
            "trials": 3,
            "sampler": "grid",
            "early_stopping": {"name": f"{name}:{rule}", "max_epochs": 3, **keywords},
        },
    )


def test_a_search_stops_trials_by_a_rule_in_a_file(folder: Path, ray_cluster: None) -> None:
    spec = function_spec(folder, "Floor", floor=0.45)
    report = run_search(spec, folder / "runs")
    record = Runs(folder / "runs").search("small").open_record()
    name = spec.search.early_stopping.name
    assert report.best is not None and report.best.values["space"]["level"] == 0.7
    for trial in record.trials:
        level = trial.values["space"]["level"]
        if level + 0.02 < 0.45:
            numbers = {"score": pytest.approx(level + 0.02), "floor": 0.45}
            assert trial.outcome is Outcome.STOPPED_EARLY
            assert trial.stopped_by == StoppedBy(name, 2, numbers)
        else:
            assert (trial.outcome, trial.epochs) == (Outcome.COMPLETED, 3)
    assert sorted(trial.epochs for trial in record.trials) == [2, 2, 3]
    text = report.to_markdown()
    assert f"early stopping `{name}`" in text
    assert [line for line in text.splitlines() if line.startswith("| 2 ")]  # the rung


def test_a_rule_gets_the_direction_and_may_just_say_true(folder: Path) -> None:
    settings = {"name": f"{module(folder)}.py:Floor", "max_epochs": 3}
    lower = spec(settings, "minimize").model_copy(update={"folder": str(folder)})
    assert not make_early_stopper(lower).report(0, 2, 0.4)
    assert make_early_stopper(lower).report(0, 2, 0.6)
    check_spec(function_spec(folder, "SaysTrue"))
    says_true = make_early_stopper(function_spec(folder, "SaysTrue"))
    assert says_true.report(0, 1, 0.1) is True


@pytest.mark.parametrize(
    ("rule", "keywords", "expected"),
    [
        ("Nothing", {}, "name: .*:Nothing: can't be imported: AttributeError"),
        ("Floor", {"flor": 1.0}, r"flor: must be a keyword of .*Floor \(max_epochs, floor\)"),
        ("Floor", {"floor": "low"}, "floor: must be a number, but got 'low'"),
        (
            "Floor",
            {"max_epochs": 2},
            r"name: must make a rule whose rungs .* \(2\), but got",
        ),
        ("NoRungs", {}, r"name: must make a rule whose rungs .* \(3\), but got None"),
        ("OtherRungs", {}, r"name: must make a rule whose rungs .* but got \(3, 2\)"),
        ("NoReport", {}, "name: must make a rule with the methods report and finish"),
        ("TakesNone", {}, r"name: must take a report: trial, epoch, value \(TypeError"),
        ("fails", {}, r"early_stopping: must build \(RuntimeError: no licence\)"),
    ],
)
def test_mistakes_are_found_before_anything_trains(
    folder: Path, rule: str, keywords: dict[str, Any], expected: str
) -> None:
    with pytest.raises(SpecError) as caught:
        check_spec(function_spec(folder, rule, **keywords))
    [problem] = caught.value.problems
    assert str(problem).startswith("search.early_stopping")
    with pytest.raises(SpecError, match=f"^search.(early_stopping.)?{expected}"):
        check_spec(function_spec(folder, rule, **keywords))


def test_who_only_reads_a_record_runs_no_code_of_its_spec(folder: Path) -> None:
    spec = function_spec(folder, "Floor")
    place = folder / "record.journal"
    Record.create(place, spec)
    rule = make_registered_stopper(Record.open(place, "small").spec)
    assert (rule.rungs, rule.report(0, 2, 0.0)) == ((3,), None)
    assert module(folder) not in sys.modules


@pytest.mark.parametrize(
    "settings", [{"name": "gone"}, {"grace_period": 0}, {"grace_period": "x"}]
)
def test_who_only_reads_a_record_can_do_so_without_its_rule(settings: dict[str, Any]) -> None:
    read = spec({"max_epochs": 9, **settings})
    assert make_registered_stopper(read).rungs == (9,)
    with pytest.raises(SpecError):
        make_early_stopper(read)


@pytest.mark.usefixtures("own_registry")
def test_a_package_adds_a_rule_by_an_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "floor_plugin.py").write_text(
        "from hpsearch import register\n"
        + RULES.replace("class Floor", '@register("early_stopping", "floor")\nclass Floor')
    )
    info = tmp_path / "floor_plugin-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: floor-plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[hpsearch.components]\nfloor = floor_plugin\n")
    monkeypatch.setattr(importing, "_plugins_loaded", False)
    monkeypatch.syspath_prepend(str(tmp_path))
    rule = make_early_stopper(spec({"name": "floor", "max_epochs": 3, "floor": 0.9}))
    assert rule.report(0, 2, 0.8)
    titles = [each.get("title") for each in json_schema()["$defs"]["early_stopping"]["anyOf"]]
    assert "early_stopping floor" in titles
