"""Datasets that are read lazily: the same rows whatever reads them, streams, what is refused."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from hpsearch.components import Data, load_data
from hpsearch.errors import BadConfigurationError, DataError, SpecError, UserCodeError
from hpsearch.spec import TrialConfig, draft_spec
from hpsearch.training import CrossValidation, Trainer, refit
from hpsearch.training.batches import LoadedBatches
from hpsearch.training.loader import RandomStates, Reading
from hpsearch.validation import check
from tests.support.datasets import load
from tests.support.images import write_images
from tests.support.specs import changed

CNN = {"name": "cnn", "channels": [3], "hidden_sizes": [4], "dropout": 0.3}
MLP = {"name": "mlp", "hidden_sizes": [4], "dropout": 0.3}
#: what the section `loader` may say
LOADERS = [
    {"num_workers": 1},
    {"num_workers": 2, "prefetch_factor": 1},
    {"num_workers": 2, "persistent_workers": False},
]


class Noisy(Dataset[Any]):
    """Rows that are changed at random by all three generators when they are read."""

    def __len__(self) -> int:
        return 50

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        noise = torch.rand(()).item() + np.random.rand() + random.random()
        return torch.full((4,), index / 50 + noise), index % 2


class Numbers(IterableDataset[Any]):
    """So many rows in another order each epoch; it ends after `count`."""

    def __init__(self, length: int = 20, count: int = 20) -> None:
        self._length, self._count, self._epoch = length, count, 0

    def __len__(self) -> int:
        return self._length

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        for number in range(self._count):
            row = (number + 5 * self._epoch) % self._length
            yield torch.tensor([float(row), np.random.rand(), torch.rand(()).item()]), row % 2


def stream() -> Any:
    return {"train": Numbers(), "val": Numbers(8, 8), "test": Numbers(6, 6), "classes": "ab"}


def noisy() -> Any:
    return {"train": Noisy(), "val": Noisy(), "classes": "ab"}


def data_of(name: str, folder: Path) -> Data:
    if name == "images":
        return load("image_folder", write_images(folder), path=".")
    return load_data({"name": f"{__name__}:{name}"}, seed=0)


def trainer(data: Data, loader: Any = None, **values: Any) -> Trainer:
    model = CNN if len(data.input_shape) == 3 else MLP
    values = {
        "model": model,
        "optimizer": {"name": "adam", "lr": 0.01},
        "batch_size": 8,
        **values,
    }
    return Trainer(TrialConfig(0, 0, 4, values, loader=loader or {}), data)


def curve(one: Trainer, epochs: int = 2) -> list[dict[str, float]]:
    found = [{**(one.train_epoch() or {}), "seconds": 0.0} for _ in range(epochs)]
    found.append(one.evaluate("train"))
    one.close()
    return found


class TestSameRows:
    @pytest.mark.parametrize("name", ["images", "noisy", "stream"])
    def test_whatever_reads_them(self, name: str, tmp_path: Path) -> None:
        data = data_of(name, tmp_path)
        expected = curve(trainer(data))
        assert expected[0]["train_loss"] != expected[1]["train_loss"]
        for loader in LOADERS:
            assert curve(trainer(data, loader)) == expected

    @pytest.mark.parametrize("name", ["images", "noisy", "stream"])
    def test_training_goes_on_bit_for_bit(self, name: str, tmp_path: Path) -> None:
        data = data_of(name, tmp_path)
        expected = curve(trainer(data), 4)
        first, second = trainer(data, LOADERS[0]), trainer(data, LOADERS[1])
        halves = curve(first)[:2]
        second.load_state_dict(first.state_dict())
        assert [*halves, *curve(second)] == expected

    def test_a_cache_changes_nothing(self, tmp_path: Path) -> None:
        folder = write_images(tmp_path)
        one, other = (
            load("image_folder", folder, path=".", cache=cache)
            for cache in ("none", "shared_memory")
        )
        assert curve(trainer(one)) == curve(trainer(other, LOADERS[1]))
        assert other.train.store.num_decoded > 25  # the processes decoded into it

    def test_each_epoch_and_batch_draws_anew(self) -> None:
        batches = LoadedBatches(Noisy(), torch.device("cpu"), {})
        order = torch.zeros(16, dtype=torch.int64)
        seen = [x[0] for epoch in (1, 2) for x, _ in batches.read(8, order, Reading(epoch << 9))]
        assert len({float(x[0]) for x in seen}) == 4

    def test_the_generators_of_the_process_are_left_alone(self) -> None:
        torch.manual_seed(0)
        expected = torch.rand(3)
        torch.manual_seed(0)
        list(LoadedBatches(Noisy(), torch.device("cpu"), {}).read(8))
        assert torch.equal(torch.rand(3), expected)

    def test_random_states_continue(self) -> None:
        states, again = RandomStates(3), RandomStates(3)
        with states.used():
            first = torch.rand(()), np.random.rand(), random.random()
        with states.used():
            second = torch.rand(()), np.random.rand(), random.random()
        with again.used():
            assert first == (torch.rand(()), np.random.rand(), random.random())
            assert second == (torch.rand(()), np.random.rand(), random.random())

    def test_folds_of_images(self, tmp_path: Path) -> None:
        data = load("image_folder", write_images(tmp_path), path=".", folds=3, train_rows=8)
        values = {"model": CNN, "optimizer": {"name": "adam", "lr": 0.01}, "batch_size": 8}
        metrics = CrossValidation(TrialConfig(0, 0, 1, values), data).train_epoch()
        assert metrics is not None and metrics["val_loss"] > 0


class TestProcesses:
    def test_stay_from_epoch_to_epoch_or_not(self) -> None:
        for persistent in (True, False):
            loader = {"num_workers": 2, "persistent_workers": persistent}
            batches = LoadedBatches(Workers(), torch.device("cpu"), loader)
            first, second = ({int(y) for _, ys in batches.read(2) for y in ys} for _ in range(2))
            assert len(first) == 2 and (first == second) is persistent
            batches.close()

    def test_two_readings_at_once(self) -> None:
        batches = LoadedBatches(Noisy(), torch.device("cpu"), {"num_workers": 1})
        expected = [x for x, _ in batches.read(8)]
        first, second = batches.read(8), batches.read(8)
        for (x, _), (again, _), whole in zip(first, second, expected, strict=True):
            assert torch.equal(x, whole) and torch.equal(again, whole)
        batches.close()

    def test_a_reading_that_was_broken_off(self) -> None:
        batches = LoadedBatches(Noisy(), torch.device("cpu"), {"num_workers": 2})
        expected = [x for x, _ in batches.read(8)]
        next(batches.read(8))
        assert all(map(torch.equal, expected, (x for x, _ in batches.read(8))))
        batches.close()

    def test_an_error_is_as_it_was_raised(self, tmp_path: Path) -> None:
        data = load("image_folder", write_images(tmp_path, suffix="jpg"), path=".")
        for file in tmp_path.rglob("*.jpg"):
            file.write_bytes(file.read_bytes()[:300])
        for loader in ({}, {"num_workers": 1}):
            batches = LoadedBatches(data.train, torch.device("cpu"), loader)
            with pytest.raises(
                DataError, match=r"^path: every image must be readable, but /\S*jpg: "
            ):
                list(batches.read(8))


class Workers(Dataset[Any]):
    """The process that reads a row, as its target."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.zeros(1), os.getpid()


class TestStreams:
    def test_is_read_in_its_own_order(self) -> None:
        batches = LoadedBatches(Numbers(), torch.device("cpu"), {})
        sizes = [len(y) for _, y in batches.read(8)]
        assert sizes == [8, 8, 4]
        rows = [int(row) for x, _ in batches.read(8, None, Reading(0, 1)) for row in x[:, 0]]
        assert rows == [*range(5, 20), *range(5)]  # the order of epoch 1

    def test_several_passes(self) -> None:
        batches = LoadedBatches(Numbers(), torch.device("cpu"), {})
        rows = [int(row) for x, _ in batches.read(8, torch.arange(30)) for row in x[:, 0]]
        assert rows == [*range(20), *range(10)]

    def test_longer_than_it_says(self) -> None:
        batches = LoadedBatches(Numbers(6, 20), torch.device("cpu"), {})
        assert sum(len(y) for _, y in batches.read(4)) == 6

    def test_shorter_than_it_says(self) -> None:
        batches = LoadedBatches(Numbers(20, 7), torch.device("cpu"), {"num_workers": 1})
        with pytest.raises(DataError, match="as many rows as its __len__, 20, but got 7"):
            list(batches.read(4))

    def test_without_a_length(self, tmp_path: Path) -> None:
        with pytest.raises(UserCodeError, match="a Dataset with a __len__, the rows of an epoch"):
            load_data({"name": f"{__name__}:endless"}, seed=0)

    def test_a_refit_reads_both_parts(self) -> None:
        data = data_of("stream", Path())
        values = {"model": MLP, "optimizer": {"name": "adam", "lr": 0.01}, "batch_size": 8}
        merged = data.merged().train
        assert [int(x[0]) for x, _ in merged] == [*range(20), *range(8)]
        assert refit(TrialConfig(0, 0, 1, values), data, 1).evaluate("train")["train_loss"] > 0

    @pytest.mark.parametrize(
        ("values", "match"),
        [
            ({"finetune": {"name": "subset"}}, "finetune: needs rows by number"),
            ({"last_batch": "wrap"}, "last_batch: must be keep or drop for an IterableDataset"),
        ],
    )
    def test_what_needs_rows_by_number(self, values: Any, match: str) -> None:
        with pytest.raises(BadConfigurationError, match=match):
            trainer(data_of("stream", Path()), **values)

    def test_regression(self) -> None:
        data = load_data({"name": f"{__name__}:whole_numbers", "kind": "regression"}, seed=0)
        assert curve(trainer(data)) == curve(trainer(data, LOADERS[0]))


def endless() -> Any:
    made = type("Endless", (IterableDataset,), {"__iter__": lambda self: itertools.repeat(0)})
    return {"train": made(), "val": made()}


def whole_numbers() -> Any:
    return {"train": Numbers(), "val": Numbers(8, 8)}


class TestSpec:
    def test_reaches_a_trial(self) -> None:
        spec = check(draft_spec(changed(loader={"num_workers": 2})))
        assert spec.loader.num_workers == 2 and spec.loader.persistent_workers
        assert check(draft_spec(spec.to_dict())).loader == spec.loader

    @pytest.mark.parametrize(
        ("loader", "match"),
        [
            ({"num_workers": -1}, "loader.num_workers: must be .* 0, but got -1"),
            ({"workers": 2}, "loader.workers: .*did you mean 'num_workers'"),
            ({"prefetch_factor": 0}, "loader.prefetch_factor"),
        ],
    )
    def test_mistakes(self, loader: Any, match: str) -> None:
        with pytest.raises(SpecError, match=match):
            check(draft_spec(changed(loader=loader)))
