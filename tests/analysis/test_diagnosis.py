"""What curves say: each kind of trouble, drawn, and curves that have none."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from hpsearch.analysis import SearchReport
from hpsearch.analysis.content import findings
from hpsearch.analysis.diagnosis import Curves, curves_of, diagnose
from hpsearch.analysis.diagnosis.rules import CONTRADICTIONS, RULES
from hpsearch.analysis.importance import importances
from hpsearch.analysis.response import Response
from hpsearch.cli.common import app
from hpsearch.outcome import Outcome
from hpsearch.record import TrialRecord
from hpsearch.runs import Runs
from hpsearch.spec import draft_spec
from tests.support.records import make_spec

EPOCHS = np.arange(30)
#: a loss and an accuracy that are learned well: ten classes
LOSS = 0.05 + 2.2 * np.exp(-EPOCHS / 6)
SCORE = 0.97 - 0.87 * np.exp(-EPOCHS / 4)
CHANCE = {"chance_loss": math.log(10), "chance_score": 0.1}
RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=30)
RISING = 0.3 + np.maximum(0, 12 - EPOCHS) * 0.15 + np.maximum(0, EPOCHS - 12) * 0.02


def curves(**changed: Any) -> Curves:
    healthy: dict[str, Any] = {
        "train_loss": LOSS,
        "val_loss": LOSS * 1.04,
        "train_score": SCORE,
        "val_score": SCORE - 0.01,
        "grad_norm": np.full(30, 0.5),
        "lr": 0.01,
        **CHANCE,
    }
    return Curves(**{**healthy, **changed})


SICK: dict[str, tuple[Curves, str]] = {
    "diverged": (
        curves(diverged="train_loss is nan"),
        "train_loss is nan; keep lr below 0.003333",
    ),
    "diverged, finite": (
        curves(train_loss=np.geomspace(2, 900, 30), lr=None),
        "training loss rose from 2 to 900; lower the learning rate",
    ),
    "learning rate too high": (
        curves(train_loss=1.5 + 0.6 * np.sin(EPOCHS * 2.0), val_score=np.full(30, 0.3)),
        "keep lr below 0.003333",
    ),
    "learning rate too high, above chance": (
        curves(train_loss=np.full(30, 2.6), val_loss=np.full(30, 2.6)),
        "training loss stays at 2.6; a model without inputs has 2.303",
    ),
    "learning rate too low": (
        curves(train_loss=2.3 - 0.001 * EPOCHS, train_score=np.full(30, 0.12)),
        "as fast at the end (0.001 an epoch) as at the beginning (0.001), and is at 2.271 of 2.3; "
        "try lr 0.1",
    ),
    "dead start": (
        curves(train_loss=2.303 + 1e-4 * NOISE, train_score=np.full(30, 0.1)),
        "training loss stays at 2.303 from the second epoch on; the norm of its gradient is 0.5",
    ),
    "exploding gradients": (
        curves(grad_norm=np.where(EPOCHS == 7, 5e3, 0.5)),
        "the norm of the gradient is 5000 (median 0.5)",
    ),
    "overfitting": (
        curves(val_loss=RISING, val_score=SCORE - 0.006 * np.maximum(0, EPOCHS - 12)),
        "validation loss is 100% above its minimum of epoch 13 while training loss kept falling",
    ),
    "overfitting, scores part": (
        curves(val_score=SCORE - 0.2),
        "the training score is 0.9694, the validation score 0.2 lower",
    ),
    "loss and accuracy part": (
        curves(val_loss=RISING),
        "100% above its minimum of epoch 13, while the score, at 0.9594, has not fallen",
    ),
    "underfitting": (
        curves(
            train_loss=2 - LOSS[::-1] * 0 + LOSS / 8, val_loss=2 + LOSS / 8, train_score=SCORE / 4
        ),
        "training loss has settled at 2.008, with a validation loss of 2.008: 16% of the way",
    ),
    "noisy validation": (
        curves(val_score=SCORE - 0.1 + 0.06 * NOISE, val_loss=LOSS),
        "the validation score jumps by ±0.0",
    ),
    "unrepresentative validation": (
        curves(val_score=SCORE + 0.05),
        "the validation score is 0.05 above the training score throughout",
    ),
}


@pytest.mark.parametrize("kind", SICK)
def test_trouble_is_named_first_with_its_numbers(kind: str) -> None:
    drawn, said = SICK[kind]
    found = diagnose(drawn)
    assert found[0].name == kind.partition(",")[0]
    assert said in str(found[0])


def test_no_healthy_curve_is_called_sick() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rate, end = rng.uniform(3, 10), rng.uniform(0.02, 0.3)
        loss = end + (2.3 - end) * np.exp(-(EPOCHS + 1) / rate)
        score = 1 - end / 2 - 0.8 * np.exp(-(EPOCHS + 1) / rate)
        drawn = curves(
            train_loss=loss,
            val_loss=loss * 1.05 + 0.004 * rng.normal(size=30),
            train_score=score,
            val_score=score - 0.02 + 0.005 * rng.normal(size=30),
        )
        assert [each for each in diagnose(drawn) if each.is_fault] == []


def test_notes_are_no_faults() -> None:
    flat = curves(val_score=np.where(EPOCHS < 10, SCORE, SCORE[9]))
    assert [(each.name, each.epoch, each.is_fault) for each in diagnose(flat)] == [
        ("plateau", 10, False)
    ]
    (rising,) = diagnose(curves(val_score=SCORE - 0.04 * (29 - EPOCHS) / 29))
    assert (rising.name, rising.is_fault) == ("still improving", False)
    dropout = curves(val_score=np.minimum(1, SCORE + 0.05), has_dropout=True)
    assert (diagnose(dropout)[0].name, diagnose(dropout)[0].is_fault) == (
        "validation above training",
        False,
    )


def test_short_and_missing_curves_say_nothing() -> None:
    short = {name: values[:4] for name, values in vars(curves()).items() if np.ndim(values)}
    assert diagnose(Curves(**short)) == []
    assert diagnose(Curves()) == []
    assert diagnose(Curves(val_score=SCORE)) == []


def test_the_gap_is_that_of_evaluation_mode_where_it_is_measured() -> None:
    """With dropout a training score is below that of the weights, and may hide or feign a gap."""
    hidden = curves(train_score=SCORE - 0.2, val_score=SCORE - 0.2, has_dropout=True)
    assert not [each for each in diagnose(hidden) if each.name == "overfitting"]
    measured = {"train_eval_score": SCORE, "train_eval_loss": LOSS}
    seen = diagnose(replace(hidden, **measured))
    assert (seen[0].name, "the validation score 0.2 lower" in seen[0].message) == (
        "overfitting",
        True,
    )
    feigned = curves(train_score=SCORE - 0.1, has_dropout=True)
    assert [each.name for each in diagnose(feigned)] == ["validation above training"]
    assert diagnose(replace(feigned, **measured)) == []


def test_training_that_dropout_hides_is_no_underfitting_where_validation_shows_it() -> None:
    settled = {"train_loss": 1.5 + LOSS / 8, "val_loss": 1.2 + LOSS / 8}
    poor = curves(**settled, train_score=SCORE / 4, val_score=SCORE / 4, has_dropout=True)
    assert [each.name for each in diagnose(poor)] == ["underfitting"]
    hidden = replace(poor, val_score=SCORE * 0.7)
    assert "underfitting" not in [each.name for each in diagnose(hidden)]
    without = replace(hidden, has_dropout=False)  # then the training score is what it seems
    assert "underfitting" in [each.name for each in diagnose(without)]


def test_curves_of_a_trial_go_by_their_usual_names() -> None:
    trial = TrialRecord(0, {}, {"space": {"opt": {"lr": 0.3}}, "model": {"dropout": 0.1}}, 0.0)
    trial.curve = {1: {"loss": 2.0, "val_acc": 0.1}, 3: {"loss": 1.0, "val_acc": math.nan}}
    trial.outcome, trial.note = Outcome.DIVERGED, "loss is inf"
    found = curves_of(trial, {"prior": {"val_accuracy": 0.2, "val_loss": 1.6}})
    assert found.train_loss.tolist()[::2] == [2.0, 1.0]
    assert math.isnan(found.train_loss[1])
    assert found.val_score[0] == 0.1
    assert (found.chance_score, found.chance_loss) == (0.2, 1.6)
    assert (found.lr, found.has_dropout, found.diverged) == (0.3, True, "loss is inf")


def test_the_loss_of_an_agent_is_no_sign(tmp_path: Path) -> None:
    agent = {"environment": {"id": "CartPole-v1"}, "agent": "dqn", "model": "mlp"}
    best = {"name": "demo", "objective": {"metric": "val_return"}, "search": {"trials": 1}}
    spec = draft_spec({**best, **agent, "optimizer": "adam"}).spec
    assert spec is not None
    record = Runs(tmp_path / "runs").create(spec).open_record()
    number = record.add_trial({}).number
    for epoch in range(1, 13):
        loss = 0.02 * epoch + epoch % 2 / 10
        record.report(number, epoch, {"val_return": 1.0, "train_loss": loss})
    record.end_trial(number, Outcome.COMPLETED)
    assert diagnose(curves_of(record.trials[0]))
    assert SearchReport(record).diagnoses == {}


def test_report_and_command_say_it(tmp_path: Path) -> None:
    place = Runs(tmp_path / "runs")
    record = place.create(make_spec()).open_record()
    for gap in (0.0, 0.3):
        number = record.add_trial({"lr": 0.1, "width": 64}).number
        for epoch in range(1, 10):
            score = {"score": gap, "val_accuracy": 0.9 - gap + epoch / 1000}
            record.report(number, epoch, {"train_accuracy": 0.9, "train_loss": 1 / epoch, **score})
        record.end_trial(number, Outcome.COMPLETED)
    said = SearchReport(record).diagnoses
    assert list(said) == [1]
    assert "the training score is 0.9, the validation score 0.291 lower" in str(said[1][0])
    (section,) = [
        s
        for s in findings(record, importances(record), Response(record))
        if s.title == "Diagnosis"
    ]
    assert section.blocks[0] == f"The best trial, {said[1][0]}."
    runner, runs = CliRunner(), ["--runs", str(place.path)]
    assert runner.invoke(app, ["explain", "demo", *runs]).output == f"trial 1: {said[1][0]}\n"
    shown = runner.invoke(app, ["explain", "demo", "--trial", "1", "--json", *runs]).output
    assert json.loads(shown)["1"][0]["name"] == "overfitting"
    shown = runner.invoke(app, ["explain", "demo", "--trial", "0", *runs]).output
    assert shown == "nothing stands out in the curves of trial 0\n"
    missing = runner.invoke(app, ["explain", "demo", "--trial", "7", *runs])
    assert "demo has no trial 7; it has 2" in str(missing.exception)


def _drawn(seed: int) -> Curves:
    """Curves of any shape: losses that fall, settle or rise again, scores near them or far off."""
    rng = np.random.default_rng(seed)
    fall = np.exp(-EPOCHS / rng.uniform(1, 25))
    end = rng.choice([0.05, 0.5, 1.2, 1.8])
    train = end + (2.3 - end) * fall
    turn, slope = rng.integers(3, 29), rng.choice([0.0, 0.001, 0.01, 0.03])
    noise = rng.choice([0.0, 0.02, 0.2]) * rng.normal(size=30)
    val = train * rng.choice([0.95, 1.0, 1.03, 1.3]) + slope * np.maximum(0, EPOCHS - turn)
    top = rng.uniform(0.2, 0.95)
    score = top - (top - 0.1) * fall
    part = rng.choice([-0.1, 0.0, 0.05, 0.2]) * np.linspace(rng.choice([0, 1]), 1, 30)
    noisy = rng.choice([0.0, 0.05]) * rng.normal(size=30)
    return curves(
        train_loss=train,
        val_loss=np.maximum(0.01, val + noise),
        train_score=score,
        val_score=score - part + noisy + rng.choice([0, 0.002]) * EPOCHS,
        has_dropout=bool(rng.integers(2)),
    )


def test_what_contradicts_itself_is_not_said_of_one_trial() -> None:
    """Each pair of the table is met by the rules alone, so that none of it is idle."""
    met: set[tuple[str, str]] = set()
    for seed in range(4000):
        drawn = _drawn(seed)
        alone = {each.name for rule in RULES if (each := rule(drawn)) is not None}
        met |= {pair for pair in CONTRADICTIONS if alone.issuperset(pair)}
        said = {each.name for each in diagnose(drawn)}
        assert not [pair for pair in CONTRADICTIONS if said.issuperset(pair)]
        assert not said.issuperset({"plateau", "still improving"})
        assert not said.issuperset({"overfitting", "loss and accuracy part"})
    assert met == set(CONTRADICTIONS)


def test_gradients_that_explode_are_said_to_once() -> None:
    """By the layers that were measured, which say more than the norm of all."""
    norm = np.where(EPOCHS == 7, 5e3, 0.5)
    found = diagnose(curves(grad_norm=norm, gradient_flow=np.full(30, 1e4)))
    messages = [each.message for each in found if each.name == "exploding gradients"]
    assert messages == ["the gradient of the first layer is 1e+04 times the last layer's"]


def test_a_poor_model_that_still_improves_has_not_settled() -> None:
    """The sentences of one run: that its loss had settled, and that it should train longer."""
    loss, rising = 1.8 + LOSS / 8, 0.1 + 0.008 * EPOCHS
    drawn = curves(train_loss=loss, val_loss=loss, train_score=rising, val_score=rising)
    [found] = diagnose(drawn)
    assert found.name == "underfitting" and "settled" not in found.message
    assert found.message.startswith("training loss falls slowly, to 1.8")
    assert found.advice == "try a wider or deeper model, or train longer (max_epochs)"


def test_dead_units_of_a_rate_that_is_too_low_are_not_to_lower_it() -> None:
    dead = {"dead_units": np.full(30, 0.6)}
    slow = curves(train_loss=2.3 - 0.001 * EPOCHS, train_score=np.full(30, 0.12), **dead)
    low, units = diagnose(slow)
    assert (low.name, units.name) == ("learning rate too low", "dead units")
    assert "lower the learning rate" not in units.advice
    assert "lower the learning rate" in diagnose(curves(**dead))[0].advice


def test_scores_that_part_without_a_turn_of_the_loss_have_no_epoch_to_stop_at() -> None:
    assert "stop earlier" in diagnose(SICK["overfitting"][0])[0].advice
    assert "stop earlier" not in diagnose(SICK["overfitting, scores part"][0])[0].advice
