"""Data sets: reading, checking, splitting, standardising."""

from __future__ import annotations

import gzip
import pickle
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hpsearch.components import Arrays, Data, load_data
from hpsearch.components.datasets.catalogue import FASHION_MNIST_FOLDER
from hpsearch.components.examples import Scale
from hpsearch.errors import DataError, UserCodeError
from tests.support.datasets import arrays, load, user_factory
from tests.support.trainers import make


def undone(data: Data) -> Arrays:
    """The training split with its targets in their own units."""
    train = arrays(data.train)
    return Arrays(train.x, train.y * data.y_scale.std + data.y_scale.mean)


@pytest.mark.parametrize(
    ("name", "kind", "shape", "outputs", "rows"),
    [
        ("digits", "classification", (1, 8, 8), 10, 1797),
        ("wine", "classification", (13,), 3, 178),
        ("breast_cancer", "classification", (30,), 2, 569),
        ("diabetes", "regression", (10,), 1, 442),
    ],
)
def test_bundled_sets(
    name: str, kind: str, shape: tuple[int, ...], outputs: int, rows: int
) -> None:
    data = load(name)
    assert (data.kind, data.input_shape, data.output_size) == (kind, shape, outputs)
    splits = [arrays(split) for split in (data.train, data.val, data.test)]
    assert sum(map(len, splits)) == rows
    assert [len(split) / rows for split in splits] == pytest.approx([0.64, 0.16, 0.2], abs=0.01)
    assert all(split.x.dtype == np.float32 for split in splits)
    assert splits[0].y.dtype == (np.int64 if kind == "classification" else np.float32)
    assert len(data.class_names) == (outputs if kind == "classification" else 0)


def test_splits_are_stratified_and_disjoint() -> None:
    data = load("digits", standardize=False)
    shares = []
    for split in (data.train, data.val, data.test):
        counts = np.bincount(arrays(split).y)
        shares.append(counts / counts.sum())
    assert np.abs(shares[0] - shares[1]).max() < 0.01
    assert np.abs(shares[0] - shares[2]).max() < 0.01
    data = load("diabetes", standardize=False)  # no two of its rows are alike
    rows = np.concatenate([arrays(s).x for s in (data.train, data.val, data.test)])
    assert len(np.unique(rows, axis=0)) == 442


def test_splits_come_from_the_seed() -> None:
    first, again, other = (arrays(load("wine", seed=seed).train).x for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_standardisation_is_fitted_on_the_training_rows() -> None:
    data, raw = load("wine"), load("wine", standardize=False)
    train = arrays(data.train).x
    assert train.mean(0) == pytest.approx(np.zeros(13), abs=1e-5)
    assert train.std(0) == pytest.approx(np.ones(13), abs=1e-4)
    val = arrays(data.val).x
    assert abs(val.mean(0)).max() > 0.01  # not fitted on these
    expected = (arrays(raw.val).x - data.x_scale.mean) / data.x_scale.std
    assert np.array_equal(val, expected)


def test_images_are_standardised_by_channel() -> None:
    data = load("digits")
    assert data.x_scale.mean.shape == (1, 1, 1)
    assert arrays(data.train).x.std() == pytest.approx(1, abs=1e-4)


def test_a_constant_feature_is_only_shifted(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(50, 2))
    x[:, 1] = 7e4 / 3
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(50) % 2)
    train = arrays(load("npz", tmp_path, path="a.npz").train).x
    assert train[:, 1] == pytest.approx(np.zeros(len(train)), abs=0.01)


def test_row_caps_keep_classes_in_proportion() -> None:
    data = load("digits", train_rows=500, val_rows=100)
    assert len(arrays(data.train)) == 500
    counts = np.bincount(arrays(data.val).y)
    assert counts.sum() == 100
    assert set(counts) <= {9, 10, 11}
    with pytest.raises(DataError, match=r"train_rows: must be at most the 1150 .* got 9999"):
        load("digits", train_rows=9999)


def test_no_test_split() -> None:
    assert load("wine", test_fraction=0).test is None


@pytest.mark.parametrize("keyword", ["val_fraction", "test_fraction"])
def test_a_fraction_that_leaves_nothing(keyword: str) -> None:
    with pytest.raises(
        DataError,
        match=f"^{keyword}: must leave at least one of .* rows in each part, but got 0.001",
    ):
        load_data({"name": "wine", keyword: 0.001}, seed=0)


class TestFolds:
    def test_each_row_validates_once(self) -> None:
        data = load("wine", folds=4)
        assert data.val is None
        num_rows = len(arrays(data.train))
        assert sorted(np.concatenate([val for _, val in data.folds])) == list(range(num_rows))
        for train, val in data.folds:
            assert sorted([*train, *val]) == list(range(num_rows))
            shares = np.bincount(arrays(data.train).y[val]) / len(val)
            assert shares == pytest.approx([0.33, 0.40, 0.27], abs=0.05)
        assert data.num_train_rows == min(len(train) for train, _ in data.folds)

    def test_each_fold_is_standardised_on_its_own_rows(self) -> None:
        data = load("wine", folds=3)
        for i, (rows, _) in enumerate(data.folds):
            fold = data.fold(i)
            assert arrays(fold.train).x.mean(0) == pytest.approx(np.zeros(13), abs=1e-5)
            raw = arrays(data.train).x[rows]
            assert fold.x_scale.mean == pytest.approx(raw.mean(0), rel=1e-4)

    def test_rows_are_capped_in_each_fold(self) -> None:
        data = load("wine", folds=3, train_rows=60, val_rows=20)
        assert [(len(train), len(val)) for train, val in data.folds] == [(60, 20)] * 3
        assert all(not set(train) & set(val) for train, val in data.folds)

    def test_more_folds_than_rows(self) -> None:
        with pytest.raises(DataError, match="folds: must be at most 142 with 142 rows"):
            load("wine", folds=143)


@pytest.mark.parametrize("keywords", [{}, {"folds": 3}, {"standardize": False}])
@pytest.mark.parametrize("name", ["wine", "diabetes"])
def test_merged_data_has_all_rows_but_the_test_split(name: str, keywords: dict[str, Any]) -> None:
    merged = load(name, **keywords).merged()
    raw = load(name, folds=2, standardize=False)
    assert merged.val is None and merged.folds == ()
    x = arrays(merged.train).x * merged.x_scale.std + merged.x_scale.mean
    expected = arrays(raw.train).x
    assert np.sort(x, axis=0) == pytest.approx(np.sort(expected, axis=0), rel=1e-3, abs=1e-3)


def test_data_survives_pickling_without_a_copy() -> None:
    data = load("wine")
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(data, protocol=5, buffer_callback=buffers.append)
    assert len(pickled) < 5000  # arrays travel beside it
    copy = pickle.loads(pickled, buffers=[buffer.raw().toreadonly() for buffer in buffers])
    assert np.array_equal(copy.train.x, arrays(data.train).x)
    assert not copy.train.x.flags.writeable


class TestTables:
    @pytest.fixture
    def table(self) -> pd.DataFrame:
        rng = np.random.default_rng(0)
        return pd.DataFrame(
            {
                "id": [f"row {i}" for i in range(150)],
                "size": rng.normal(size=150),
                "colour": rng.choice(["red", "green", "blue"], 150),
                "sold": rng.choice(["yes", "no"], 150),
                "price": rng.normal(100, 20, size=150),
            }
        )

    @pytest.mark.parametrize("name", ["csv", "parquet"])
    def test_text_becomes_one_feature_a_value(
        self, table: pd.DataFrame, tmp_path: Path, name: str
    ) -> None:
        getattr(table, f"to_{name}")(tmp_path / "t", index=False)
        data = load(name, tmp_path, path="t", target="sold", drop=["id"], standardize=False)
        assert data.kind == "classification"
        assert data.class_names == ("no", "yes")
        assert data.feature_names == ("size", "price", "colour_blue", "colour_green", "colour_red")
        assert np.array_equal(arrays(data.train).x[:, 2:].sum(1), np.ones(len(arrays(data.train))))

    def test_numbers_make_a_regression_in_several_targets(
        self, table: pd.DataFrame, tmp_path: Path
    ) -> None:
        table.to_csv(tmp_path / "t.csv", index=False, sep=";")
        keywords: dict[str, Any] = {"drop": ["id", "sold"], "separator": ";"}
        data = load("csv", tmp_path, path="t.csv", target="price", **keywords)
        assert (data.kind, data.output_size) == ("regression", 1)
        assert data.y_scale.mean == pytest.approx([100], abs=8)
        assert arrays(data.train).y.std() == pytest.approx(1, abs=1e-4)
        data = load("csv", tmp_path, path="t.csv", target=["price", "size"], **keywords)
        assert (data.kind, data.output_size) == ("regression", 2)
        assert arrays(data.val).y.shape[1] == 2

    @pytest.mark.parametrize(
        ("keywords", "message"),
        [
            ({"path": "no.csv"}, r"^path: must be a file .*no.csv"),
            ({"target": "solt"}, r"^target: must be a column of .* did you mean 'sold'"),
            ({"drop": ["ids"]}, r"^drop: must be a column of .* got 'ids'"),
            ({"drop": []}, r"column 'id' .* at most 100 different texts, but has 150"),
            ({"kind": "regression"}, r"^kind: regression needs .* numbers, but got '"),
            ({"target": ["sold", "colour"]}, r"one target a row"),
        ],
    )
    def test_mistakes(
        self, table: pd.DataFrame, tmp_path: Path, keywords: dict[str, Any], message: str
    ) -> None:
        table.to_csv(tmp_path / "t.csv", index=False)
        with pytest.raises(DataError, match=message):
            load(
                "csv", tmp_path, **{"path": "t.csv", "target": "sold", "drop": ["id"], **keywords}
            )

    def test_missing_cells_are_counted(self, table: pd.DataFrame, tmp_path: Path) -> None:
        table.loc[3:5, "size"] = np.nan
        table.to_csv(tmp_path / "t.csv", index=False)
        with pytest.raises(DataError, match=r"some have none: size \(3\)"):
            load("csv", tmp_path, path="t.csv", target="sold", drop=["id"])
        assert load("csv", tmp_path, path="t.csv", target="sold", drop=["id", "size"])

    @pytest.mark.parametrize("name", ["csv", "parquet", "npz"])
    def test_a_file_of_another_kind(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "t").write_bytes(b"\x00\xff\xfe nonsense \x80")
        keywords: dict[str, Any] = {} if name == "npz" else {"target": "y"}
        with pytest.raises(DataError, match="^(path|encoding): must be"):
            load(name, tmp_path, path="t", **keywords)


class TestArrays:
    def test_npz_with_its_own_test_split(self, tmp_path: Path) -> None:
        x, y = np.arange(60.0).reshape(30, 2), np.arange(30) % 3
        np.savez(tmp_path / "a.npz", a=x, b=y, c=x[:6] + 0.5, d=y[:6])
        names: dict[str, Any] = {"path": "a.npz", "x": "a", "y": "b", "x_test": "c", "y_test": "d"}
        data = load("npz", tmp_path, standardize=False, **names)
        assert np.array_equal(arrays(data.test).x, x[:6] + 0.5)
        assert len(arrays(data.train)) == 24
        with pytest.raises(DataError, match="test_fraction: must not be given.*of its own"):
            load("npz", tmp_path, test_fraction=0.1, **names)
        with pytest.raises(DataError, match=r"^[xy]: must be an array of .*a, b, c, d.* got 'z'"):
            load("npz", tmp_path, **{**names, "y": "z"})
        with pytest.raises(DataError, match=r"^[xy]_test: must be an array of .* got None"):
            load("npz", tmp_path, path="a.npz", x="a", y="b", x_test="c")

    def test_values_must_be_finite(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", x=np.full((5, 2), np.inf), y=np.zeros(5))
        with pytest.raises(DataError, match="x of train must be finite, but 10 of 10"):
            load("npz", tmp_path, path="a.npz")

    def test_one_class_is_none(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", x=np.ones((5, 2)), y=np.zeros(5, int))
        with pytest.raises(DataError, match="at least two classes"):
            load("npz", tmp_path, path="a.npz")


class TestFashionMnist:
    def test_missing_files_say_how_to_get_them(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"apt-get install dataset-fashion-mnist.*data_dir"):
            load("fashion_mnist", tmp_path, data_dir="here")

    def test_idx_files_are_read(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        pixels = {"train": rng.integers(0, 256, (40, 28, 28)), "t10k": np.full((10, 28, 28), 255)}
        for name, images in pixels.items():
            header = struct.pack(">4B3i", 0, 0, 8, 3, *images.shape)
            _write_gzip(tmp_path / f"{name}-images-idx3-ubyte.gz", header, images)
            header = struct.pack(">4Bi", 0, 0, 8, 1, len(images))
            labels = np.arange(len(images)) % 10
            _write_gzip(tmp_path / f"{name}-labels-idx1-ubyte.gz", header, labels)
        data = load("fashion_mnist", tmp_path, data_dir=".", standardize=False)
        assert np.array_equal(arrays(data.test).x, np.ones((10, 1, 28, 28), np.float32))
        assert np.array_equal(arrays(data.test).y, np.arange(10))
        assert (len(arrays(data.train)), len(arrays(data.val))) == (32, 8)
        seen = np.sort(np.concatenate([arrays(s).x for s in (data.train, data.val)]).ravel())
        assert np.array_equal(
            seen, np.sort((pixels["train"].astype(np.float32) / np.float32(255)).ravel())
        )

    @pytest.mark.skipif(
        not Path(FASHION_MNIST_FOLDER).is_dir(),
        reason="needs the Debian package dataset-fashion-mnist",
    )
    def test_the_real_files(self) -> None:
        data = load("fashion_mnist", train_rows=12_000, val_rows=3_000)
        assert [len(arrays(s)) for s in (data.train, data.val, data.test)] == [12000, 3000, 10000]
        assert np.array_equal(np.bincount(arrays(data.train).y), np.full(10, 1200))
        assert data.class_names[9] == "Ankle boot"
        assert data.x_scale.mean == pytest.approx(0.286, abs=0.003)  # as published


def _write_gzip(path: Path, header: bytes, values: Any) -> None:
    path.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes()))


class TestUserFactories:
    @pytest.mark.parametrize(
        "body",
        [
            "return np.eye(40), np.arange(40) % 2",
            "return torch.eye(40), torch.arange(40) % 2",
            "return {'train': (np.eye(40), np.arange(40) % 2), 'classes': ['a', 'b']}",
            "return {'train': [np.eye(40).tolist(), (np.arange(40) % 2)[:, None]]}",
        ],
    )
    def test_arrays_and_tensors(self, tmp_path: Path, body: str) -> None:
        data = load(user_factory(tmp_path, body), tmp_path, val_fraction=0.25)
        assert (data.input_shape, data.output_size) == ((40,), 2)
        assert [len(arrays(s)) for s in (data.train, data.val, data.test)] == [24, 8, 8]

    def test_splits_are_kept(self, tmp_path: Path) -> None:
        body = "part = np.eye(9), np.arange(9) / 2; return dict(train=part, val=part, test=part)"
        name = user_factory(tmp_path, body)
        data = load(name, tmp_path)
        assert [len(arrays(s)) for s in (data.train, data.val, data.test)] == [9, 9, 9]
        for keyword, value in (("val_fraction", 0.2), ("test_fraction", 0.2), ("folds", 3)):
            with pytest.raises(DataError, match=f"^{keyword}: must not be given"):
                load_data({"name": name, keyword: value}, seed=0, folder=tmp_path)

    def test_datasets_are_used_as_they_are(self, tmp_path: Path) -> None:
        body = (
            "d = torch.utils.data.TensorDataset(torch.ones(6, 1, 4, 4), torch.arange(6) % 3); "
            "return {'train': d, 'val': d}"
        )
        name = user_factory(tmp_path, body)
        data = load(name, tmp_path)
        assert (data.kind, data.input_shape, data.output_size) == ("classification", (1, 4, 4), 3)
        assert data.num_train_rows == 6
        with pytest.raises(DataError, match="standardize: must not be given.*Datasets"):
            load(name, tmp_path, standardize=True)

    @pytest.mark.parametrize(
        ("targets", "kind", "outputs"),
        [
            ("torch.rand(60, 3).softmax(1)", "classification", 3),
            ("(torch.rand(60, 3) > 0.5)", "multilabel", 3),
            ("torch.rand(60, 3)", "multilabel", 3),
            ("torch.rand(60, 3)", "regression", 3),
            ("torch.arange(60)", "regression", 1),
            ("torch.arange(60) % 4", "classification", 4),
        ],
    )
    def test_datasets_with_targets_of_every_kind(
        self, tmp_path: Path, targets: str, kind: Any, outputs: int
    ) -> None:
        """What they teach is what arrays of the same numbers teach."""
        parts = f"x, y = torch.rand(60, 4, generator=g), {targets}; "
        head = "torch.manual_seed(0); g = torch.Generator().manual_seed(0); " + parts
        data = load(
            user_factory(
                tmp_path,
                f"{head}d = torch.utils.data.TensorDataset(x, y); return dict(train=d, val=d)",
            ),
            tmp_path,
            kind=kind,
        )
        same = load(
            user_factory(tmp_path, f"{head}return dict(train=(x, y), val=(x, y))"),
            tmp_path,
            kind=kind,
            standardize=False,
            test_fraction=0,
        )
        assert (data.kind, data.output_size) == (kind, outputs)
        assert data.has_soft_targets == same.has_soft_targets
        if kind == "regression":  # arrays' targets are standardised
            same = replace(same, train=undone(same), val=undone(same), y_scale=Scale.identity())
        blocks = {"model": {"name": "mlp"}, "optimizer": {"name": "adam"}, "batch_size": 20}
        curves = [make(each, **blocks).train_epoch() for each in (data, same)]
        assert all(curve is not None for curve in curves)
        one, other = ({**curve, "seconds": 0} for curve in curves if curve is not None)
        assert one == pytest.approx(other, rel=1e-4, nan_ok=True)

    @pytest.mark.parametrize(
        ("targets", "kind", "message"),
        [
            ("torch.ones(6, 3)", "classification", "must add up to 1 in each row"),
            ("torch.ones(6) / 2", "classification", "needs class numbers, but got fractions"),
            ("2 * torch.ones(6, 3)", "multilabel", "must be from 0 to 1, but there are 2 to 2"),
            ("torch.arange(6) % 2", "multilabel", r"needs targets of the shape \(rows, columns\)"),
        ],
    )
    def test_targets_of_datasets_are_checked(
        self, tmp_path: Path, targets: str, kind: Any, message: str
    ) -> None:
        body = f"d = torch.utils.data.TensorDataset(torch.ones(6, 4), {targets}); "
        name = user_factory(tmp_path, body + "return {'train': d, 'val': d}")
        with pytest.raises(DataError, match=message):
            load(name, tmp_path, kind=kind)

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ("return None", "must return .*x, y.* but got NoneType"),
            ("return np.eye(3)", "must return .* but got ndarray"),
            ("return 1, 2, 3", "must return .* but train is tuple of 3"),
            ("return {'val': 1}", "must return .* but got dict"),
            ("return {'train': (np.eye(3), np.ones(3)), 'tset': 1}", "got the key 'tset'"),
            ("return np.ones(3), np.ones(3)", r"x of train must be numbers of the shape .*\(3,\)"),
            ("return np.array([['a'], ['b']]), np.ones(2)", "x of train must be numbers.*<U1"),
            ("return np.eye(3), np.ones(4)", r"as many rows.*\(3, 3\) and \(4,\)"),
            ("return [[1, 2], [3]], [1, 2]", "must be arrays, but"),
            ("raise OSError('disk on fire')", "failed: OSError: disk on fire"),
            (
                "d = torch.utils.data.TensorDataset(torch.eye(3), torch.ones(3)); "
                "return {'train': d, 'test': d}",
                "must return a Dataset for 'val' too, or one Dataset alone, which is divided, "
                "but got train and test",
            ),
            (
                "return type('Endless', (torch.utils.data.IterableDataset,), "
                "{'__iter__': lambda self: iter(())})()",
                "must be a Dataset with a __len__, the rows of an epoch",
            ),
        ],
    )
    def test_mistakes(self, tmp_path: Path, body: str, message: str) -> None:
        with pytest.raises(UserCodeError, match=message):
            load(user_factory(tmp_path, body), tmp_path)

    @pytest.mark.parametrize(
        ("given", "sizes"),
        [
            ({}, (13, 3, 4)),
            ({"val_fraction": 0.5, "test_fraction": 0.5}, (5, 5, 10)),
            ({"test_fraction": 0, "split": "chronological"}, (16, 4, 0)),
        ],
    )
    def test_a_single_dataset_is_divided(
        self, tmp_path: Path, given: dict[str, Any], sizes: tuple[int, ...]
    ) -> None:
        body = (
            "x = torch.arange(20); return torch.utils.data.TensorDataset(1.0 * x[:, None], x % 2)"
        )
        name = user_factory(tmp_path, body)
        data, again = (load(name, tmp_path, **given) for _ in range(2))
        splits = [data.train, data.val, data.test]
        rows = [[float(split[i][0]) for i in range(len(split))] for split in splits if split]
        assert tuple(map(len, [*rows, []]))[:3] == sizes
        assert sorted(sum(rows, [])) == list(range(20))
        if given.get("split"):
            assert rows[1] == [16, 17, 18, 19]
        else:
            assert rows[0] != sorted(rows[0])
        assert [float(again.train[i][0]) for i in range(len(again.train))] == rows[0]

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"split": "group"}, "split: must be random or chronological: .* no groups"),
            ({"folds": 3}, "folds: must not be given, as the data set has torch Datasets"),
        ],
    )
    def test_a_single_dataset_takes_no_other_way(
        self, tmp_path: Path, given: dict[str, Any], message: str
    ) -> None:
        factory = "return torch.utils.data.TensorDataset(torch.eye(9), torch.arange(9) % 2)"
        with pytest.raises(DataError, match=message):
            load(user_factory(tmp_path, factory), tmp_path, **given)

    def test_splits_may_be_a_tuple(self, tmp_path: Path) -> None:
        of_arrays = "return (np.eye(8), np.arange(8) % 2), (np.ones((2, 8)), np.arange(2))"
        data = load(user_factory(tmp_path, of_arrays), tmp_path, test_fraction=0)
        assert (len(data.train), len(data.val or ())) == (8, 2)
        of_datasets = "d = torch.utils.data.TensorDataset(torch.eye(4), torch.arange(4) % 2)"
        data = load(user_factory(tmp_path, f"{of_datasets}; return d, d, d"), tmp_path)
        assert data.test is not None and len(data.test) == 4

    def test_class_numbers_must_fit_the_names(self, tmp_path: Path) -> None:
        body = "return {'train': (np.eye(9), np.arange(9)), 'classes': ['a', 'b']}"
        with pytest.raises(DataError, match="numbers of the 2 classes, from 0, .* 0 to 8"):
            load(user_factory(tmp_path, body), tmp_path)


def test_folds_take_the_place_of_a_fraction() -> None:
    with pytest.raises(DataError, match="val_fraction: must not be given.*folds"):
        load("wine", folds=3, val_fraction=0.1)
