"""`hpsearch learning-curve`: what it can't fit is refused before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hpsearch import learning_curve
from hpsearch.cli import app
from hpsearch.errors import HpsearchError
from hpsearch.outcome import Outcome
from hpsearch.runs import Runs
from hpsearch.spec import SearchSpec
from tests.support.specs import make_spec

CONSTANT = {"model": "mlp", "optimizer": {"name": "sgd", "lr": 0.1}, "batch_size": 32}
REINFORCED = {
    "dataset": None,
    "environment": {"id": "CartPole-v1"},
    "agent": {"name": "dqn"},
    "objective": {"metric": "val_return"},
}


@pytest.fixture(autouse=True)
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def trained(*arguments: object, **keywords: object) -> None:
        raise AssertionError("was trained")

    monkeypatch.setattr(learning_curve, "learning_points", trained)


def of_one_trial(folder: Path, spec: SearchSpec, value: float) -> list[str]:
    """Return the command for a search that has ended with a value."""
    record = Runs(folder / "runs").create(spec).take_over()
    record.add_trial({})
    record.report(0, 1, {spec.objective.metric: value})
    record.end_trial(0, Outcome.COMPLETED)
    return ["learning-curve", spec.name, "--runs", str(folder / "runs")]


def refused(command: list[str], match: str) -> None:
    with pytest.raises(HpsearchError, match=match):
        CliRunner().invoke(app, command, catch_exceptions=False)


def test_a_search_without_a_data_set_is_refused(tmp_path: Path) -> None:
    command = of_one_trial(tmp_path, make_spec(tmp_path, **CONSTANT, **REINFORCED), 20.0)
    refused(command, "needs dataset, model and optimizer.*; it has no dataset")


def test_an_objective_without_a_law_is_refused(tmp_path: Path) -> None:
    command = of_one_trial(tmp_path, make_spec(tmp_path, **CONSTANT), 20.0)
    refused(command, "val_accuracy: .* score of at most 1, but got 20")


@pytest.mark.parametrize("metric", ["seconds", "train_loss", "grad_norm"])
def test_only_validation_rows_tell_of_more_rows(tmp_path: Path, metric: str) -> None:
    objective = {"metric": metric, "direction": "minimize"}
    spec = make_spec(tmp_path, **CONSTANT, objective=objective)
    refused(of_one_trial(tmp_path, spec, 0.5), f"{metric}: .* metric of the validation rows")


def test_a_page_in_no_folder_is_refused(tmp_path: Path) -> None:
    command = of_one_trial(tmp_path, make_spec(tmp_path, **CONSTANT), 0.5)
    refused([*command, "--html", str(tmp_path / "none" / "page.html")], "none is not a folder")
