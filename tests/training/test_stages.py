"""Trials of several stages: what one hands to the next, and that nothing is lost between them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hpsearch.components import Data, load_data
from hpsearch.errors import BadConfigurationError, HpsearchError, SpecError
from hpsearch.spec import TrialConfig, draft_spec
from hpsearch.training import Trainer, export_model, make_trainer
from hpsearch.training.stages import StagedTrainer, hand_over
from hpsearch.tuning.fusing import obstacle
from hpsearch.validation import check
from tests.support.effects import data_of

CODES = {"name": "autoencoder", "hidden_sizes": [8], "code_size": 4}
MLP = {"name": "mlp", "hidden_sizes": [8]}
PRETRAIN = {"name": "train", "task": {"name": "reconstruction"}, "epochs": 2}
PRETRAIN_BY_LABELS = {"name": "train", "epochs": 1}
STOP = {"name": "early_stopping", "metric": "train_loss", "patience": 1, "min_delta": 1e9}


@pytest.fixture(scope="module")
def data() -> Data:
    return data_of("digits")


def staged(data: Data, *stages: Any, max_epochs: int = 5, **values: Any) -> StagedTrainer:
    values = {
        "model": CODES,
        "optimizer": {"name": "adam", "lr": 0.01},
        "batch_size": 16,
        "stages": list(stages),
        **values,
    }
    trainer = make_trainer(TrialConfig(0, 0, max_epochs, values), data)
    assert isinstance(trainer, StagedTrainer)
    return trainer


def trained(trainer: StagedTrainer, epochs: int) -> list[dict[str, float]]:
    curve = [trainer.train_epoch() for _ in range(epochs)]
    return [{**each, "seconds": 0.0} for each in curve if each is not None]


class TestMetrics:
    def test_they_name_the_stage(self, data: Data) -> None:
        curve = trained(staged(data, PRETRAIN), 4)
        assert {"stage1_train_loss", "stage1_val_loss", "stage1_val_kl_divergence"} < set(curve[1])
        assert not any(name.startswith(("val_", "train_")) for name in curve[1])
        assert {"val_loss", "val_accuracy", "lr", "grad_norm"} < set(curve[2])
        assert not any(name.startswith("stage") for name in curve[2])

    def test_epochs_of_all_stages_count(self, data: Data) -> None:
        trainer = staged(data, PRETRAIN)
        trained(trainer, 3)
        assert trainer.epoch == 3


class TestHandover:
    def test_the_encoder_is_kept_and_the_head_is_new(self, data: Data) -> None:
        trainer = staged(data, PRETRAIN)
        trained(trainer, 2)
        before = {k: v.clone() for k, v in trainer.final().model.state_dict().items()}
        still = {**PRETRAIN, "epochs": 1, "task": None, "optimizer": {"name": "sgd", "lr": 1e-9}}
        probe = staged(data, PRETRAIN, still)
        trained(probe, 3)
        after = probe.final().model.state_dict()
        shared = before.keys() & after.keys()
        assert shared == {f"encoder.{i}.{part}" for i in (0, 2) for part in ("weight", "bias")}
        assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in shared)

    def test_the_head_of_the_same_task_is_kept(self, data: Data) -> None:
        only_head = {"name": "train", "epochs": 1, "finetune": {"name": "feature_extract"}}
        trainer = staged(data, only_head, model=MLP)
        fresh = {k: v.clone() for k, v in trainer.final().model.state_dict().items()}
        trained(trainer, 1)
        first = {k: v.clone() for k, v in trainer.final().model.state_dict().items()}
        body, head = list(fresh)[0], list(fresh)[-1]
        assert torch.equal(fresh[body], first[body]) and not torch.equal(fresh[head], first[head])
        trainer._begin_next()
        kept = trainer.final().model.state_dict()
        assert all(torch.equal(kept[name], first[name]) for name in first)


class TestResume:
    @pytest.mark.parametrize("killed_after", [1, 2, 3])
    def test_in_any_stage(self, data: Data, killed_after: int) -> None:
        """Within the first stage, between the two, within the last."""
        sections = {"lr_schedule": {"name": "cosine"}, "model": {**CODES, "corruption": "masking"}}
        whole = trained(staged(data, PRETRAIN, **sections), 5)
        first = staged(data, PRETRAIN, **sections)
        halves = trained(first, killed_after)
        second = staged(data, PRETRAIN, **sections)
        second.load_state_dict(first.state_dict())
        assert second.epoch == killed_after
        assert halves + trained(second, 5 - killed_after) == whole

    def test_a_trial_can_be_exported_from_its_state(self, data: Data) -> None:
        trainer = staged(data, PRETRAIN)
        trained(trainer, 5)
        again = staged(data, PRETRAIN)
        again.load_weights(trainer.state_dict())
        assert again.final().evaluate("val") == trainer.final().evaluate("val")
        assert again.trainers == (again.final(),)
        x = torch.from_numpy(data.val.x)  # type: ignore[union-attr]
        assert torch.equal(
            export_model(again.final()).predict(x), export_model(trainer.final()).predict(x)
        )


class TestEpochs:
    def test_schedules_span_a_stage(self, data: Data) -> None:
        cosine = {"name": "cosine"}
        rates = [each["lr"] for each in trained(staged(data, PRETRAIN, lr_schedule=cosine), 5)]
        assert rates[:2] == [0.01, 0.01], "an earlier stage has no schedule but its own"
        plain = make_trainer(
            TrialConfig(
                0,
                0,
                3,
                {
                    "model": CODES,
                    "optimizer": {"name": "adam", "lr": 0.01},
                    "batch_size": 16,
                    "lr_schedule": cosine,
                },
            ),
            data,
        )
        assert rates[2:] == [(plain.train_epoch() or {})["lr"] for _ in range(3)]

    def test_a_callback_ends_its_stage(self, data: Data) -> None:
        """The last stage gets the epochs that are left of the budget."""
        stage = {**PRETRAIN, "epochs": 3, "callbacks": [STOP]}
        curve = trained(staged(data, stage, max_epochs=6), 6)
        assert ["stage1_val_loss" in each for each in curve] == [True] * 2 + [False] * 4

    def test_a_callback_of_the_last_stage_ends_the_trial(self, data: Data) -> None:
        trainer = staged(data, PRETRAIN, callbacks=[STOP])
        assert len(trained(trainer, 5)) == 4
        assert trainer.end_reason == "callback early_stopping"

    def test_the_last_stage_begins_as_a_trial_by_itself(self, data: Data) -> None:
        """With the same head and order of rows, so that the two can be compared."""
        values = {"model": MLP, "optimizer": {"name": "sgd", "lr": 0.1}, "batch_size": 16}
        alone = Trainer(TrialConfig(0, 0, 4, values), data)
        last = staged(data, PRETRAIN_BY_LABELS, **values).trainers[0]
        states = alone.model.state_dict(), last.model.state_dict()
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
        assert torch.equal(alone.begin_epoch().order, last.begin_epoch().order)


class TestRefused:
    def test_places_of_errors(self, data: Data) -> None:
        wrong = {**PRETRAIN, "task": {"name": "regression"}}
        with pytest.raises(HpsearchError, match=r"stages.1.task.name: regression needs targets"):
            staged(data, PRETRAIN, wrong)._new(1)
        tied = {**CODES, "tied": True, "activation": "glu"}
        with pytest.raises(BadConfigurationError, match=r"^model.tied: must be false"):
            staged(data, PRETRAIN, model=tied)

    def test_models_that_share_nothing(self, data: Data) -> None:
        values = {"optimizer": {"name": "sgd", "lr": 0.1}, "batch_size": 16}
        before, after = (
            Trainer(TrialConfig(0, 0, 4, {**values, "model": {**MLP, "hidden_sizes": [n]}}), data)
            for n in (8, 9)
        )
        with pytest.raises(BadConfigurationError, match="stages: must leave weights"):
            hand_over(before, after)

    def test_folds(self) -> None:
        folded = load_data({"name": "wine", "folds": 3}, seed=0)
        with pytest.raises(BadConfigurationError, match="must not be given with folds"):
            staged(folded, PRETRAIN_BY_LABELS)


CODE = {"task": "reconstruction", "epochs": 1}
FORECAST = {"task": "forecasting", "epochs": 1}
SPEC: dict[str, Any] = {
    "name": "pretrained",
    "objective": {"metric": "val_accuracy", "direction": "maximize"},
    "dataset": {"name": "digits", "train_rows": 80, "val_rows": 40},
    "model": CODES,
    "stages": [{"task": "reconstruction", "epochs": {"low": 1, "high": 2}}],
    "optimizer": {"name": "adam", "lr": {"low": 1e-3, "high": 1e-1, "log": True}},
    "search": {
        "trials": 4,
        "early_stopping": {"name": "asha", "max_epochs": 6, "grace_period": 3},
    },
}


def changed_search(**early_stopping: Any) -> dict[str, Any]:
    rule = {**SPEC["search"]["early_stopping"], **early_stopping}
    return {**SPEC, "search": {**SPEC["search"], "early_stopping": rule}}


class TestSpecs:
    @pytest.mark.parametrize("stages", [SPEC["stages"], {"choices": [None, SPEC["stages"]]}])
    def test_folds_are_refused(self, stages: Any) -> None:
        folded = {**SPEC, "stages": stages, "dataset": {"name": "wine", "folds": 3}}
        with pytest.raises(SpecError, match="dataset.folds: must not be given with stages"):
            check(draft_spec(folded))

    def test_a_stage_is_a_component_without_a_name(self) -> None:
        spec = check(draft_spec(SPEC))
        assert spec.to_dict()["stages"] == [
            {"name": "train", "task": "reconstruction", "epochs": {"low": 1, "high": 2}}
        ]

    @pytest.mark.parametrize(
        ("stages", "message"),
        [
            ([{"epochs": 0}], r"stages.0.epochs: must be greater than or equal to 1"),
            ([{"task": "reconstruction"}], r"stages.0.epochs: must be given"),
            ([{"epochs": 1, "tusk": "x"}], r"stages.0.tusk: must be a keyword .* did you mean"),
            ([{"epochs": 1, "task": "reconstructoin"}], r"stages.0.task: .*did you mean"),
            ([{"epochs": 6}], r"stages: must leave epochs to the last stage.* up to 6 of"),
            ([{"epochs": "auto"}], r"up to 27 of .*; write `epochs: {low: 1, high: 5}` in each"),
            ([{"epochs": "auto"}, {"epochs": 3}], r"; write `epochs: {low: 1, high: 2}` in each"),
            (
                [{"epochs": 1, "finetune": {"name": "freeze", "num_frozen": 9}}],
                r"stages.0.finetune",
            ),
            ([{"epochs": 1, "task": "multilabel"}], r"stages.0.task.*multilabel"),
        ],
    )
    def test_what_is_refused(self, stages: Any, message: str) -> None:
        with pytest.raises(SpecError, match=message):
            check(draft_spec({**SPEC, "stages": stages}))

    @pytest.mark.parametrize(
        ("stages", "place"),
        [
            ({"choices": [None, [FORECAST], [CODE]]}, "stages.choices.1.0.task.name"),
            ({"choices": [None, [CODE], [FORECAST]]}, "stages.choices.2.0.task.name"),
            ([{"task": {"choices": ["reconstruction", "forecasting"]}, "epochs": 1}],
             "stages.0.task.name"),
        ],
        ids=["between", "last", "task"],
    )  # fmt: skip
    def test_each_choice_must_fit_the_data(self, stages: Any, place: str) -> None:
        with pytest.raises(SpecError, match=rf"{place}: forecasting needs targets") as caught:
            check(draft_spec({**SPEC, "stages": stages}))
        assert len(caught.value.problems) == 1

    def test_a_choice_may_fit_at_one_end_of_its_ranges(self) -> None:
        task = {"choices": ["reconstruction", {"name": "reconstruction", "kl_weight": 0.5}]}
        stages = [{"task": task, "epochs": {"low": 1, "high": 2}}]
        assert check(draft_spec({**SPEC, "stages": stages})).stages

    def test_choices_are_told_by_the_beginning_of_their_yaml(self) -> None:
        stages = [{"task": "reconstruction", "epochs": 2, "optimizer": {"name": "sgd", "lr": 0.1}}]
        choices = {"choices": [None, stages], "prior": "x"}
        told = (
            r"stages.prior: must be one of None, '\[{name: train, task: reconstruction, epo…', but"
        )
        with pytest.raises(SpecError, match=told):
            check(draft_spec({**SPEC, "stages": choices}))
        search = {**SPEC["search"], "points": [{"stages": "x"}]}
        with pytest.raises(SpecError, match=told.replace("stages.prior", "points.0.stages")):
            check(draft_spec({**SPEC, "stages": {"choices": [None, stages]}, "search": search}))

    def test_no_rung_is_in_an_earlier_stage(self) -> None:
        with pytest.raises(
            SpecError, match=r"grace_period: must be more than .*\(up to 2\), in wh"
        ):
            check(draft_spec(changed_search(grace_period=2)))

    def test_choices_of_stages(self) -> None:
        choices = {"choices": [None, [{"task": "reconstruction", "epochs": 2}]]}
        check(draft_spec({**SPEC, "stages": choices}))

    def test_fusing(self) -> None:
        spec = check(draft_spec(SPEC))
        assert obstacle(spec, None) == "stages: not shared between trials"
