"""Sequences of token ids of different lengths: from files, from arrays, and to models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hpsearch.components import Arrays, Data, load_data, task_for
from hpsearch.components.batch import IGNORED, Batch
from hpsearch.components.datasets.describing import describe_data
from hpsearch.errors import DataError, UserCodeError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer, export_model
from tests.support.trainers import goes_on_bit_for_bit

RNN = {"name": "rnn", "hidden_size": 16}
TRANSFORMER = {"name": "transformer", "width": 16, "heads": 2}


def sequences(count: int = 300, tokens: int = 7, shortest: int = 2) -> list[list[int]]:
    rng = np.random.default_rng(0)
    return [rng.integers(tokens, size=rng.integers(shortest, 12)).tolist() for _ in range(count)]


def write_json(folder: Path, **columns: list[Any]) -> None:
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    (folder / "my.jsonl").write_text("\n\n".join(map(json.dumps, rows)))


def write_csv(folder: Path, ids: list[list[int]], labels: list[str], separator: str = ",") -> None:
    pairs = zip(ids, labels, strict=True)
    lines = [f"{' '.join(map(str, row))}{separator}{label}" for row, label in pairs]
    (folder / "my.csv").write_text("\n".join([f"ids{separator}label", *lines]))


def load(folder: Path, path: str = "my.jsonl", **section: Any) -> Data:
    return load_data({"name": "token_ids", "path": path, **section}, seed=0, folder=folder)


def arrays(split: Any) -> Arrays:
    assert isinstance(split, Arrays)
    return split


def trained(data: Data, model: Any, epochs: int = 8, **sections: Any) -> tuple[Trainer, float]:
    values = {"model": model, "optimizer": {"name": "adam", "lr": 0.02}, "batch_size": 32}
    trainer = Trainer(TrialConfig(0, 0, epochs, {**values, **sections}), data)
    curve = [trainer.train_epoch() or {} for _ in range(epochs)]
    return trainer, curve[-1]["val_accuracy"]


def last_is_great(ids: list[list[int]]) -> list[str]:
    return ["great" if row[-1] > 3 else "small" for row in ids]


@pytest.mark.parametrize("separator", [",", ";"])
def test_a_table_and_json_lines_say_the_same(tmp_path: Path, separator: str) -> None:
    ids = sequences()
    write_csv(tmp_path, ids, last_is_great(ids), separator)
    write_json(tmp_path, ids=ids, label=last_is_great(ids))
    read = [
        load(tmp_path, path, target="label", **more)
        for path, more in (("my.csv", {"separator": separator}), ("my.jsonl", {}))
    ]
    for split in ("train", "val", "test"):
        first, second = (arrays(getattr(data, split)) for data in read)
        assert np.array_equal(first.x, second.x) and np.array_equal(first.y, second.y)
    data = read[0]
    assert (data.num_tokens, data.padding_id, data.input_shape) == (8, 7, (11,))
    assert data.class_names == ("great", "small") and data.kind == "classification"
    x = np.concatenate([arrays(each).x for each in (data.train, data.val, data.test)])
    assert sorted(tuple(row[row < 7]) for row in x) == sorted(map(tuple, ids))


@pytest.mark.parametrize("model", [RNN, TRANSFORMER], ids=["rnn", "transformer"])
def test_a_class_of_the_last_id_is_learned(tmp_path: Path, model: dict[str, Any]) -> None:
    ids = sequences(600)
    write_json(tmp_path, ids=ids, label=last_is_great(ids))
    trainer, accuracy = trained(load(tmp_path, target="label"), {**model, "readout": "last"})
    assert accuracy > 0.97
    given = pd.DataFrame({"n": [1, 2], "ids": [[0, 1, 6], [6, 6, 6, 0]]})
    assert export_model(trainer).predict_table(given)["prediction"].tolist() == ["great", "small"]


def test_a_class_of_each_step_is_learned(tmp_path: Path) -> None:
    """Labels that are null, and steps that fill up, count nowhere."""
    ids = sequences()
    labels = [["odd" if i % 2 else "even" for i in row] for row in ids]
    labels[0][0] = None  # type: ignore[call-overload]
    write_json(tmp_path, ids=ids, tags=labels)
    data = load(tmp_path, target="tags")
    assert data.kind == "sequence_labelling" and data.class_names == ("even", "odd")
    splits = [arrays(each) for each in (data.train, data.val, data.test)]
    num_counted = sum(int((each.y != IGNORED).sum()) for each in splits)
    assert num_counted == sum(map(len, ids)) - 1
    trainer, accuracy = trained(data, {**RNN, "bidirectional": True})
    assert accuracy == 1
    table = export_model(trainer).predict_table(pd.DataFrame({"ids": [[3, 2]]}))
    assert table.iloc[0, :2].tolist() == ["odd", "even"]


def test_the_next_id_is_learned_without_what_fills_up(tmp_path: Path) -> None:
    """Each id is the one before and one more: all but the first are certain."""
    ids = [[(first + i) % 7 for i in range(n)] for first in range(7) for n in range(2, 12)] * 4
    write_json(tmp_path, ids=ids)
    data = load(tmp_path)
    assert (data.kind, data.output_shape, data.num_tokens) == ("language_model", (10, 7), 8)
    rates = np.bincount(arrays(data.train).y[arrays(data.train).y != IGNORED])
    assert np.allclose(data.base_rates, (rates + 0.5) / (rates + 0.5).sum())
    for model in (RNN, TRANSFORMER):
        trainer, accuracy = trained(data, model)
        assert accuracy > 0.99
        x = np.full((2, 10), 7)
        x[0, :3], x[1, :1] = [2, 3, 4], [6]
        table = export_model(trainer).predict_table(x)  # of the last own step
        assert table["prediction"].tolist() == ["5", "0"]


def test_the_loss_is_of_the_ids_that_count(tmp_path: Path) -> None:
    write_json(tmp_path, ids=sequences())
    data = load(tmp_path)
    task = task_for(data)
    part = arrays(data.train)
    batch = Batch(torch.from_numpy(part.x), torch.from_numpy(part.y))
    outputs = torch.randn(*part.y.shape, 7, generator=torch.Generator().manual_seed(0))
    others = outputs.where(batch.targets[..., None] != IGNORED, -5 * outputs)
    assert int(task.count(batch)) == int((part.y != IGNORED).sum()) < part.y.size
    assert task.loss(outputs, batch).item() == pytest.approx(task.loss(others, batch).item())
    assert torch.allclose(task.totals(outputs, batch), task.totals(others, batch))
    # ids have no characters: bits are those of a token
    found = task.summary(task.totals(outputs, batch).tolist())
    assert found["bits_per_character"] == pytest.approx(found["loss"] / np.log(2))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("model", [RNN, TRANSFORMER], ids=["rnn", "transformer"])
def test_two_epochs_and_two_are_four(
    tmp_path: Path, model: dict[str, Any], precision: str
) -> None:
    write_json(tmp_path, ids=sequences(80))
    data = load(tmp_path)
    values = {"model": model, "optimizer": {"name": "adam"}, "batch_size": 16}
    config = TrialConfig(0, 0, 4, {**values, "precision": precision})
    goes_on_bit_for_bit(*(Trainer(config, data) for _ in range(3)))


def test_folds_and_lengths(tmp_path: Path) -> None:
    ids = sequences()
    write_json(tmp_path, ids=ids, label=last_is_great(ids))
    data = load(tmp_path, target="label", folds=3, length=4, num_tokens=50)
    assert (data.input_shape, data.num_tokens, data.padding_id) == ((4,), 51, 50)
    assert set(np.unique(arrays(data.fold(0).train).x)) == {*range(7), 50}


def test_the_data_is_described_as_sequences(tmp_path: Path) -> None:
    ids = sequences()
    write_json(tmp_path, ids=ids, label=last_is_great(ids))
    section = {"name": "token_ids", "path": "my.jsonl", "target": "label"}
    x, y = describe_data(section, seed=0, folder=tmp_path).columns
    assert (x.reading, x.why) == ("token ids", "sequences of up to 11 ids of 8 tokens")
    assert y.reading == "target (classification)"


class TestMistakes:
    @pytest.mark.parametrize(
        ("columns", "section", "match"),
        [
            ({"ids": [[1], []]}, {}, r"ids: column 'ids' .* row 1 \(from 0\) has none"),
            ({"ids": [[1, 2], None]}, {}, r"row 1 \(from 0\) has none"),
            ({"ids": [[1, 2], 7]}, {}, r"row 1 \(from 0\) has 7"),
            ({"ids": [[1, -2]]}, {}, r"row 0 \(from 0\) has -2"),
            ({"ids": [[1, 2.5]]}, {}, r"row 0 \(from 0\) has 2.5"),
            ({"ids": [[1, True]]}, {}, r"row 0 \(from 0\) has True"),
            ({"ids": ["1 two"]}, {}, r"row 0 \(from 0\) has 'two'"),
            ({"ids": [[1, 2**24]]}, {}, r"0 to 16777214, but row 0 \(from 0\) has 16777216"),
            ({"ids": ["1 " + "9" * 5000]}, {}, r"0 to 16777214, but row 0 \(from 0\) has '9999"),
            (
                {"ids": [[1, 2], [3, 9]]},
                {"num_tokens": 9},
                r"num_tokens: must be above all ids .* row 1 \(from 0\) has 9, but got 9",
            ),
            ({"ids": [[1, 2], [3]]}, {}, r"must have two ids at least.*row 1 \(from 0\) has one"),
            ({"id": [[1, 2]]}, {}, "ids: must be a column of .*did you mean 'id'"),
            ({"ids": [[1, 2]]}, {"target": "tag"}, "target: must be a column of"),
            (
                {"ids": [[1, 2], [3]], "tag": [["a", "b"], ["a", "b"]]},
                {"target": "tag"},
                r"target: .*a class for each id, but row 1 \(from 0\) has 2 for 1 ids",
            ),
            (
                {"ids": [[1, 2], [3]], "tag": [["a", "b"], "a"]},
                {"target": "tag"},
                r"row 1 \(from 0\) has 0 for 1 ids",
            ),
            (
                {"ids": [[1, 2], [3]], "tag": [["a", None], ["a"]]},
                {"target": "tag"},
                r"target: column 'tag' must have labels of two classes at least, but got \['a'\]",
            ),
            ({"ids": [[1, 2]]}, {"target": "ids"}, "target: must be another column than that of"),
            ({"ids": [[1, 2]] * 9, "y": ["a"] * 8 + [None]}, {"target": "y"}, r"y \(1\)"),
        ],
    )
    def test_of_sequences(
        self, tmp_path: Path, columns: Any, section: dict[str, Any], match: str
    ) -> None:
        write_json(tmp_path, **columns)
        with pytest.raises(DataError, match=match):
            load(tmp_path, **section)

    @pytest.mark.parametrize(
        ("content", "match"),
        [
            ('{"ids": [1, 2]}\n{"ids"', "path: must have an object of JSON in each line.* line 2"),
            ('{"ids": [1, 2]}\n[1, 2]', r"line 2 of .* has, but got \[1, 2\]"),
            ("\n\n", "path: must be a file with lines"),
        ],
    )
    def test_of_lines(self, tmp_path: Path, content: str, match: str) -> None:
        (tmp_path / "my.jsonl").write_text(content)
        with pytest.raises(DataError, match=match):
            load(tmp_path)

    def test_of_a_table_cell_without_ids(self, tmp_path: Path) -> None:
        write_csv(tmp_path, [[1, 2], []], ["a", "b"])
        with pytest.raises(DataError, match=r"ids: column 'ids' .* row 1 \(from 0\) has none"):
            load(tmp_path, "my.csv", target="label")

    def test_of_tables_for_an_exported_model(self, tmp_path: Path) -> None:
        ids = sequences(60)
        write_json(tmp_path, ids=ids, label=last_is_great(ids))
        trainer, _ = trained(load(tmp_path, target="label"), RNN, epochs=1)
        exported = export_model(trainer)
        with pytest.raises(DataError, match=r"above all ids .* row 0 \(from 0\) has 9, but got 7"):
            exported.predict_table(pd.DataFrame({"ids": [[9]]}))
        with pytest.raises(DataError, match="must be a column of the table"):
            exported.predict_table(pd.DataFrame({"id": [[1]]}))


class TestArrays:
    """Ids of the user's own arrays, which the same id fills up."""

    def save(self, folder: Path, x: Any) -> None:
        np.savez(folder / "my.npz", x=np.array(x), y=np.arange(len(x)) % 2)

    def test_of_a_file(self, tmp_path: Path) -> None:
        self.save(tmp_path, [[1, 2, 0], [3, 0, 0], [1, 2, 3], [2, 2, 0]] * 20)
        section = {"name": "npz", "path": "my.npz", "num_tokens": 4, "padding_id": 0}
        data = load_data(section, seed=0, folder=tmp_path)
        assert (data.num_tokens, data.padding_id) == (4, 0)
        assert set(np.unique(arrays(data.train).x)) == {0, 1, 2, 3}  # as they are
        assert trained(data, {**RNN, "bidirectional": True}, epochs=1)[1] >= 0

    @pytest.mark.parametrize(
        ("x", "ids", "match"),
        [
            (
                [[1, 4]],
                {"num_tokens": 4},
                r"from 0 to 3, but row 0 \(from 0\) has 4",
            ),
            ([[1, 1.5]], {"num_tokens": 4}, r"row 0 \(from 0\) has 1.5"),
            ([[1, 2], [0, 0]], {"num_tokens": 4, "padding_id": 0}, r"row 1 .*begins with the pad"),
            (
                [[1, 0, 2]],
                {"num_tokens": 4, "padding_id": 0},
                r"row 0 .* has tokens after",
            ),
            ([[1, 2]], {"num_tokens": 4, "padding_id": 4}, "padding_id must be one of the 4 tok"),
            ([[1, 2]], {"padding_id": 1}, "padding_id must be left out without num"),
            ([[[1, 2]]], {"num_tokens": 4}, r"must be ids \(rows, steps\), but has the shape"),
        ],
    )
    def test_mistakes(self, tmp_path: Path, x: Any, ids: Any, match: str) -> None:
        self.save(tmp_path, x * 20)
        with pytest.raises((DataError, UserCodeError), match=match):
            load_data({"name": "npz", "path": "my.npz", **ids}, seed=0, folder=tmp_path)

    def test_a_model_of_ones_own_is_told_what_fills_up(self, tmp_path: Path) -> None:
        self.save(tmp_path, [[1, 2, 0], [3, 0, 0]] * 30)
        section = {"name": "npz", "path": "my.npz", "num_tokens": 4, "padding_id": 0}
        data = load_data(section, seed=0, folder=tmp_path)
        trainer, _ = trained(data, {"name": f"{__name__}:Bag"}, epochs=1)
        assert isinstance(trainer.model, Bag) and trainer.model.vectors.padding_idx == 0

    def test_next_tokens_of_ones_own(self) -> None:
        data = load_data({"name": f"{__name__}:counts"}, seed=0)
        assert data.kind == "language_model"
        with pytest.raises(DataError, match="the next token of each"):
            load_data({"name": f"{__name__}:fewer_steps"}, seed=0)
        with pytest.raises(DataError, match="numbers of the 3 tokens, from 0"):
            load_data({"name": f"{__name__}:other_tokens"}, seed=0)


class Bag(torch.nn.Module):
    """The mean of the vectors of a sequence's own ids."""

    def __init__(self, num_tokens: int, padding_id: int | None, output_size: int) -> None:
        super().__init__()
        self.vectors = torch.nn.EmbeddingBag(num_tokens, output_size, padding_idx=padding_id)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        means: torch.Tensor = self.vectors(x.long())
        return means


def counts() -> Any:
    x = np.tile([[0, 1, 2, 0]], (40, 1))
    return {
        "train": (x, (x + 1) % 3),
        "num_tokens": 3,
        "classes": ["a", "b", "c"],
        "kind": "language_model",
    }


def fewer_steps() -> Any:
    found = counts()
    x, y = found["train"]
    return {**found, "train": (x, y[:, 1:])}


def other_tokens() -> Any:
    found = counts()
    x, y = found["train"]
    return {**found, "train": (x, y + 1)}
