"""Keywords that change nothing beside others are refused, unless a trial has others."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.problems import problems_of
from tests.support.specs import changed


def messages(**sections: Any) -> list[str]:
    fixed = {"model": {"name": "mlp", "hidden_sizes": [4]}, "batch_size": 16}
    epochs = {"search": {"early_stopping": {"max_epochs": 4}}}
    return [str(each) for each in problems_of(changed(**{**fixed, **epochs, **sections}))]


def autoencoder(
    task: dict[str, Any], name: str = "autoencoder", augmentations: Any = (), **model: Any
) -> list[str]:
    more = {"augmentations": augmentations} if augmentations else {}
    return messages(
        **more,
        dataset={"name": "digits"},
        objective={"metric": "val_loss", "direction": "minimize"},
        task={"name": "reconstruction", **task},
        model={"name": name, "code_size": 2, **model},
    )


def agent(**keywords: Any) -> list[str]:
    raw = {
        "name": "acting",
        "objective": {"metric": "val_return"},
        "environment": {"name": "gymnasium", "id": "CartPole-v1", "epoch_steps": 200},
        "agent": {"name": "reinforce", **keywords},
        "model": {"name": "mlp", "hidden_sizes": [8]},
        "optimizer": {"name": "adam", "lr": {"low": 1e-3, "high": 1e-2}},
    }
    return [str(each) for each in problems_of(raw)]


@pytest.mark.parametrize(
    ("share", "is_refused"), [(0, True), (0.0, True), ({"low": 0.0, "high": 1.0}, False)]
)
def test_a_decay_of_no_teacher_forcing(share: Any, is_refused: bool) -> None:
    keywords = {"teacher_forcing": share, "teacher_forcing_decay": 0.1}
    found = messages(
        dataset={"name": "counting"},
        task="sequence_generation",
        model={"name": "encoder_decoder", "hidden_size": 4, **keywords},
    )
    rule = "model.teacher_forcing_decay: must be left out where teacher_forcing is 0, but got 0.1"
    assert found == ([rule] if is_refused else [])


@pytest.mark.parametrize(
    ("ensemble", "problem"),
    [
        ({"cycles": 3, "members": 3}, ""),
        ({"cycles": 3, "members": 4}, "ensemble.members: must be at most the cycles (3), each "),
        ({"cycles": {"low": 2, "high": 4}, "members": 4}, ""),
        ({"cycles": 5}, "ensemble.cycles: must be at most the epochs of a trial (4), but got 5"),
    ],
)
def test_members_of_an_ensemble(ensemble: dict[str, Any], problem: str) -> None:
    found = messages(ensemble={"name": "snapshot", **ensemble})
    assert [each[: len(problem)] for each in found] == ([problem] if problem else [])


@pytest.mark.parametrize(
    ("averaging", "is_refused"),
    [
        ({"start": 0.0, "every": 3}, False),
        ({"start": 0.0, "every": 4}, True),
        ({"start": 0.5, "every": 2}, True),
        ({"start": {"low": 0.0, "high": 0.5}, "every": 2}, False),
    ],
)
def test_steps_between_epochs_that_are_averaged(
    averaging: dict[str, Any], is_refused: bool
) -> None:
    found = messages(weight_averaging={"name": "swa", **averaging})
    rule = "weight_averaging.every: must leave two epochs of 4 to average"
    assert [each[: len(rule)] for each in found] == [rule] * is_refused


@pytest.mark.parametrize(
    ("max_epochs", "averaging", "problem"),
    [
        (4, {}, "start: must leave two epochs of 4 to average, such as 0.5, but got 0.75"),
        (4, {"start": 0.74}, ""),
        (3, {"start": 0.5}, ""),
        (3, {"start": 0.7}, "start: must leave two epochs of 3 to average, such as 0.33, but go"),
        (4, {"start": {"low": 0.5, "high": 0.9}}, ""),
        (5, {}, ""),
        (1, {}, ": must be left out where a trial has one epoch, but got 'swa'"),
    ],
)
def test_a_single_epoch_is_no_average(
    max_epochs: int, averaging: dict[str, Any], problem: str
) -> None:
    search = {"early_stopping": {"name": "none", "max_epochs": max_epochs}}
    found = messages(weight_averaging={"name": "swa", **averaging}, search=search)
    found = [each.removeprefix("weight_averaging").removeprefix(".") for each in found]
    assert [each[: len(problem)] for each in found] == [problem] * bool(problem)


@pytest.mark.parametrize("key", ["value_weight", "shared"])
def test_a_baseline_that_is_not_there(key: str) -> None:
    given = {"value_weight": 0.2, "shared": True}[key]
    rule = f"agent.{key}: must be left out where baseline is false"
    (found,) = agent(baseline=False, **{key: given})
    assert found.startswith(rule)
    assert not agent(baseline={"choices": [True, False]}, **{key: given})


@pytest.mark.parametrize("name", ["autoencoder", "conv_autoencoder"])
def test_divergences_and_corruptions_that_are_not_there(name: str) -> None:
    for key, given in {"kl_weight": 0.5, "kl_warmup_epochs": 3}.items():
        (found,) = autoencoder({key: given}, name=name)
        assert found.startswith(f"task.{key}: must be given with a variational autoencoder only")
    (found,) = autoencoder({}, name=name, corruption_rate=0.2)
    assert found.startswith("model.corruption_rate: must be left out where corruption is none")
    either = {"choices": [False, True]}
    assert not autoencoder({"kl_weight": 0.5}, name=name, variational=either)
    assert not autoencoder({}, name=name, corruption="gaussian", corruption_rate=0.2)


@pytest.mark.parametrize("name", ["autoencoder", "conv_autoencoder"])
def test_draws_that_are_not_there(name: str) -> None:
    (found,) = autoencoder({}, name=name, draws=3)
    assert found.startswith("model.draws: must be left out where variational is false, but got 3")
    task = {"bound": "importance_weighted", "likelihood": "gaussian"}
    (found,) = autoencoder(task, name=name, variational=True)
    assert found.startswith("task.bound: must be given with several draws a code only (model.dr")
    for draws in (2, {"choices": [1, 5]}, {"low": 1, "high": 4}):
        assert not autoencoder(task, name=name, variational=True, draws=draws)


def test_a_divergence_whose_full_weight_no_epoch_has() -> None:
    (found,) = autoencoder({"kl_warmup_epochs": 4}, variational=True)
    assert found == (
        "task.kl_warmup_epochs: must be below the 4 epochs of a trial, which reach the full "
        "weight, but got 4"
    )
    for given in (3, {"choices": [0, 4]}, {"low": 1, "high": 9}):
        assert not autoencoder({"kl_warmup_epochs": given}, variational=True)


@pytest.mark.parametrize("variational", [True, {"choices": [True, False]}])
@pytest.mark.parametrize("name", ["autoencoder", "conv_autoencoder"])
def test_codes_of_a_task_without_a_divergence(name: str, variational: Any) -> None:
    restoration = {"task": {"name": "restoration"}, "augmentations": ["gaussian_noise"]}
    rule = "model.variational: must be false for restoration, whose loss has no divergence"
    found = autoencoder(**restoration, name=name, variational=variational)
    assert [each[: len(rule)] for each in found] == [rule]
    assert autoencoder(**restoration, name=name, variational=False) == []


@pytest.mark.parametrize(("name", "is_refused"), [("gaussian_noise", True), ("mixup", False)])
def test_what_fills_up_stays_as_it_is(name: str, is_refused: bool) -> None:
    found = messages(
        dataset={"name": "adding_problem", "sequences": 100, "length": 5},
        objective={"metric": "val_loss", "direction": "minimize"},
        model={"name": "rnn", "hidden_size": 4, "mask_value": 0.0},
        augmentations=[name],
    )
    rule = "model.mask_value: must be left out with gaussian_noise, which changes the values that "
    assert [each[: len(rule)] for each in found] == [rule] * is_refused
