"""States of recurrent models that are kept from one batch to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hpsearch.components import Arrays, Data, load_data
from hpsearch.components.layers.cells import make_cell
from hpsearch.components.schedules import BatchPace, BatchSchedule
from hpsearch.errors import BadConfigurationError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer, export_model
from hpsearch.training.lanes.programs import obstacle_of
from hpsearch.training.streams import evaluation_streams, keeping_states, stream_order
from tests.support.trainers import goes_on_bit_for_bit

STATEFUL = {"name": "language_model", "stateful": True}
RNN = {"name": "rnn", "hidden_size": 12, "cell": "gru"}


@pytest.fixture(scope="module")
def data() -> Data:
    section = {"name": "markov_text", "characters": 3000, "letters": 4, "length": 16}
    return load_data(section, seed=0)


def earlier(ordered: bool = True) -> Mapping[str, Any]:
    """Rows of two steps: the class of a step is the input before it."""
    drawn = np.random.default_rng(0).integers(0, 2, 2000)
    x = drawn.reshape(-1, 2, 1).astype(np.float32)
    y = np.roll(drawn, 1).reshape(-1, 2)
    said = {"classes": ["no", "yes"], "kind": "sequence_labelling", "standardize": False}
    return {"train": (x, y), "ordered": ordered, **said}


@pytest.fixture(scope="module")
def pulses(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """Each fifth step is 1, and of two steps that are 0 nobody knows which these are."""
    folder = tmp_path_factory.mktemp("series")
    values = [str(int(step % 5 == 0)) for step in range(905)]
    (folder / "my.csv").write_text("\n".join(["pulse", *values]))
    section = {"name": "series", "path": "my.csv", "target": "pulse", "lookback": 2}
    return load_data(section, seed=0, folder=folder)


def trainer(data: Data, **values: Any) -> Trainer:
    optimizer = {"name": "adam", "lr": 0.01}
    values = {"model": RNN, "task": STATEFUL, "optimizer": optimizer, "batch_size": 8, **values}
    return Trainer(TrialConfig(0, 0, 4, values), data)


def learned(data: Data, **values: Any) -> dict[str, float]:
    """The metrics of a trial's last epoch."""
    one = trainer(data, **values)
    metrics = [one.train_epoch() or {} for _ in range(4)]
    return metrics[-1]


def too_large() -> BatchSchedule:
    """A schedule of a user's, which no rows limit."""
    return lambda epoch, batch_size, num_rows: BatchPace(batch_size * num_rows ** (epoch > 1))


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "ln_lstm", "ln_gru"])
class TestEveryCell:
    def test_two_batches_are_as_one_sequence(self, name: str) -> None:
        torch.manual_seed(0)
        cell, x = make_cell(name, 3, 5), torch.randn(4, 6, 3)
        whole = cell(x)
        with keeping_states(cell):
            parts = [cell(part) for part in x.split([2, 4], 1)]
        torch.testing.assert_close(torch.cat(parts, 1), whole)
        torch.testing.assert_close(cell(x[:, :2]), whole[:, :2])  # it begins with zeros again

    def test_no_gradient_goes_back_to_the_batch_before(self, name: str) -> None:
        torch.manual_seed(0)
        cell, x = make_cell(name, 3, 5), torch.randn(4, 6, 3, requires_grad=True)
        with keeping_states(cell):
            cell(x[:, :3])
            cell(x[:, 3:]).sum().backward()
        assert x.grad is not None
        assert x.grad[:, :3].abs().max() == 0 < x.grad[:, 3:].abs().max()

    def test_a_last_batch_may_have_fewer_rows(self, name: str) -> None:
        torch.manual_seed(0)
        cell, x = make_cell(name, 3, 5), torch.randn(4, 6, 3)
        with keeping_states(cell):
            cell(x[:, :3])
            last = cell(x[:2, 3:])
        torch.testing.assert_close(last, cell(x)[:2, 3:])

    def test_it_may_begin_anew(self, name: str) -> None:
        torch.manual_seed(0)
        cell, x = make_cell(name, 3, 5), torch.randn(4, 6, 3)
        with keeping_states(cell) as forget:
            cell(x[:, :3])
            forget()
            anew = cell(x[:, :3])
        torch.testing.assert_close(anew, cell(x)[:, :3])


class TestOrder:
    def test_each_batch_has_the_rows_that_follow(self, data: Data) -> None:
        one = trainer(data)
        batches = one._order(1).split(8)
        assert len(batches) == len(data.train) // 8  # type: ignore[arg-type]
        assert {len(batch) for batch in batches} == {8}
        for before, after in zip(batches, batches[1:], strict=False):
            assert (after - before).tolist() == [1] * 8
        assert one._rows.num_steps(8, 2) == 2 * len(batches)

    def test_histories_that_overlap_are_read_in_turns(self, pulses: Data) -> None:
        one = trainer(pulses, task={"name": "forecasting", "stateful": True})
        turn = len(pulses.train) // 2 // 8  # type: ignore[arg-type]
        batches = one._order(1).split(8)
        assert len(batches) == 2 * turn == one._rows.num_steps(8, 1)
        anew = [one._rows.begins_anew(step, 8) for step in range(2 * turn)]
        assert [step for step, begins in enumerate(anew) if begins] == [0, turn]
        for step in range(1, 2 * turn):  # a row goes on where that before it ended
            moved = (batches[step] - batches[step - 1]).tolist()
            assert (moved == [2] * 8) != anew[step]
        assert sorted(int(batches[step][0]) for step in (0, turn)) == [0, 1]

    @pytest.mark.parametrize("num_rows", [1, 2, 31, 32, 33, 64, 65, 100])
    def test_an_evaluation_has_all_rows_and_no_last_one_alone(self, num_rows: int) -> None:
        size = evaluation_streams(num_rows)
        assert sorted(stream_order(num_rows, size).tolist()) == list(range(num_rows))
        assert num_rows % size != 1 or num_rows == 1 or size == 1


class TestTraining:
    def test_goes_on_bit_for_bit(self, data: Data) -> None:
        lstm = {**RNN, "cell": "lstm", "dropout": "variational_rnn", "layers": 2}
        goes_on_bit_for_bit(*(trainer(data, model=lstm) for _ in range(3)))

    def test_what_is_before_a_row_is_remembered(self, tmp_path: Path) -> None:
        # after one a of aab only what was before tells: 5 of 6 can be right without it
        (tmp_path / "my.txt").write_text("aab" * 400)
        section = {"name": "text", "path": "my.txt", "length": 2}
        text = load_data(section, seed=0, folder=tmp_path)
        accuracies = {}
        for stateful in (True, False):
            metrics = learned(text, task={**STATEFUL, "stateful": stateful})
            accuracies[stateful] = [metrics[f"{split}_accuracy"] for split in ("train", "val")]
        assert min(accuracies[True]) > 0.98 and max(accuracies[False]) < 0.86

    def test_a_series_is_remembered_beyond_the_lookback(self, pulses: Data) -> None:
        errors = {}
        for stateful in (True, False):
            task = {"name": "forecasting", "stateful": stateful}
            metrics = learned(pulses, task=task, optimizer={"name": "adam", "lr": 0.02})
            errors[stateful] = metrics["val_rmse"]
        assert errors[True] < 0.1 < 0.2 < errors[False]

    @pytest.mark.parametrize("num_rows", [7, 8])
    def test_an_evaluation_of_histories_has_the_states_of_the_whole_series(
        self, pulses: Data, num_rows: int
    ) -> None:
        assert isinstance(pulses.val, Arrays)
        val = pulses.val.rows(np.arange(num_rows))
        one = trainer(replace(pulses, val=val), task={"name": "forecasting", "stateful": True})
        one.train_epoch()
        outputs = torch.empty(num_rows, 1)
        for turn in range(min(2, num_rows)):
            steps = torch.from_numpy(val.x[turn::2])
            with torch.no_grad(), keeping_states(one.model.eval()):
                for row, x in enumerate(steps):
                    outputs[turn + 2 * row] = one.model(x[None])[0]
        errors = outputs.numpy() - val.y[:, 0].reshape(-1, 1)
        rmse = float(np.sqrt((errors.astype(np.float64) ** 2).mean())) * pulses.y_scale.std.item()
        assert one.evaluate("val")["val_rmse"] == pytest.approx(rmse, rel=1e-5)

    def test_steps_are_labelled_by_what_was_in_the_row_before(self) -> None:
        data = load_data({"name": f"{__name__}:earlier"}, seed=0)
        accuracies = {}
        for stateful in (True, False):
            task = {"name": "sequence_labelling", "stateful": stateful}
            metrics = learned(data, task=task, optimizer={"name": "adam", "lr": 0.02})
            accuracies[stateful] = metrics["val_accuracy"]
        # of each of the 32 streams of validation nobody knows what was before
        assert accuracies[True] > 0.94 and accuracies[False] < 0.82

    @pytest.mark.parametrize("kept", [{"ordered": False}, {"split": "random"}, {"val_rows": 9}])
    def test_rows_that_dont_follow_each_other_are_refused(self, kept: dict[str, Any]) -> None:
        data = load_data({"name": f"{__name__}:earlier", **kept}, seed=0)
        with pytest.raises(BadConfigurationError, match=r"task\.stateful: .* don't follow each"):
            trainer(data, task={"name": "sequence_labelling", "stateful": True})

    def test_a_batch_of_more_rows_than_follow_each_other_is_refused(self, pulses: Data) -> None:
        task, most = {"name": "forecasting", "stateful": True}, len(pulses.train) // 2  # type: ignore[arg-type]
        trainer(pulses, task=task, batch_size=most)
        with pytest.raises(BadConfigurationError, match=rf"above the {most} rows that"):
            trainer(pulses, task=task, batch_size=most + 1)

    def test_batches_grow_to_the_rows_that_follow_each_other(self, pulses: Data) -> None:
        """Beyond them an epoch had no steps: nothing was trained."""
        task, most = {"name": "forecasting", "stateful": True}, len(pulses.train) // 2  # type: ignore[arg-type]
        growing = {
            "name": "increase_on_milestone",
            "milestones": [1],
            "factor": 1000.0,
            "max_batch_size": 10 * most,
        }
        one = trainer(pulses, task=task, batch_schedule=growing)
        assert [one._pace.batch_size(epoch) for epoch in (1, 2)] == [8, most]
        one.train_epoch()
        before = [each.detach().clone() for each in one.model.parameters()]
        one.train_epoch()
        assert not all(map(torch.equal, before, one.model.parameters()))
        with pytest.raises(BadConfigurationError, match=f"batch_schedule: .* at most {most} rows"):
            trainer(pulses, task=task, batch_schedule={"name": f"{__name__}:too_large"})

    def test_the_last_training_skips_no_step_between_training_and_validation(
        self, tmp_path: Path
    ) -> None:
        values = [f"{step % 7},{step % 4}" for step in range(200)]
        (tmp_path / "my.csv").write_text("\n".join(["one,other", *values]))
        section = {"name": "series", "path": "my.csv", "target": "one", "lookback": 3}
        horizons = {"horizon": [1, 4], "features": ["other"], "test_fraction": 0.0}
        split = load_data({**section, **horizons}, seed=0, folder=tmp_path)
        assert isinstance(split.train, Arrays) and split.between is not None
        border, merged = len(split.train), split.merged()
        assert isinstance(merged.train, Arrays) and len(split.between) == 3
        assert len(merged.train) == 200 - 3 - 4 + 1
        # a history's first step comes after the last one of the row that it goes on from
        ends, begins = (merged.as_raw(merged.train.x)[:, place] for place in (-1, 0))
        for goes_on, before in ((begins[3:], ends[:-3]), (ends[1:], ends[:-1])):
            np.testing.assert_allclose((goes_on - before)[:, 0] % 7, 1, atol=1e-3)
        np.testing.assert_allclose(begins[border + 3], ends[border] + 1, atol=1e-3)

    def test_an_evaluation_begins_with_zeros_and_keeps_states(self, data: Data) -> None:
        one = trainer(data)
        one.train_epoch()
        found = one.evaluate("train")
        assert found == one.evaluate("train")
        rows = data.train
        assert isinstance(rows, Arrays) and rows.mask is not None
        size, right = evaluation_streams(len(rows)), 0
        order = stream_order(len(rows), size)
        for stream in range(size):  # of each the whole text at once
            places = order[stream::size].numpy()
            ids, targets, counts = (
                torch.from_numpy(each[places].ravel()) for each in (rows.x, rows.y, rows.mask)
            )
            with torch.no_grad():
                answers = one.model.eval()(ids[None])[0].argmax(-1)
            right += int(((answers == targets) & counts).sum())
        assert size < len(rows) and found["train_accuracy"] == right / rows.mask.sum()

    def test_what_is_exported_begins_with_zeros(self, data: Data) -> None:
        one = trainer(data)
        one.train_epoch()
        assert isinstance(data.val, Arrays)
        exported, x = export_model(one), torch.from_numpy(data.val.x)
        torch.testing.assert_close(exported(x), one.predict("val")[0])
        torch.testing.assert_close(exported(x), exported(x))


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"model": {"name": "transformer", "width": 8, "heads": 2}}, "task.stateful: must be fal"),
        ({"model": {**RNN, "cell": "indrnn"}}, "task.stateful: must be false for a model without"),
        (
            {"model": {**RNN, "input_dropout": 0.1, "mc_dropout_samples": 2}},
            "task.stateful: must be false with mc_dropout_samples",
        ),
        ({"accumulate": 2}, "accumulate: must be 1, as states are kept for the rows of a whole"),
        ({"finetune": {"name": "subset", "fraction": 0.5}}, "task.stateful: must be false where"),
        ({"optimizer": {"name": "lbfgs", "lr": 0.1}}, "task.stateful: must be false for an optim"),
    ],
)
def test_what_cant_keep_states_is_refused(data: Data, values: dict[str, Any], rule: str) -> None:
    with pytest.raises(BadConfigurationError, match=rule):
        _ = trainer(data, **values).optimizer


def test_lanes_share_no_program(data: Data) -> None:
    assert "keeps states" in obstacle_of(trainer(data))
