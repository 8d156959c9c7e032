"""Segmentation: what it reports, its model, and what its data may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import f1_score, jaccard_score

from hpsearch.components import Arrays, Data, load_data, task_for
from hpsearch.components.batch import Batch
from hpsearch.components.tasks.baselines import baseline_scores
from hpsearch.errors import BadConfigurationError, DataError, SpecError
from hpsearch.spec import TrialConfig, draft_spec
from hpsearch.training import Trainer, export_model
from hpsearch.training.totals import Totals
from hpsearch.validation import check
from tests.support.specs import changed
from tests.support.trainers import goes_on_bit_for_bit

FCN = {"name": "fcn", "channels": [8, 8], "norm": "batch"}
SECTION = {"name": "blobs_segmentation", "images": 60, "size": 16, "ignore_borders": True}


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data(SECTION, seed=0)


def trainer(data: Data, number: int = 0, **values: Any) -> Trainer:
    optimizer = {"name": "adam", "lr": 0.01}
    values = {"model": FCN, "optimizer": optimizer, "batch_size": 12, **values}
    return Trainer(TrialConfig(number, 0, 4, values), data)


def arrays(split: Any) -> Arrays:
    assert isinstance(split, Arrays)
    return split


class TestMetrics:
    def outputs(self, data: Data) -> tuple[torch.Tensor, Batch]:
        torch.manual_seed(0)
        y = torch.from_numpy(arrays(data.train).y)
        assert (y == -100).any()
        return torch.randn(len(y), 3, 16, 16), Batch((), y)

    def test_are_over_the_pixels_that_count(self, data: Data) -> None:
        outputs, batch = self.outputs(data)
        task, counts = task_for(data), batch.targets != -100
        true, said = batch.targets[counts], outputs.argmax(1)[counts]
        loss = F.cross_entropy(outputs.movedim(1, -1)[counts], true)
        assert task.summary(task.totals(outputs, batch).tolist()) == pytest.approx(
            {
                "loss": loss.item(),
                "accuracy": (true == said).double().mean().item(),
                "iou": jaccard_score(true, said, average="macro"),
                "dice": f1_score(true, said, average="macro"),
            },
            rel=1e-5,
        )
        assert task.loss(outputs, batch).item() == pytest.approx(loss.item(), rel=1e-5)
        assert task.count(batch) == counts.sum()

    def test_a_class_that_is_nowhere_has_no_score(self, data: Data) -> None:
        task, targets = task_for(data), torch.tensor([[[0, 1], [0, -100]]])
        outputs = 9.0 * F.one_hot(torch.tensor([[[0, 1], [1, 2]]]), 3).movedim(-1, 1)
        found = task.summary(task.totals(outputs, Batch((), targets)).tolist())
        assert found["iou"] == pytest.approx(1 / 2)  # 1 of 2 pixels in both classes
        assert found["dice"] == pytest.approx(2 / 3)

    @pytest.mark.parametrize("loss", [None, {"name": "cross_entropy", "label_smoothing": 0.1}])
    def test_batches_add_up(self, data: Data, loss: Any) -> None:
        outputs, batch = self.outputs(data)
        task = task_for(data, {"name": "segmentation", "loss": loss})
        sizes = [5, len(outputs) - 5]
        totals = Totals(task, 1, "val")
        for part in zip(outputs.split(sizes), batch.split(sizes), strict=True):
            totals.add(*part)
        found = totals.summary()
        expected = task.summary(task.totals(outputs, batch).tolist())
        assert found == pytest.approx({f"val_{name}": each for name, each in expected.items()})
        if loss is not None:
            assert found["val_criterion"] == pytest.approx(task.loss(outputs, batch).item())

    def test_baselines(self, data: Data) -> None:
        found = baseline_scores(task_for(data), data)
        val = arrays(data.val).y
        share = (val[val != -100] == 0).mean()
        assert found["majority"]["val_accuracy"] == pytest.approx(share)
        assert (
            found["prior"]["val_loss"] < found["uniform"]["val_loss"] == pytest.approx(np.log(3))
        )


class TestModel:
    def test_goes_on_bit_for_bit(self, data: Data) -> None:
        goes_on_bit_for_bit(*(trainer(data) for _ in range(3)))

    def test_a_unet_learns_masks_too(self, data: Data) -> None:
        one = trainer(data, model={"name": "unet", "base": 4, "depth": 2, "norm": "batch"})
        curve = [one.train_epoch() for _ in range(4)]
        assert curve[0] is not None and curve[-1] is not None
        assert curve[-1]["val_loss"] < curve[0]["val_loss"]

    def test_gradients_reach_each_parameter(self, data: Data) -> None:
        one = trainer(data)
        train = arrays(data.train)
        batch = Batch(torch.from_numpy(train.x), torch.from_numpy(train.y))
        one.task.loss(one.model(batch.inputs), batch).backward()
        unmoved = [
            n for n, p in one.model.named_parameters() if p.grad is None or not p.grad.any()
        ]
        # batch norm takes a bias before it away
        assert all(name.endswith("bias") for name in unmoved)

    def test_learns_shapes(self) -> None:
        found = load_data({"name": "blobs_segmentation", "images": 200, "noise": 0.1}, seed=0)
        one = trainer(found, model={**FCN, "channels": [16, 16, 16]})
        curve = [one.train_epoch() for _ in range(8)]
        assert curve[-1] is not None and curve[-1]["val_iou"] > 0.5
        assert baseline_scores(one.task, found)["majority"]["val_iou"] < 0.35

    @pytest.mark.parametrize("size", [(5, 7), (16, 16)])
    def test_takes_images_of_any_size(self, size: tuple[int, int]) -> None:
        def images() -> Mapping[str, Any]:
            x = np.random.default_rng(0).normal(size=(20, 2, *size))
            return {"train": (x, (x[:, 0] > 0).astype(int)), "classes": "ab", "kind": KIND}

        one = trainer(Data(KIND, (2, *size), 2, *[_split(images())] * 2, class_names=("a", "b")))
        assert one.model(torch.zeros(3, 2, *size)).shape == (3, 2, *size)

    def test_is_exported(self, data: Data) -> None:
        one = trainer(data)
        one.train_epoch()
        outputs, _ = one.predict("val")
        exported, raw = export_model(one), data.as_raw(arrays(data.val).x)
        x = torch.from_numpy(raw)
        assert torch.equal(exported.predict(x), outputs.argmax(1))
        torch.testing.assert_close(
            exported.predict_proba(x), outputs.softmax(1), rtol=1e-4, atol=0
        )
        table = exported.predict_table(raw)
        assert list(table)[:2] == ["pixel_0_0", "pixel_0_1"] and table.shape == (len(raw), 256)
        assert np.array_equal(table.to_numpy().reshape(-1, 16, 16), outputs.argmax(1).numpy())

    def test_dropout_masks_are_averaged_over_classes(self, data: Data) -> None:
        one = trainer(data, model={**FCN, "dropout": 0.5, "mc_dropout_samples": 3})
        one.model.eval()
        outputs = one.model(torch.from_numpy(arrays(data.val).x))
        torch.testing.assert_close(outputs.exp().sum(1), torch.ones(len(outputs), 16, 16))


KIND = "segmentation"


def _split(returned: Mapping[str, Any]) -> Arrays:
    x, y = returned["train"]
    return Arrays(x.astype(np.float32), y)


class TestRefused:
    @pytest.mark.parametrize("name", ["flip", "mixup"])
    def test_augmentations_that_move_pixels(self, data: Data, name: str) -> None:
        with pytest.raises(BadConfigurationError, match="augmentations.0: must keep each pixel"):
            trainer(data, augmentations=[name])
        spec = changed(dataset=SECTION, model=FCN, augmentations=[{"name": name}])
        with pytest.raises(
            SpecError, match=r"augmentations\.0: must keep each pixel in its place"
        ):
            check(draft_spec(spec))

    def test_noise_is_taken(self, data: Data) -> None:
        assert trainer(data, augmentations=[{"name": "gaussian_noise"}]).train_epoch() is not None

    def test_models_of_vectors(self, data: Data) -> None:
        rule = r"must be a model for segmentation \(cascaded_unet, fcn, unet\), but mlp is for"
        with pytest.raises(BadConfigurationError, match=rule):
            trainer(data, model={"name": "mlp"})

    def test_fcn_for_classes(self) -> None:
        with pytest.raises(
            BadConfigurationError, match="must be a model for classification, but fcn is for"
        ):
            trainer(load_data({"name": "digits"}, seed=0))

    @pytest.mark.parametrize(
        ("keywords", "message"),
        [
            ({"kernel_size": 2}, "kernel_size: must be odd"),
            ({"channels": [4] * 6}, "at least 1x1"),
        ],
    )
    def test_keywords_of_fcn(self, data: Data, keywords: dict[str, Any], message: str) -> None:
        with pytest.raises(BadConfigurationError, match=message):
            trainer(data, model={**FCN, **keywords})

    @pytest.mark.parametrize(
        ("y", "message"),
        [
            (np.zeros((20, 4, 5), int), "a class for each of their pixels"),
            (
                np.full((20, 4, 4), 2),
                "must be numbers of the 2 classes, from 0, or -100 for .* 2$",
            ),
            (np.full((20, 4, 4), 0.5), "must be numbers of the 2 classes"),
        ],
    )
    def test_masks_of_a_users_factory(self, tmp_path: Any, y: Any, message: str) -> None:
        np.save(tmp_path / "y.npy", y)
        (tmp_path / "mine.py").write_text(
            "import numpy as np\nfrom pathlib import Path\n"
            "def images():\n"
            "    y = np.load(Path(__file__).with_name('y.npy'))\n"
            "    return {'train': (np.zeros((20, 1, 4, 4)), y), 'classes': ['a', 'b'],\n"
            "            'kind': 'segmentation'}\n"
        )
        with pytest.raises(DataError, match=message):
            load_data({"name": "mine.py:images"}, seed=0, folder=tmp_path)
