"""What trains a trial is chosen by a family of the registry, which users add to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hpsearch import registry, run_search
from hpsearch.components import Data, load_data
from hpsearch.errors import SpecError, UserCodeError
from hpsearch.outcome import Outcome
from hpsearch.registry import register
from hpsearch.runs import Runs
from hpsearch.spec import TrialConfig, draft_spec
from hpsearch.training import CrossValidation, Trainer, launch
from hpsearch.training.command import CommandTrainer
from hpsearch.training.launchers import exports_model, suiting
from hpsearch.training.reinforcement.trainer import ReinforcementTrainer
from hpsearch.training.user_code.classes import ClassTrainer
from hpsearch.training.user_code.functions import FunctionTrainer
from hpsearch.validation import check_spec
from tests.support.environments import LAKE
from tests.support.environments import config as agent_config
from tests.support.specs import changed, make_spec

VALUES = {
    "model": {"name": "mlp", "hidden_sizes": [4]},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "batch_size": 32,
}
CODE = """
from hpsearch import Trainer

def function(config, trial):
    yield {"score": 1.0}

class Net:
    def __init__(self, config, trial): ...
    def train_epoch(self): return {"score": 2.0}
    def state_dict(self): return {}
    def load_state_dict(self, state): ...

class Counting:
    "A trainer of a user's: no model, only numbers."
    end_reason = "counted"

    def __init__(self, config, step):
        self.epoch, self.step = 0, step

    def train_epoch(self):
        self.epoch += 1
        return {"val_accuracy": self.epoch * self.step}

    def state_dict(self):
        return {"epoch": self.epoch}

    def load_state_dict(self, state):
        self.epoch = state["epoch"]

    def close(self): ...

def counting(config, data, step: float = 0.1):
    assert data.num_train_rows > 0
    return Counting(config, step)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / file(tmp_path)).write_text(CODE)
    return tmp_path


pytestmark = pytest.mark.usefixtures("own_registry")


def file(folder: Path) -> str:
    return f"launched_{abs(hash(str(folder)))}.py"


def user_config(folder: Path, name: str) -> TrialConfig:
    trainable = f"{file(folder)}:{name}"
    return TrialConfig(0, 0, 2, {"space": {}}, trainable=trainable, folder=str(folder))


def test_each_kind_of_trial_has_its_launcher(folder: Path, wine: Data) -> None:
    built_in = TrialConfig(0, 0, 2, VALUES)
    wine_folds = load_data({"name": "wine", "folds": 3}, seed=0)
    expected: list[tuple[TrialConfig, Data | None, str, type]] = [
        (built_in, wine, "components", Trainer),
        (built_in, wine_folds, "cross_validation", CrossValidation),
        (user_config(folder, "function"), None, "function", FunctionTrainer),
        (user_config(folder, "Net"), None, "class", ClassTrainer),
        (replace(built_in, command={"run": ["true"]}), None, "command", CommandTrainer),
        (agent_config(LAKE, {"name": "q_table"}), None, "reinforcement", ReinforcementTrainer),
    ]
    assert sorted(name for _, _, name, _ in expected) == registry.names("launcher")
    for config, data, name, kind in expected:
        assert suiting(config, data) == name
        trainer = launch(config, data)
        assert isinstance(trainer, kind)
        assert exports_model(config, data) == (data is not None)
        trainer.close()


def test_a_launcher_that_is_registered_is_taken_where_it_suits(wine: Data) -> None:
    def is_wide(config: TrialConfig, data: Data | None) -> bool:
        return config.values.get("width") == 9

    @register("launcher", "wide", traits={"suits": is_wide})
    def wide(config: TrialConfig, device: torch.device) -> Any:
        return ("wide", config.number, device.type)

    width = TrialConfig(3, 0, 2, {"width": 9}, trainable="json.py:none")
    with pytest.raises(UserCodeError):  # others look at what `trainable` names
        launch(width, None)
    with pytest.raises(
        UserCodeError, match="launcher: must be given: components and wide suit the trial"
    ):
        launch(TrialConfig(3, 0, 2, {**VALUES, "width": 9}), wine)
    named = TrialConfig(3, 0, 2, {**VALUES, "width": 9, "launcher": {"name": "wide"}})
    made: Any = launch(named, wine)
    assert made == ("wide", 3, "cpu")
    assert isinstance(launch(TrialConfig(3, 0, 2, VALUES), wine), Trainer)


def test_a_search_trains_by_a_launcher_in_a_file(folder: Path, ray_cluster: None) -> None:
    launcher = {"name": f"{file(folder)}:counting", "step": 0.2}
    spec = make_spec(folder, dataset="wine", launcher=launcher, search={"trials": 2})
    assert spec.to_dict()["launcher"] == launcher
    run_search(spec, folder / "runs")
    record = Runs(folder / "runs").search("small").open_record()
    assert record.state == "finished"
    first = record.trials[0]
    assert first.outcome is Outcome.COMPLETED
    curve = first.metric("val_accuracy")
    assert np.allclose(list(curve.values()), [0.2, 0.4, 0.6])
    assert record.result == {}  # no model of the spec's sections was trained


@pytest.mark.parametrize(
    ("launcher", "expected"),
    [
        ("componentss", "launcher.name: must be one of class, command, components, cross_valida"),
        ({"name": "components", "n": 1}, "launcher.n: must be a keyword of launcher components"),
        ("function", "launcher.name: must suit the other sections, as components does, but got"),
        ("cross_validation", "launcher.name: must suit the other sections, as components does"),
        (3, "launcher: must be"),
        ({"name": "nowhere.py:f"}, "launcher.name: nowhere.py:f: can't be imported"),
    ],
)
def test_mistakes_are_found_before_anything_trains(launcher: Any, expected: str) -> None:
    draft = draft_spec(changed(launcher=launcher))
    if draft.spec is None:
        assert str(draft.problems[0]).startswith(expected)
        return
    with pytest.raises(SpecError) as caught:
        check_spec(draft.spec)
    assert [str(each)[: len(expected)] for each in caught.value.problems] == [expected]
