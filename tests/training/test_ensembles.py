"""The mean of several trials: what is evaluated and exported are their mean predictions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hpsearch.components import Data, load_data
from hpsearch.components.tasks.kinds import Statement
from hpsearch.components.tasks.label_strategies import PowersetHead
from hpsearch.components.tasks.multioutput import MixedHead
from hpsearch.errors import BadConfigurationError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer, calibrate, export_model, make_trainer
from hpsearch.training.cross_validation import CrossValidation
from hpsearch.training.ensembles import _Library, mean_metrics, put_together, select_greedily
from hpsearch.training.streams import keeping_states
from tests.support.trainers import make


def labelled() -> Mapping[str, Any]:
    """Labels of which the second is the first where an input is positive."""
    x = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    y = np.stack([x[:, 0] > 0, (x[:, 0] > 0) & (x[:, 1] > 0)], 1)
    return {"train": (x, y.astype(np.float32)), "classes": ["a", "b"]}


NARROW = {"name": "mlp", "hidden_sizes": [8], "norm": "batch"}
WIDE = {"name": "mlp", "hidden_sizes": [24, 12], "dropout": 0.3}
CNN = {"name": "cnn", "channels": [4]}


@pytest.fixture(scope="module")
def digits() -> Data:
    return load_data({"name": "digits", "train_rows": 200, "val_rows": 60}, seed=0)


def trained(data: Data, *models: dict[str, Any], **values: Any) -> list[Trainer]:
    trainers = [make(data, model=model, **values) for model in models]
    for trainer in trainers:
        trainer.train_epoch()
    return trainers


def predictions(trainer: Trainer, split: Any = "val") -> Tensor:
    outputs = trainer.predict(split)[0]
    return trainer.task.head(outputs)  # type: ignore[no-any-return]


def test_models_of_any_kind_are_averaged_and_exported(digits: Data) -> None:
    members = trained(digits, NARROW, CNN, WIDE)
    mean = torch.stack([predictions(member) for member in members]).mean(0)
    together = put_together(members)
    torch.testing.assert_close(predictions(together), mean)
    targets = together.predict("val")[1]
    metrics = mean_metrics([together])
    right = (mean.argmax(1) == targets).float().mean().item()
    assert metrics["val_accuracy"] == pytest.approx(right)
    loss = -mean.gather(1, targets[:, None]).log().mean().item()
    assert metrics["val_loss"] == pytest.approx(loss, rel=1e-5)
    assert digits.val is not None
    raw = torch.from_numpy(digits.as_raw(digits.val.x))
    with torch.no_grad():
        given = export_model(together)(raw).softmax(1)
    torch.testing.assert_close(given, mean, rtol=1e-4, atol=1e-5)


def test_a_member_may_be_an_ensemble_of_its_own(wine: Data) -> None:
    snapshots = {"name": "snapshot", "cycles": 4}
    members = [make(wine, model=NARROW, ensemble=snapshots), make(wine, model=WIDE)]
    for _ in range(3):
        members[0].train_epoch()
    mean = torch.stack([predictions(member) for member in members]).mean(0)
    torch.testing.assert_close(predictions(put_together(members)), mean)


def test_probabilities_of_different_losses_are_averaged(wine: Data) -> None:
    tasks = [
        {"name": "classification", "head": "softmax"},
        {"name": "classification", "head": "sigmoid", "loss": "soft_bce"},
    ]
    members = [trained(wine, NARROW, task=task)[0] for task in tasks]
    mean = torch.stack([predictions(member) for member in members]).mean(0)
    for order in (members, members[::-1]):
        together = put_together([make_again(wine, each) for each in order])
        torch.testing.assert_close(predictions(together), mean, rtol=1e-4, atol=1e-5)


def make_again(data: Data, trainer: Trainer) -> Trainer:
    again = Trainer(trainer.config, data)
    again.load_weights(trainer.state_dict())
    return again


def test_scores_and_probabilities_have_no_mean(wine: Data) -> None:
    svm = {"name": "classification", "loss": "l2_svm"}
    members = [*trained(wine, NARROW, task=svm), *trained(wine, NARROW)]
    rule = "task: must give trials of an ensemble predictions of one meaning, but their heads are "
    with pytest.raises(BadConfigurationError, match=f"{rule}softmax, svm"):
        put_together(members)


def test_chains_have_links_of_their_own() -> None:
    data = load_data({"name": f"{__name__}:labelled", "kind": "multilabel"}, seed=0)
    task = {"name": "multilabel", "strategy": "chain"}
    members = trained(data, NARROW, WIDE, task=task)
    with torch.no_grad():
        for shift, member in enumerate(members):
            member.task.head.links.weight.fill_(shift - 0.5)  # type: ignore[attr-defined]
    mean = torch.stack([predictions(member) for member in members]).mean(0)
    torch.testing.assert_close(predictions(put_together(members)), mean, rtol=1e-4, atol=1e-5)


def test_heads_average_predictions_not_outputs() -> None:
    outputs = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    sets = PowersetHead([[0, 0, 1], [1, 0, 0], [1, 1, 0], [0, 1, 1]])
    torch.testing.assert_close(sets(sets.mean(outputs)), sets(outputs).mean(0))
    mixed = MixedHead([("kind", ("a", "b", "c")), ("size", ())])
    torch.testing.assert_close(mixed(mixed.mean(outputs)), mixed(outputs).mean(0))


def test_numbers_are_averaged_in_their_units() -> None:
    data = load_data({"name": "diabetes", "test_fraction": 0.2}, seed=0)
    members = trained(data, NARROW, WIDE)
    raw = torch.from_numpy(data.as_raw(data.test.x))  # type: ignore[union-attr]
    with torch.no_grad():
        mean = torch.stack([export_model(member)(raw) for member in members]).mean(0)
        given = export_model(put_together(members))(raw)
    torch.testing.assert_close(given, mean, rtol=1e-4, atol=1e-4)
    assert float(np.ptp(mean.numpy())) > 1


def test_a_threshold_is_that_of_the_mean() -> None:
    """What a task chooses by validation it chooses for the mean, before it is scored elsewhere."""
    said = Statement("pairs", "the task is for pairs")
    data = load_data({"name": "wine", "test_fraction": 0.3}, seed=0, said=said)
    members = trained(data, {"name": "siamese", "encoder": NARROW}, {"name": "siamese"})
    before = [float(each.task.criterion.threshold) for each in members]  # type: ignore[arg-type]
    together = put_together(members)
    mean_metrics([together])
    found = float(together.task.criterion.threshold)  # type: ignore[arg-type]
    assert found not in before
    assert 0 < together.evaluate("test")["test_accuracy"] <= 1


def test_its_probabilities_are_calibrated(wine: Data) -> None:
    members = trained(wine, NARROW, WIDE, calibration={"name": "temperature"})
    together = put_together(members)
    calibrated = calibrate(together, [together])
    assert calibrated is not None
    model = export_model(together, calibrated.calibration)
    raw = torch.from_numpy(wine.as_raw(wine.val.x))  # type: ignore[union-attr]
    with torch.no_grad():
        scaled = together.predict("val")[0] / calibrated.calibration.temperature  # type: ignore[operator]
        torch.testing.assert_close(model(raw), scaled, rtol=1e-4, atol=1e-4)


def test_folds_have_means_of_their_own() -> None:
    data = load_data({"name": "wine", "folds": 3}, seed=0)
    values = {"optimizer": {"name": "adam", "lr": 0.01}, "batch_size": 16}
    trials = [
        make_trainer(TrialConfig(0, number, 1, {**values, "model": model}), data)
        for number, model in enumerate((NARROW, WIDE))
    ]
    for trial in trials:
        assert isinstance(trial, CrossValidation)
        trial.train_epoch()
    folds = [put_together(each) for each in zip(*(t.trainers for t in trials), strict=True)]
    each = [fold.evaluate("val")["val_accuracy"] for fold in folds]
    assert len(each) == 3
    assert mean_metrics(folds)["val_accuracy"] == pytest.approx(sum(each) / 3)


def test_states_of_members_are_their_own() -> None:
    """Recurrent members that go on with the states of the row before."""
    section = {"name": "markov_text", "characters": 3000, "letters": 4, "length": 16}
    data = load_data(section, seed=0)
    task = {"name": "language_model", "stateful": True}
    models = [{"name": "rnn", "cell": cell, "hidden_size": 6} for cell in ("lstm", "gru")]
    members = trained(data, *models, task=task)
    mean = torch.stack([streamed(each).softmax(-1) for each in members]).mean(0)
    together = streamed(put_together(members)).softmax(-1)
    torch.testing.assert_close(together, mean, rtol=1e-4, atol=1e-5)


def test_members_that_keep_states_are_selected_by_what_they_score_so() -> None:
    section = {"name": "markov_text", "characters": 8000, "letters": 4, "length": 4}
    data = load_data(section, seed=0)
    model = {"name": "rnn", "hidden_size": 6}
    task = {"name": "language_model", "stateful": True}
    members = trained(data, model, task=task, optimizer={"name": "adam", "lr": 0.01})
    own = members[0].evaluate("val")["val_loss"]
    assert _Library(members).score([0], "val_loss") == pytest.approx(own, rel=1e-5)
    alone = members[0].evaluation.splits.evaluated("val", 1)  # each row by itself
    with torch.no_grad():
        batches = [(members[0].model.eval()(each.inputs), each.targets) for each in alone]
    outputs, targets = (torch.cat(part) for part in zip(*batches, strict=True))
    assert nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten()) > own + 0.01


def streamed(trainer: Trainer) -> Tensor:
    trainer.model.eval()
    with torch.no_grad(), keeping_states(trainer.model):
        batches = trainer.splits.streamed("val", trainer.epoch)
        return torch.cat([trainer.model(batch.inputs) for batch in batches])


def test_greedy_selection_is_that_of_its_definition(wine: Data) -> None:
    """Forward, with replacement, until none is better."""
    members = trained(wine, NARROW, WIDE, {"name": "mlp", "hidden_sizes": [3]})
    members[0].train_epoch()
    chances = [predictions(member) for member in members]
    targets = members[0].predict("val")[1]

    def loss(chosen: list[int]) -> float:
        mean = torch.stack([chances[place] for place in chosen]).mean(0)
        return -mean.gather(1, targets[:, None]).log().mean().item()

    chosen: list[int] = []
    while True:
        best = min(range(3), key=lambda place: loss([*chosen, place]))
        if chosen and loss([*chosen, best]) >= loss(chosen):
            break
        chosen.append(best)
    found = select_greedily([members], "val_loss", "minimize")
    assert found == Counter(chosen)
    together = put_together([members[place] for place in found], list(found.values()))
    assert mean_metrics([together])["val_loss"] == pytest.approx(loss(chosen), rel=1e-4)


def test_of_what_is_better_by_itself_there_is_one(wine: Data) -> None:
    """Others that make it worse are left out, however many there are."""
    good = make(wine, model=NARROW, optimizer={"name": "adam", "lr": 0.01})
    for _ in range(4):
        good.train_epoch()
    bad = trained(wine, *[{"name": "mlp", "hidden_sizes": [3]}] * 3)
    assert list(select_greedily([[*bad, good]], "val_accuracy", "maximize")) == [3]


def test_a_model_in_training_is_not_kept(wine: Data) -> None:
    members = trained(wine, NARROW, WIDE)
    modules = [member.model for member in members]
    together = put_together(members)
    assert isinstance(together.model, nn.Module)
    assert all(inner is not own for own in modules for inner in together.model.modules())
