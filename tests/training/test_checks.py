"""The checks of a trial: each passes a sound one, and finds what it is for."""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hpsearch import registry
from hpsearch.components import Arrays, Data, load_data
from hpsearch.components.tasks.kinds import Statement
from hpsearch.errors import BadConfigurationError
from hpsearch.training import CrossValidation, Trainer
from hpsearch.training.checks.by_name import Finding, check_trial, run_checks
from tests.support.trainers import make

ROOT = Path(__file__).parents[2]


def finding(trainer: Trainer, name: str) -> Finding:
    (found,) = run_checks(trainer, [name])
    return found


@pytest.fixture(scope="module")
def digits() -> Data:
    return load_data({"name": "digits", "train_rows": 300}, seed=0)


SOUND = {"name": "mlp", "hidden_sizes": [32], "dropout": 0.2}


def with_model(data: Data, model: nn.Module) -> Trainer:
    trainer = make(data, model=SOUND)
    trainer.model = model
    return trainer


@pytest.mark.parametrize("name", registry.names("check"))
class TestEveryCheck:
    def test_passes_a_sound_trial(self, digits: Data, name: str) -> None:
        model = {**SOUND, "hidden_sizes": [32, 32]}
        trainer = make(digits, model=model, initializer={"name": "xavier_uniform"})
        assert finding(trainer, name).ok

    def test_leaves_the_trainer_as_it_was(self, wine: Data, name: str) -> None:
        plain, checked = make(wine, model=SOUND), make(wine, model=SOUND)
        state = torch.get_rng_state()
        run_checks(checked, [name])
        assert torch.equal(state, torch.get_rng_state())
        plain.train_epoch()
        checked.train_epoch()
        pairs = zip(plain.model.parameters(), checked.model.parameters(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


class Softmax(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.softmax(1)


class AlwaysDrops(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.5, training=True)


class OverTheBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


class Blind(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 0


def net(*between: nn.Module, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(13, 8), nn.ReLU(), *between, nn.Linear(8, 3, bias=bias))


@pytest.mark.parametrize(
    ("name", "model", "severity", "message"),
    [
        ("logits_not_probs", net().append(Softmax()), "error", "leave the softmax out"),
        ("overfit_tiny_batch", net(Blind()), "warning", "can't fit even these"),
        ("batch_invariance", net(OverTheBatch()), "warning", "differ by"),
        ("eval_mode", net(AlwaysDrops()), "warning", "vary between calls"),
        ("missing_bias", net(bias=False), "warning", "no bias"),
    ],
)
def test_finds_what_it_is_for(
    wine: Data, name: str, model: nn.Module, severity: str, message: str
) -> None:
    found = finding(with_model(wine, model), name)
    assert not found.ok
    assert found.severity == severity
    assert message in found.message


def test_loss_at_init(wine: Data) -> None:
    found = finding(make(wine, model=SOUND, initializer={"name": "large"}), "loss_at_init")
    assert not found.ok
    assert "a uniform guess has 1.099" in found.message


def test_a_head_that_begins_with_the_frequencies_is_sound(wine: Data) -> None:
    initializer = {"name": "zeros", "output_bias": "log_prior"}
    assert finding(make(wine, initializer=initializer), "loss_at_init").ok


def test_redundant_bias(wine: Data) -> None:
    model = {"name": "mlp", "hidden_sizes": [8], "norm": "batch"}
    found = finding(make(wine, model=model), "redundant_bias")
    assert (found.ok, "the biases of 1 are" in found.message) == (False, True)
    assert finding(make(wine, model={**model, "bias": False}), "redundant_bias").ok


def test_symmetry(wine: Data) -> None:
    found = finding(make(wine, model=SOUND, initializer={"name": "zeros"}), "symmetry")
    assert (found.ok, found.severity) == (False, "error")
    assert "all units of layer 1 are identical" in found.message


def test_split_leakage(wine: Data) -> None:
    assert isinstance(wine.train, Arrays) and isinstance(wine.val, Arrays)
    mixed = Arrays(np.concatenate([wine.val.x, wine.train.x[:5]]), np.zeros(len(wine.val) + 5))
    leaking = dataclasses.replace(wine, val=mixed)
    found = finding(make(leaking, model=SOUND), "split_leakage")
    assert not found.ok
    assert "5 of the validation split" in found.message


class TestInATrial:
    def test_an_error_ends_it(self, wine: Data) -> None:
        trainer = make(wine, model=SOUND, initializer={"name": "zeros"})
        with pytest.raises(BadConfigurationError, match=r"checks.symmetry: all units of layer"):
            check_trial(trainer, ["loss_at_init", "symmetry"])

    def test_a_warning_is_logged(self, wine: Data, caplog: pytest.LogCaptureFixture) -> None:
        trainer = make(wine, model=SOUND, initializer={"name": "large"})
        with caplog.at_level(logging.WARNING):
            check_trial(trainer, ["loss_at_init"])
        assert "trial 0: loss_at_init: warning: first loss" in caplog.text

    def test_the_first_fold_stands_for_all(self) -> None:
        data = load_data({"name": "wine", "folds": 3}, seed=0)
        config = make(load_data({"name": "wine"}, seed=0), initializer={"name": "zeros"}).config
        with pytest.raises(BadConfigurationError, match="symmetry"):
            check_trial(CrossValidation(config, data), ["symmetry"])


def test_a_spec_is_diagnosed_at_both_ends(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    text = (ROOT / "search_spaces" / "wine_mlp.yaml").read_text()
    spec.write_text(text)
    done = diagnose(spec)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("loss_at_init") == 2 and "high ends" in done.stdout
    done = diagnose(spec, "--set", "initializer=zeros", "--set", "checks=[symmetry]")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "all units of layer" in done.stdout


def diagnose(spec: Path, *options: str) -> Any:
    command = [sys.executable, "-m", "hpsearch.cli", "diagnose", str(spec), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_norms_that_evaluate_by_batch_are_found_by_pairs_of_rows(wine: Data) -> None:
    by_batch = {**SOUND, "norm": {"name": "batch", "evaluation": "batch"}}
    found = finding(make(wine, model=by_batch), "batch_invariance")
    assert not found.ok and "of a batch and of pairs of rows differ by" in found.message


@pytest.mark.parametrize("name", registry.names("check"))
def test_of_a_model_that_gives_several_tensors_the_first_is_looked_at(name: str) -> None:
    said = Statement("reconstruction", "the task is for reconstruction")
    data = load_data({"name": "digits", "train_rows": 60}, seed=0, said=said)
    vae = {"name": "autoencoder", "hidden_sizes": [8], "variational": True}
    assert all(each.check == name for each in run_checks(make(data, model=vae), [name]))
