"""Examples of an image and a text: the data, the model, and what takes neither."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

import hpsearch.components.datasets.image_texts
import hpsearch.components.input_parts
from hpsearch.components import Data, load_data
from hpsearch.components.input_parts import InputPart, packed, unpacked
from hpsearch.components.models.late_fusion import Concatenated, GatedUnit, LateFusion
from hpsearch.errors import BadConfigurationError, DataError, UserCodeError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer, export_model
from tests.support.datasets import arrays, load, user_factory
from tests.support.images import picture
from tests.support.problems import problems_of
from tests.support.trainers import goes_on_bit_for_bit

IMAGE = {"name": "mlp", "hidden_sizes": [32]}
MODEL = {"name": "late_fusion", "embedding_size": 16, "encoders": {"image": IMAGE}}
SECTION = {"path": "t.csv", "image": "file", "text": "said", "target": "y", "image_size": [5, 4]}


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data({"name": "captioned_shapes", "images": 600, "size": 8}, seed=0)


def trainer(data: Data, epochs: int = 4, **model: Any) -> Trainer:
    values = {
        "model": {**MODEL, **model},
        "optimizer": {"name": "adam", "lr": 0.01},
        "batch_size": 16,
    }
    return Trainer(TrialConfig(0, 0, epochs, values), data)


class TestParts:
    def test_what_is_packed_comes_apart_again(self) -> None:
        images, ids = np.random.rand(5, 1, 2, 3).astype(np.float32), np.arange(20).reshape(5, 4)
        parts = InputPart("image", (1, 2, 3)), InputPart("text", (4,), 20)
        found = list(unpacked(torch.from_numpy(packed([images, ids])), parts))
        assert np.array_equal(found[0].numpy(), images)
        assert np.array_equal(found[1].numpy(), ids)
        for module in (hpsearch.components.input_parts, hpsearch.components.datasets.image_texts):
            assert doctest.testmod(module).failed == 0

    def test_of_data_of_ones_own(self, tmp_path: Path) -> None:
        body = """
    from hpsearch.components.input_parts import InputPart, packed
    rng = np.random.default_rng(0)
    numbers, ids = rng.normal(size=(40, 3)), rng.integers(0, 5, (40, 2))
    parts = [InputPart("numbers", (3,)), InputPart("text", (2,), TOKENS)]
    return {"train": (packed([numbers, ids]), ids[:, 0] > 1), "inputs": parts}"""
        own = load(user_factory(tmp_path, body.replace("TOKENS", "5")), tmp_path)
        assert [part.name for part in own.input_parts] == ["numbers", "text"]
        assert not own.standardize
        metrics = trainer(own, encoders={}).train_epoch()
        assert metrics is not None and metrics["val_accuracy"] > 0
        with pytest.raises(DataError, match="text must be ids of tokens from 0 to 3, but has 4"):
            load(user_factory(tmp_path, body.replace("TOKENS", "4")), tmp_path)
        with pytest.raises(UserCodeError, match="inputs must be InputParts, but got int"):
            wrong = body.replace("TOKENS", "5").replace('"inputs": parts', '"inputs": [1]')
            load(user_factory(tmp_path, wrong), tmp_path)


class TestUnits:
    def test_gates_weigh_each_input_by_all(self) -> None:
        """Arevalo et al., 2017, section 3.3."""
        torch.manual_seed(0)
        unit, e = GatedUnit(2, 3), torch.randn(4, 2, 3)
        z = torch.sigmoid(unit.gates(torch.cat([e[:, 0], e[:, 1]], 1)))
        first, second = unit.inputs
        expected = z[:, :3] * first(e[:, 0]).tanh() + z[:, 3:] * second(e[:, 1]).tanh()
        torch.testing.assert_close(unit(e), expected)

    def test_concatenation(self) -> None:
        unit, e = Concatenated(2, 3), torch.randn(4, 2, 3)
        torch.testing.assert_close(unit(e), unit.layer(torch.cat([e[:, 0], e[:, 1]], 1)).relu())


class TestModel:
    @pytest.mark.parametrize("fusion", ["gated", "concat"])
    def test_it_finds_what_neither_input_says_by_itself(self, data: Data, fusion: str) -> None:
        one = trainer(data, 12, fusion=fusion)
        curve = [(one.train_epoch() or {})["val_accuracy"] for _ in range(12)]
        assert curve[-1] > 0.8
        val = arrays(data.val)
        accuracies = []
        for part in range(2):  # as other examples have it: what is left says nothing
            image, text = unpacked(torch.from_numpy(val.x), data.input_parts)
            mixed = [image, text]
            mixed[part] = mixed[part][torch.randperm(len(val.x))]
            x = torch.from_numpy(packed([each.numpy() for each in mixed]))
            with torch.no_grad():
                said = one.model.eval()(x).argmax(1)
            accuracies.append((said.numpy() == val.y).mean())
        assert all(0.3 < accuracy < 0.7 for accuracy in accuracies)

    def test_goes_on_bit_for_bit(self, data: Data) -> None:
        goes_on_bit_for_bit(*(trainer(data) for _ in range(3)))

    def test_encoders_are_those_of_the_inputs(self, data: Data) -> None:
        model = trainer(data, encoders={}).model
        assert isinstance(model, LateFusion)
        names = [type(each).__name__ for each in model.encoders]
        assert names[1] == "RecurrentNet" and any(
            isinstance(each, torch.nn.Conv2d) for each in model.encoders[0].modules()
        )
        words = {"name": "transformer", "width": 8, "heads": 2, "layers": 1}
        assert trainer(data, encoders={"text": words}).train_epoch() is not None

    @pytest.mark.parametrize("finetune", ["feature_extract", "full"])
    def test_it_is_fine_tuned(self, data: Data, finetune: str) -> None:
        values = {**trainer(data).config.values, "finetune": finetune}
        one = Trainer(TrialConfig(0, 0, 1, values), data)
        before = {name: p.clone() for name, p in one.model.named_parameters()}
        one.train_epoch()
        moved = {n for n, p in one.model.named_parameters() if not torch.equal(p, before[n])}
        assert any(name.startswith("head") for name in moved)
        assert any(name.startswith("encoders") for name in moved) == (finetune == "full")


def write_table(folder: Path, images: int = 30) -> pd.DataFrame:
    from PIL import Image

    rows = []
    (folder / "pictures").mkdir()
    for i in range(images):
        Image.fromarray(picture(i, i % 3)).save(folder / f"pictures/{i}.png")
        said = "A dark, dark one" if i % 2 else "a LIGHT one"
        rows.append({"file": f"pictures/{i}.png", "said": said, "y": "ab"[i % 2], "n": i})
    table = pd.DataFrame(rows)
    table.to_csv(folder / "t.csv", index=False)
    return table


class TestTable:
    def read(self, folder: Path, **keywords: Any) -> Data:
        section = {"name": "image_text_csv", **SECTION, **keywords}
        return load_data(section, seed=0, folder=folder)

    def test_images_and_words(self, tmp_path: Path) -> None:
        write_table(tmp_path)
        data = self.read(tmp_path, length=3, words=2)
        image, text = data.input_parts
        assert (image.shape, text.shape, text.num_tokens) == ((3, 5, 4), (3,), 4)
        train = torch.from_numpy(arrays(data.train).x)
        pixels, ids = unpacked(train, data.input_parts)
        assert pixels.min() >= 0 and 0.5 < pixels.max() <= 1
        # a, dark and one are there 30 times each: the first two by the alphabet are known
        assert {tuple(row) for row in ids.tolist()} == {(2, 3, 3), (2, 1, 1)}

    def test_an_exported_model_takes_such_a_table(self, tmp_path: Path) -> None:
        table = write_table(tmp_path)
        data = self.read(tmp_path)
        one = trainer(data)
        one.train_epoch()
        exported = export_model(one)
        found = exported.predict_table(table.drop(columns="y"))
        assert set(found["prediction"]) <= {"a", "b"} and len(found) == len(table)
        rows = torch.from_numpy(data.as_raw(arrays(data.val).x))
        outputs, _ = one.predict("val")
        torch.testing.assert_close(exported(rows), outputs, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize(
        ("keywords", "match"),
        [
            (
                {"image": "files"},
                "image: must be a column of .* but got 'files'; did you mean 'file'",
            ),
            ({"text": "file"}, "text: must be another column than image, but got 'file'"),
            ({"standardize": True}, "standardize: must not be given"),
            ({"image": "n"}, "every image must be readable, but .*No such file"),
        ],
    )
    def test_mistakes(self, tmp_path: Path, keywords: Any, match: str) -> None:
        write_table(tmp_path)
        with pytest.raises(DataError, match=match):
            self.read(tmp_path, **keywords)


class TestRefused:
    def test_other_models(self, data: Data) -> None:
        rule = r"must be a model of several inputs \(late_fusion\), as an example has image, text"
        with pytest.raises(BadConfigurationError, match=rule):
            values = {"model": IMAGE, "optimizer": {"name": "sgd"}, "batch_size": 8}
            Trainer(TrialConfig(0, 0, 1, values), data)

    def test_other_data(self) -> None:
        wine = load_data({"name": "wine"}, seed=0)
        with pytest.raises(BadConfigurationError, match="late_fusion needs examples of several"):
            trainer(wine)

    def test_an_encoder_of_no_input(self, data: Data) -> None:
        rule = r"encoders: must be an input of the data set \(image, text\), but got 'texts'"
        with pytest.raises(BadConfigurationError, match=rule):
            trainer(data, encoders={"texts": IMAGE})

    def test_augmentations(self) -> None:
        raw = {
            "name": "captions",
            "objective": {"metric": "val_accuracy"},
            "dataset": {"name": "captioned_shapes", "images": 40, "size": 8},
            "model": MODEL,
            "optimizer": "adam",
            "batch_size": {"choices": [8, 16]},
        }
        assert problems_of(raw) == []
        found = problems_of({**raw, "augmentations": ["gaussian_noise"]})
        assert found == [
            "augmentations.0: must be none, as an example has several inputs, which no "
            "augmentation knows, but got 'gaussian_noise'"
        ]


def test_captions_are_right_for_half_of_the_pictures(data: Data) -> None:
    y: NDArray[Any] = arrays(data.train).y
    assert y.mean() == pytest.approx(0.5, abs=0.06)
