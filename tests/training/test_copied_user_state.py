"""The state of another trial as a training function or a class loads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hpsearch.spec import TrialConfig
from hpsearch.training.user_code.classes import ClassTrainer
from hpsearch.training.user_code.copied import of_its_own
from hpsearch.training.user_code.functions import FunctionTrainer

CODE = """
import torch
from torch import nn

def parts(config):
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"], momentum=config["momentum"])
    return model, optimizer

def train(config, trial):
    model, optimizer = parts(config)
    if (saved := trial.load_checkpoint()) is not None:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
    while trial.epoch < trial.max_epochs:
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        group = optimizer.param_groups[0]
        yield {"score": model.bias.item(), "lr": group["lr"], "momentum": group["momentum"]}
        trial.save_checkpoint({"model": model.state_dict(), "optimizer": optimizer.state_dict()})

class Training:
    def __init__(self, config, trial):
        self.model, self.optimizer = parts(config)

    def train_epoch(self):
        self.model(torch.ones(1, 2)).sum().backward()
        self.optimizer.step()
        group = self.optimizer.param_groups[0]
        return {"score": 0.0, "lr": group["lr"], "momentum": group["momentum"]}

    def state_dict(self):
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state):
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
"""
OLD = {"space": {"lr": 0.1, "momentum": 0.9, "width": 3}}
NEW = {"space": {"lr": 0.05, "momentum": 0.5, "width": 3}}


def config(folder: Path, name: str, values: dict[str, Any], **more: Any) -> TrialConfig:
    (folder / "copied_code.py").write_text(CODE)
    trainable = f"copied_code.py:{name}"
    return TrialConfig(0, 0, 4, values, "score", trainable=trainable, folder=str(folder), **more)


@pytest.mark.parametrize(
    ("name", "trainer"), [("train", FunctionTrainer), ("Training", ClassTrainer)]
)
def test_its_optimizer_has_the_copys_hyperparameters(
    tmp_path: Path, name: str, trainer: Any
) -> None:
    source = trainer(config(tmp_path, name, OLD), "cpu", "score")
    assert [source.train_epoch()["lr"] for _ in range(2)] == [0.1, 0.1]
    state = source.state_dict()
    source.close()
    copied = config(tmp_path, name, NEW, copied_epochs=2, copied_values=OLD)
    copy = trainer(copied, "cpu", "score")
    copy.load_state_dict(state)
    told = copy.train_epoch()
    assert (copy.epoch, told["lr"], told["momentum"]) == (3, 0.05, 0.5)
    own = copy.state_dict()
    copy.load_state_dict(own)  # its own state is as it was
    assert copy.train_epoch()["lr"] == 0.05
    copy.close()


def test_rates_that_were_changed_since_keep_their_proportion() -> None:
    model = nn.Linear(2, 1)
    groups = [{"params": [model.weight]}, {"params": [model.bias], "lr": 0.2}]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    optimizer.step()
    scheduler.step()
    state = {
        "net": [model.state_dict()],
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
    }
    copied = of_its_own(
        state, TrialConfig(0, 0, 4, NEW, copied_epochs=1, copied_values=OLD), epoch=1
    )
    found = copied["optimizer"]["param_groups"]
    assert [group["lr"] for group in found] == [0.025, 0.05]
    assert [group["initial_lr"] for group in found] == [0.05, 0.1]
    assert [group["momentum"] for group in found] == [0.5, 0.5]
    assert copied["scheduler"]["base_lrs"] == [0.05, 0.1]
    assert copied["net"][0] is state["net"][0]  # type: ignore[index]
    assert optimizer.param_groups[0]["lr"] == 0.05


@pytest.mark.parametrize("epoch", [1, 3])
def test_its_own_state_is_left_as_it_is(epoch: int) -> None:
    state = {"param_groups": [{"lr": 0.1}]}
    mine = TrialConfig(0, 0, 4, NEW, copied_epochs=2, copied_values=OLD)
    assert of_its_own(state, mine, epoch) is state
