"""Forecasting: what it reports, models that do it, and the exported one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hpsearch.components import Arrays, Data, load_data, task_for
from hpsearch.components.batch import Batch
from hpsearch.components.tasks.baselines import baseline_scores
from hpsearch.errors import DataError, SpecError
from hpsearch.spec import TrialConfig, draft_spec
from hpsearch.training import Trainer, export_model
from hpsearch.validation import check
from tests.support.lanes import assert_trained_as_alone
from tests.support.specs import changed
from tests.support.trainers import goes_on_bit_for_bit

MODELS: dict[str, dict[str, Any]] = {
    "linear": {"name": "mlp", "hidden_sizes": []},
    "mlp": {"name": "mlp", "hidden_sizes": [16], "dropout": 0.1},
    "lstm": {"name": "rnn", "hidden_size": 8},
    "gru": {"name": "rnn", "hidden_size": 8, "cell": "gru", "readout": "mean"},
}
SECTION = {"name": "seasonal_series", "num_series": 2, "steps": 240, "period": 6, "lookback": 8}


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data({**SECTION, "horizon": [1, 2, 6]}, seed=0)


def trainer(data: Data, number: int = 0, **values: Any) -> Trainer:
    optimizer = {"name": "adam", "lr": 0.01}
    values = {"model": MODELS["mlp"], "optimizer": optimizer, "batch_size": 16, **values}
    return Trainer(TrialConfig(number, 0, 4, values), data)


def arrays(split: Any) -> Arrays:
    assert isinstance(split, Arrays)
    return split


class TestMetrics:
    def batch(self, data: Data) -> tuple[torch.Tensor, Batch]:
        torch.manual_seed(0)
        val = arrays(data.val)
        batch = Batch(torch.from_numpy(val.x), torch.from_numpy(val.y))
        return torch.randn(len(val), 6), batch

    def test_are_those_of_series_in_their_units(self, data: Data) -> None:
        outputs, batch = self.batch(data)
        std, mean = data.y_scale.std, data.y_scale.mean
        actual, seasonal, _ = np.moveaxis(batch.targets.numpy() * std + mean, 1, 0)
        forecast = outputs.reshape(-1, 3, 2).numpy() * std + mean
        errors = np.abs(forecast - actual)
        train = arrays(data.train).y * std + mean
        # Hyndman and Koehler, by series: the naive error a season ahead in the training part
        naive = np.abs(train[:, 0, 0] - train[:, 1, 0]).mean(0)
        scaled = errors.mean((0, 1)) / naive
        scaled_seasonal = np.abs(seasonal - actual).mean((0, 1)) / naive
        task = task_for(data)
        assert task.summary(task.totals(outputs, batch).tolist()) == pytest.approx(
            {
                "loss": np.square(forecast - actual).mean(),
                "mae": errors.mean(),
                "rmse": np.sqrt(np.square(forecast - actual).mean()),
                "mase": scaled.mean(),
                "skill": 1 - scaled.mean() / scaled_seasonal.mean(),
                "mae_first": errors[:, 0].mean(),
                "mae_last": errors[:, -1].mean(),
            },
            rel=1e-4,
        )

    @pytest.mark.parametrize("loss", [None, "l1"])
    def test_batches_add_up(self, data: Data, loss: str | None) -> None:
        outputs, batch = self.batch(data)
        task = task_for(data, {"name": "forecasting", "loss": loss})
        sizes = [10, len(outputs) - 10]
        parts = zip(outputs.split(sizes), batch.split(sizes), strict=True)
        totals = torch.stack([task.totals(*part) for part in parts]).sum(0)
        found = task.summary(totals.tolist())
        assert found == pytest.approx(task.summary(task.totals(outputs, batch).tolist()))
        value = task.loss(outputs, batch).item()
        error = (outputs - batch.targets[:, 0].flatten(1)).abs()
        if loss == "l1":
            assert found["criterion"] == pytest.approx(value, rel=1e-5)
            assert value == pytest.approx(error.mean().item())
        else:
            assert value == pytest.approx(error.square().mean().item())

    def test_baselines(self, data: Data) -> None:
        found = baseline_scores(task_for(data), data)
        assert found.keys() == {"seasonal_naive", "naive"}
        assert found["seasonal_naive"]["val_skill"] == pytest.approx(0, abs=1e-9)
        assert found["seasonal_naive"]["val_mase"] == pytest.approx(1, abs=0.3)
        assert found["naive"]["test_skill"] < 0 and found["naive"]["val_skill"] < 0
        naive = np.abs(np.diff(arrays(data.val).y[:, [0, 2], 0], axis=1)).mean((0, 1))
        expected = (naive * data.y_scale.std.ravel()).mean()
        assert found["naive"]["val_mae_first"] == pytest.approx(expected)


@pytest.mark.parametrize("model", MODELS)
class TestEachModel:
    def test_goes_on_bit_for_bit(self, data: Data, model: str) -> None:
        goes_on_bit_for_bit(*(trainer(data, model=MODELS[model]) for _ in range(3)))

    def test_is_exported(self, data: Data, model: str) -> None:
        """The registered model takes a raw history and forecasts in the series' units."""
        one = trainer(data, model=MODELS[model])
        one.train_epoch()
        outputs, _ = one.predict("val")
        val, exported = arrays(data.val), export_model(one)
        expected = outputs.numpy().reshape(-1, 3, 2) * data.y_scale.std + data.y_scale.mean
        found = exported.predict_table(data.as_raw(val.x))
        assert list(found)[:3] == ["series_1_1", "series_2_1", "series_1_2"]
        assert list(found)[-1] == "series_2_6" and found.shape == (len(val), 6)
        np.testing.assert_allclose(found, expected.reshape(len(val), 6), rtol=1e-4, atol=1e-4)
        history = pd.DataFrame(data.as_raw(val.x)[7], columns=["series_1", "series_2"])
        longer = pd.concat([history * 0 + 99, history])
        again = exported.predict_table(longer)
        np.testing.assert_allclose(again, found.iloc[[7]], rtol=1e-5)
        with pytest.raises(DataError, match="a history must have 8 steps at least, but has 3"):
            exported.predict_table(history.tail(3))


def test_lanes_train_as_trainers_do(data: Data) -> None:
    def several() -> list[Trainer]:
        return [trainer(data, i, optimizer={"name": "sgd", "lr": 0.1 + 0.1 * i}) for i in range(2)]

    assert_trained_as_alone(several)


class TestHistory:
    """A model is given the last steps of the lookback alone."""

    @pytest.mark.parametrize("model", MODELS)
    def test_earlier_steps_change_nothing(self, data: Data, model: str) -> None:
        one = trainer(data, model=MODELS[model], task={"name": "forecasting", "history": 3})
        x = torch.from_numpy(arrays(data.val).x)
        earlier, later = x.clone(), x.clone()
        earlier[:, :-3] += 1
        later[:, -3] += 1
        with torch.no_grad():
            plain, other, changed = (one.model.eval()(each) for each in (x, earlier, later))
        assert torch.equal(plain, other) and not torch.equal(plain, changed)

    def test_all_of_it_is_the_lookback(self, data: Data) -> None:
        whole = trainer(data).train_epoch()
        given = trainer(data, task={"name": "forecasting", "history": 8}).train_epoch()
        assert whole is not None and given is not None
        assert {**whole, "seconds": 0} == {**given, "seconds": 0}

    def test_trials_of_one_history_share_a_program(self, data: Data) -> None:
        def several() -> list[Trainer]:
            task = {"name": "forecasting", "history": 3}
            return [trainer(data, number, task=task) for number in range(3)]

        assert_trained_as_alone(several)

    def test_goes_on_bit_for_bit(self, data: Data) -> None:
        task = {"name": "forecasting", "history": 5}
        model = MODELS["lstm"]
        goes_on_bit_for_bit(*(trainer(data, model=model, task=task) for _ in range(3)))

    def test_an_exported_model_takes_the_lookback(self, data: Data) -> None:
        one = trainer(data, task={"name": "forecasting", "history": 3})
        one.train_epoch()
        raw = torch.from_numpy(data.as_raw(arrays(data.val).x))
        exported = export_model(one)
        changed = raw.clone()
        changed[:, :-3] += 1
        assert torch.equal(exported(raw), exported(changed)) and exported(raw).shape[1:] == (6,)

    def test_before_compute(self) -> None:
        dataset = {**SECTION, "horizon": 1}
        objective = {"metric": "val_skill", "direction": "maximize"}
        for task, told in (
            ({"history": {"low": 2, "high": 9}}, "at most the lookback of the data set (8)"),
            ({"history": 9}, "at most the lookback of the data set (8)"),
            ({"history": 2, "stateful": True}, "left out where stateful is true"),
        ):
            model = {"name": "rnn", "hidden_size": 4}
            task = {"name": "forecasting", **task}
            spec = changed(dataset=dataset, objective=objective, model=model, task=task)
            with pytest.raises(SpecError) as caught:
                check(draft_spec(spec))
            (problem,) = caught.value.problems
            assert str(problem).startswith(f"task.history: must be {told}")


def test_a_linear_model_comes_near_the_least_error() -> None:
    """One step ahead of a season of 4 steps: 24 values tell the season and the disturbance."""
    section = {"name": "seasonal_series", "steps": 3000, "period": 4, "horizon": 1}
    one = trainer(load_data(section, seed=0), model=MODELS["linear"], batch_size=64)
    curve = [one.train_epoch() for _ in range(8)]
    assert curve[-1] is not None
    assert 0.93 < curve[-1]["val_rmse"] < 1.1  # the least is 1
    assert curve[-1]["val_skill"] > 0.25


class TestRefused:
    def test_a_series_that_repeats_itself(self, tmp_path: Any) -> None:
        pd.DataFrame({"a": np.arange(60) % 4}).to_csv(tmp_path / "my.csv", index=False)
        section = {"name": "series", "path": "my.csv", "target": "a", "lookback": 4, "period": 4}
        data = load_data(section, seed=0, folder=tmp_path)
        with pytest.raises(DataError, match="must not repeat itself exactly"):
            task_for(data)

    def test_other_tasks_of_series(self, data: Data) -> None:
        with pytest.raises(DataError, match="regression needs targets for regression, but"):
            task_for(data, {"name": "regression"})

    def test_before_compute(self, tmp_path: Any) -> None:
        pd.DataFrame({"a": np.arange(30.0) ** 2}).to_csv(tmp_path / "my.csv", index=False)
        dataset = {"name": "series", "path": "my.csv", "target": "a", "lookback": 4, "horizon": 9}
        spec = changed(dataset=dataset, objective={"metric": "val_skill", "direction": "maximize"})
        with pytest.raises(SpecError, match="dataset: the val split has 5 steps, but a window"):
            check(draft_spec(spec, folder=tmp_path))
