"""`hpsearch lr-range`: the range as a table, a page, a spec that can be run, and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from hpsearch.cli import app
from hpsearch.errors import HpsearchError, SpecError
from hpsearch.outcome import Outcome
from hpsearch.record import Finalist, FinalNote
from hpsearch.runs import Runs
from hpsearch.spec import draft_spec
from hpsearch.validation import load_checked_spec
from tests.support.specs import make_spec

SPEC = """
name: digits
objective: {metric: val_accuracy}
dataset: digits
model: {name: mlp, hidden_sizes: [32]}
optimizer: {name: sgd, lr: {low: 1e-6, high: 10.0, log: true}, momentum: 0.9}
search: {lr: auto, early_stopping: {max_epochs: 3}}
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "digits.yaml"
    path.write_text(SPEC)
    return path


def test_writes_a_spec_with_the_range_and_a_page(spec: Path) -> None:
    result = CliRunner().invoke(app, ["lr-range", str(spec)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "optimizer.lr: " in result.output and "by range test" in result.output
    found = load_checked_spec(spec.with_name("digits-lr-range.yaml"))
    lr = found.optimizer["lr"]
    assert 1e-4 < lr.low < 0.05 < lr.high < 5 and found.search.lr is None
    page = spec.with_name("digits-lr-range.html").read_text()
    assert "lr_range:optimizer.lr" in page and "batch size 64" in page


def test_json_has_the_curves_the_verdicts_and_the_spec(spec: Path) -> None:
    constant = ["--set", "optimizer.lr=0.1", "--set", "search.lr=null"]
    command = ["lr-range", str(spec), "--json", *constant]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    plain = json.loads(result.output)
    [found] = plain["ranges"]
    [curve] = found["curves"]
    assert found["is_found"] and curve["settings"] == {"batch_size": 64}
    assert curve["verdict"]["minimum"] < found["high"]
    assert len(curve["rates"]) == len(curve["losses"])
    assert plain["spec"]["optimizer"]["lr"]["low"] == found["low"]
    assert not spec.with_name("digits-lr-range.yaml").exists()


def test_a_folder_that_is_not_there_is_refused_before_the_tests(
    spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpsearch.lr_range.find_lr_ranges", None)  # it isn't called
    command = ["lr-range", str(spec), "--to", str(spec.parent / "none")]
    with pytest.raises(HpsearchError, match="can't be written: .*none is not a folder"):
        CliRunner().invoke(app, command, catch_exceptions=False)


def test_needs_an_optimizer_that_hpsearch_knows(tmp_path: Path) -> None:
    (tmp_path / "own_loop.py").write_text("def train(config, trial): yield {'val_accuracy': 0.5}")
    own = tmp_path / "own.yaml"
    own.write_text(
        "{name: own, objective: {metric: val_accuracy}, trainable: 'own_loop.py:train', "
        "space: {lr: {low: 0.1, high: 1.0}}}"
    )
    with pytest.raises(HpsearchError, match="needs model, dataset and optimizer; it has no data"):
        CliRunner().invoke(app, ["lr-range", str(own)], catch_exceptions=False)


def test_prints_the_next_spec(tmp_path: Path) -> None:
    place = Runs(tmp_path / "runs")
    space = {"lr": {"low": 1e-3, "high": 1.0, "log": True}}
    (tmp_path / "loop_of_mine.py").write_text("def train(config, trial): ...")
    record = place.create(
        make_spec(tmp_path, trainable="loop_of_mine.py:train", space=space)
    ).take_over()
    for number in range(24):
        record.add_trial({"lr": 0.001 * 1.33**number})
        record.report(number, 1, {"val_accuracy": number / 24})
        record.end_trial(number, Outcome.COMPLETED)
    command = ["next", "small", "--runs", str(place.path)]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    comment, text = result.output.split("\n", 1)
    assert comment.startswith("# lr: 0.001 to 1, next 0.048 to 1: the best 8 trials lie from ")
    spec = draft_spec(yaml.safe_load(text), tmp_path).spec
    assert spec is not None and spec.name == "small-next" and spec.space["lr"].low == 0.048
    result = CliRunner().invoke(app, [*command, "--json"], catch_exceptions=False)
    assert json.loads(result.output)["changes"][0]["name"] == "lr"


def test_compares_searches_and_writes_a_page(tmp_path: Path) -> None:
    place = Runs(tmp_path / "runs")
    for name, values in {"a": (0.9, 0.91, 0.92), "b": (0.5, 0.51, 0.52)}.items():
        space = {"x": {"low": 0.0, "high": 1.0}}
        spec = make_spec(tmp_path, name=name, trainable="train.py:train", space=space)
        record = place.create(spec).take_over()
        record.add_trial({"x": 0.5})
        record.report(0, 1, {"val_accuracy": values[0]})
        record.end_trial(0, Outcome.COMPLETED)
        record.set_final(FinalNote((Finalist(0, values),), 3, is_ranked=True))
    page = tmp_path / "page.html"
    command = ["compare", "a", "b", "--runs", str(place.path)]
    result = CliRunner().invoke(app, [*command, "--html", str(page)], catch_exceptions=False)
    assert "b is worse than a by 0.4" in result.output and "0.91 ± 0.01" in result.output
    assert "best_by_epochs" in page.read_text()
    result = CliRunner().invoke(app, [*command, "--json"], catch_exceptions=False)
    [found] = json.loads(result.output)["differences"]
    assert found["mean"] == pytest.approx(-0.4) and found["interval"][1] < 0
    both = json.loads(result.output)["targets"]
    assert [[each["target"] for each in both[name]] for name in "ab"] == [[0.5], [0.5]]
    status = ["status", "b", "--target", "0.5", "--target", "0.9", *command[3:]]
    text = CliRunner().invoke(app, status, catch_exceptions=False).output
    assert "val_accuracy ≥ 0.5: trial 0 at epoch 1, after 1 epoch of all trials and " in text
    assert "val_accuracy ≥ 0.9: not reached" in text
    [soon, never] = json.loads(CliRunner().invoke(app, [*status, "--json"]).output)["targets"]
    assert (soon["epochs"], never["epochs"]) == (1, None)
    for wrong in ("nan", "1e400", "high"):
        with pytest.raises(
            SpecError, match=f"--target: must be a finite number, but got '{wrong}'"
        ):
            CliRunner().invoke(app, ["status", "b", "--target", wrong], catch_exceptions=False)
    with pytest.raises(HpsearchError, match="one for each, but got 2 and 1"):
        CliRunner().invoke(app, [*command, "--with", "a"], catch_exceptions=False)
