"""A search in one call: what becomes of its arguments, and the search itself."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import threading
from pathlib import Path
from textwrap import dedent
from typing import Any

import mlflow
import optuna
import pytest
import torch

import hpsearch
from hpsearch import Choice, Float, Int
from hpsearch.by_value import FOLDER, with_named_code
from hpsearch.errors import HpsearchError, SpecError
from hpsearch.formatting import show
from hpsearch.functional import _free_name, _raw_spec
from hpsearch.notebook import progress_html
from hpsearch.outcome import Outcome
from hpsearch.record import Record
from hpsearch.runs import Runs
from hpsearch.spec import draft_spec
from tests.support.specs import make_spec


def raw(trainable: Any = None, space: Any = None, **more: Any) -> dict[str, Any]:
    return _raw_spec(trainable, space, "acc", "maximize", more.pop("max_epochs", None), more)


def test_keywords_are_keys_of_a_spec_and_of_its_search() -> None:
    found = raw("t.py:f", {"lr": Float(0.1, 1)}, trials=3, resources={"cpu": 2}, max_epochs=9)
    assert found == {
        "trainable": "t.py:f",
        "space": {"lr": {"low": 0.1, "high": 1.0}},
        "objective": {"metric": "acc", "direction": "maximize"},
        "resources": {"cpu": 2},
        "search": {"trials": 3, "early_stopping": {"name": "asha", "max_epochs": 9}},
    }
    rule = raw(max_epochs=2, early_stopping="median")["search"]["early_stopping"]
    assert rule == {"name": "median", "max_epochs": 2}


def test_an_unknown_keyword_is_an_error() -> None:
    with pytest.raises(SpecError, match="trails: must be a key of a spec .* mean 'trials'"):
        raw(trails=3)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (optuna.distributions.FloatDistribution(0.1, 1, log=True), Float(0.1, 1, log=True)),
        (optuna.distributions.FloatDistribution(0, 1, step=0.25), Float(0, 1, step=0.25)),
        (optuna.distributions.IntDistribution(1, 8), Int(1, 8)),
        (optuna.distributions.IntDistribution(2, 8, step=2), Int(2, 8, step=2)),
        (optuna.distributions.CategoricalDistribution(["a", None]), Choice(["a", None])),
    ],
)
def test_distributions_of_optuna_are_ranges(value: Any, plain: Any) -> None:
    assert raw(space={"x": value})["space"] == {"x": plain}


def test_a_wrong_range_is_told_at_its_place(tmp_path: Path) -> None:
    (tmp_path / "t.py").write_text("def f(config, trial): ...")
    draft = draft_spec({"name": "x", **raw("t.py:f", {"lr": Float(1, 0.1)})}, tmp_path)
    assert [str(each) for each in draft.problems] == [
        "space.lr: low must be less than high, but got {'low': 1.0, 'high': 0.1}"
    ]


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    place = Runs(tmp_path)
    assert _free_name(place, test_a_wrong_range_is_told_at_its_place)[:4] == "test"
    assert _free_name(place, lambda: 1) == "search"
    place.create(make_spec(name="search"))
    assert _free_name(place, None) == "search-2"


def loaded(name: str, folder: Path) -> Any:
    file, _, attribute = name.rpartition(":")
    spec = importlib.util.spec_from_file_location("loaded_code", folder / file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, attribute)


def test_code_is_named_and_kept_with_its_source(tmp_path: Path) -> None:
    scale = 3

    def width(x: int) -> int:
        return scale * x

    named = with_named_code({"model": {"name": width}, "n": [1]}, tmp_path / "runs", tmp_path)
    assert named["n"] == [1]
    name = named["model"]["name"]
    assert name.startswith(f"runs/{FOLDER}/code_")
    assert loaded(name, tmp_path)(2) == 6
    source = next((tmp_path / "runs").rglob("source.txt")).read_text()
    assert "return scale * x" in source


def test_code_of_one_name_keeps_apart(tmp_path: Path) -> None:
    codes = [lambda number=number: number for number in range(3)]
    raw = {"choices": [*codes, codes[0]]}
    names = with_named_code(raw, tmp_path / "runs", tmp_path)["choices"]
    assert [loaded(name, tmp_path)() for name in names] == [0, 1, 2, 0]


def test_code_that_cannot_be_pickled_is_an_error(tmp_path: Path) -> None:
    lock = threading.Lock()

    def train(config: Any, trial: Any) -> Any:
        return lock

    with pytest.raises(SpecError, match="train: must be picklable .*TypeError.*lock"):
        with_named_code({"trainable": train}, tmp_path, tmp_path)


def test_names_alone_make_no_code(tmp_path: Path) -> None:
    assert with_named_code({"model": "mlp"}, tmp_path, tmp_path) == {"model": "mlp"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("ray_cluster")
def test_a_function_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    offset = torch.tensor(0.5)

    def train(config: dict[str, Any], trial: Any) -> Any:
        for epoch in range(trial.epoch + 1, trial.max_epochs + 1):
            yield {"acc": config["lr"] + epoch + offset}
            trial.save_checkpoint({"epoch": epoch, "lr": config["lr"]})

    space = {"lr": Float(0.1, 0.4), "n": Choice([1, 2])}
    result = hpsearch.search(train, space=space, metric="acc", trials=2, max_epochs=2)
    assert (result.name, result.state) == ("train", "finished")
    best = result.best
    assert best.outcome is Outcome.COMPLETED
    value = show(best.last("acc"))
    assert repr(best) == f"<BestTrial {best.number}: acc {value} after 2 epochs, {best.params}>"
    assert best.load_checkpoint() == {"epoch": 2, "lr": best.params["lr"]}
    with pytest.raises(
        HpsearchError, match="has no registered model: its training is your own code"
    ):
        best.load_model()
    mlflow.set_tracking_uri(Runs(tmp_path / "runs").tracking_uri)
    files = Path(mlflow.artifacts.download_artifacts("models:/train@best"))
    assert torch.load(files / "checkpoint.pt") == best.load_checkpoint()
    opened = hpsearch.open_search("train")
    assert opened.best.load_checkpoint() == best.load_checkpoint()
    assert opened.trials.equals(result.trials)
    assert json.loads((files / "config.json").read_text()) == best.params
    assert set(result.figures) >= {"objective", "curves"}
    assert "<table" in progress_html(result.record)


def test_a_script_s_model_is_searched_and_predicts(tmp_path: Path) -> None:
    program = """
        import torch, hpsearch

        def net(input_shape, output_size, width: int = 8):
            return torch.nn.Sequential(
                torch.nn.Linear(input_shape[0], width), torch.nn.ReLU(),
                torch.nn.Linear(width, output_size),
            )

        result = hpsearch.search(
            metric="val_accuracy", dataset="wine",
            model={"name": net, "width": hpsearch.Int(4, 8)},
            optimizer={"name": "adam", "lr": 0.01}, trials=1, max_epochs=1, progress=False,
        )
        print(type(result.best.load_model()).__name__, result.predict([[1.0] * 13]).shape)
    """
    command = [sys.executable, "-c", dedent(program)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith("(1,)")
    assert isinstance(Runs(tmp_path / "runs").search("search").open_record(), Record)
