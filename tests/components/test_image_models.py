"""The models of torchvision and timm, with those libraries: heads, scales, weights, tuning."""

from __future__ import annotations

import io
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hpsearch.components import Data
from hpsearch.components.examples import Scale
from hpsearch.components.layer_groups import layer_groups
from hpsearch.components.models.backbones import Backbone
from hpsearch.components.models.building import build_model
from hpsearch.components.vision import timm, torchvision
from hpsearch.errors import BadConfigurationError, SpecError
from hpsearch.spec import TrialConfig, draft_spec
from hpsearch.training import Trainer, export_model
from hpsearch.validation import check
from tests.support.datasets import load
from tests.support.images import write_images
from tests.support.specs import changed

pytestmark = pytest.mark.usefixtures("vision_packages")
MEAN, STD = (np.array(each, np.float32)[:, None, None] for each in ([0.3, 0.4, 0.5], [0.2] * 3))
SCALE = Scale(MEAN, STD)
#: what ImageNet's pixels are scaled by
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SMALL = "timm/test_resnet.r160_in1k"


def build(
    name: str, shape: tuple[int, ...] = (3, 32, 32), scale: Scale = SCALE, **more: Any
) -> Any:
    folder = more.pop("folder", Path())
    return build_model({"name": name, **more}, shape, 5, folder, None, scale).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of random weights: a net of each library, with a head of 1,000 classes."""
    path = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    torch.save(resnet().state_dict(), path / "resnet18.pth")
    torch.save({"state_dict": _as_parallel(resnet().state_dict())}, path / "ddp.pth")
    small = timm("a test").create_model("test_resnet", num_classes=1000)
    safetensors.torch.save_file(small.state_dict(), path / "small.safetensors")
    write_images(path / "images", size=(32, 32))
    return path


def resnet(**keywords: Any) -> nn.Module:
    made: nn.Module = torchvision("a test", "torchvision.models").resnet18(**keywords)
    return made


def _as_parallel(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"module.{key}": value for key, value in state.items()}


def normalized(raw: Tensor, mean: Any, std: Any) -> Tensor:
    return torchvision("a test", "torchvision.transforms.v2").functional.normalize(raw, mean, std)


class TestWeights:
    def test_outputs_are_the_library_s(self, folder: Path) -> None:
        """With its own scale of pixels, whatever scale the data set has."""
        model = build("torchvision/resnet18", weights="resnet18.pth", folder=folder)
        reference = resnet()
        reference.load_state_dict(torch.load(folder / "resnet18.pth"))
        reference.fc = model.net.fc
        raw = torch.rand(4, 3, 32, 32)
        expected = reference.eval()(normalized(raw, *IMAGENET))
        scaled = (raw - torch.from_numpy(MEAN)) / torch.from_numpy(STD)
        assert torch.allclose(model(scaled), expected, atol=1e-4)
        plain = build(
            "torchvision/resnet18", scale=Scale.identity(), weights="resnet18.pth", folder=folder
        )
        plain.net.fc = model.net.fc
        assert torch.allclose(plain(raw), expected, atol=1e-4)

    def test_of_timm(self, folder: Path) -> None:
        """Of its weights' own mean and standard deviation, which its tag names."""
        model = build(SMALL, weights="small.safetensors", folder=folder)
        reference = timm("a test").create_model("test_resnet", num_classes=1000)
        state = safetensors.torch.load_file(folder / "small.safetensors")
        reference.load_state_dict(state)
        reference.fc = model.net.fc
        told = reference.pretrained_cfg
        raw = torch.rand(4, 3, 32, 32)
        expected = reference.eval()(normalized(raw, told["mean"], told["std"]))
        scaled = (raw - torch.from_numpy(MEAN)) / torch.from_numpy(STD)
        assert torch.allclose(model(scaled), expected, atol=1e-4)

    def test_own_scale_of_a_vision_transformer(self) -> None:
        """It isn't ImageNet's."""
        model = build("timm/test_vit.r160_in1k", (3, 160, 160))
        told = model.net.pretrained_cfg
        assert told["mean"] == (0.5, 0.5, 0.5)
        raw = torch.rand(2, 3, 160, 160)
        scaled = (raw - torch.from_numpy(MEAN)) / torch.from_numpy(STD)
        assert torch.allclose(model(scaled), model.net(2 * raw - 1), atol=1e-4)

    def test_names_of_a_distributed_training(self, folder: Path) -> None:
        model = build("torchvision/resnet18", weights="ddp.pth", folder=folder)
        expected = torch.load(folder / "ddp.pth")["state_dict"]["module.conv1.weight"]
        assert torch.equal(model.net.conv1.weight, expected)

    def test_names_of_old_densenets(self, tmp_path: Path) -> None:
        net = torchvision("a test", "torchvision.models").densenet121()
        old = {
            key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): value
            for key, value in net.state_dict().items()
            if not key.endswith("num_batches_tracked")
        }
        assert any("norm.1." in key for key in old)
        torch.save(old, tmp_path / "old.pth")
        model = build("torchvision/densenet121", weights="old.pth", folder=tmp_path)
        layer = model.net.features.denseblock1.denselayer2.conv2
        assert torch.equal(layer.weight, net.features.denseblock1.denselayer2.conv2.weight)

    def test_auxiliary_heads_are_left_out(self, tmp_path: Path) -> None:
        net = torchvision("a test", "torchvision.models").googlenet(init_weights=False)
        torch.save(net.state_dict(), tmp_path / "googlenet.pth")
        model = build("torchvision/googlenet", weights="googlenet.pth", folder=tmp_path)
        assert torch.equal(model.net.conv2.conv.weight, net.conv2.conv.weight)
        assert model.train()(torch.rand(2, 3, 64, 64)).shape == (2, 5)

    def test_initializers_draw_the_head_alone(self, folder: Path) -> None:
        data = load("image_folder", folder, path="images")
        made = trainer(data, folder, initializer={"name": "zeros"})
        state = torch.load(folder / "resnet18.pth")
        model: Any = made.model
        assert torch.equal(model.net.layer1[0].conv1.weight, state["layer1.0.conv1.weight"])
        assert not model.net.fc.weight.any()

    @pytest.mark.parametrize(
        ("name", "file", "match"),
        [
            (
                "torchvision/resnet34",
                "resnet18.pth",
                "of torchvision/resnet34, but .* lacks layer1",
            ),
            (
                "timm/test_resnet",
                "resnet18.pth",
                "of timm/test_resnet, but .* has other shapes in",
            ),
            (
                "torchvision/resnet18",
                "resnet81.pth",
                "weights: must be a file of weights; .*; did you mean 'resnet18.pth'",
            ),
            ("torchvision/resnet18", "text.pth", "weights: must be a file of weights.*text.pth"),
            ("torchvision/resnet18", "whole.pth", r"it holds more, .* save its state_dict\(\)"),
        ],
    )
    def test_other_files(self, folder: Path, name: str, file: str, match: str) -> None:
        (folder / "text.pth").write_text("no weights")
        torch.save(torch.nn.Linear(1, 1), folder / "whole.pth")
        with pytest.raises(BadConfigurationError, match=match):
            build(name, weights=file, folder=folder)


class TestShapes:
    @pytest.mark.parametrize("name", ["torchvision/resnet18", SMALL])
    def test_grey_images_are_repeated(self, folder: Path, name: str) -> None:
        torch.manual_seed(0)
        grey, scale = torch.rand(2, 1, 32, 32), Scale.identity()
        model = build(name, (1, 32, 32), scale)
        colored = Backbone.forward(model, grey.expand(-1, 3, -1, -1))
        assert torch.equal(model(grey), colored)

    @pytest.mark.parametrize(
        ("name", "file"),
        [("torchvision/resnet18", "resnet18.pth"), (SMALL, "small.safetensors")],
    )
    def test_other_channels(self, folder: Path, name: str, file: str) -> None:
        """The same image in six channels is as in three: each weight counts half."""
        scale = Scale.identity()
        three = build(name, scale=scale, weights=file, folder=folder)
        six = build(name, (6, 32, 32), scale, weights=file, folder=folder)
        x = torch.rand(2, 3, 32, 32)
        scaled = three.factor * x + three.offset
        stems = [model.net.get_submodule(_stem(model)) for model in (three, six)]
        twice = torch.cat([scaled, scaled], 1)
        assert torch.allclose(stems[0](scaled), stems[1](twice), atol=1e-4)
        assert six(torch.rand(2, 6, 32, 32)).shape == (2, 5)

    def test_a_net_of_one_size_gets_it(self) -> None:
        model = build("timm/test_vit", (3, 32, 48))
        assert model(torch.rand(2, 3, 32, 48)).shape == (2, 5)
        with pytest.raises(BadConfigurationError, match="image_size: must be 160, the size that"):
            build("timm/test_vit", image_size=64)

    def test_images_are_scaled(self) -> None:
        model = build(SMALL, image_size=48)
        x = torch.rand(2, 3, 32, 32)
        expected = F.interpolate(
            x * model.factor + model.offset, (48, 48), mode="bilinear", antialias=True
        )
        assert torch.allclose(model(x), model.net(expected), atol=1e-5)

    def test_small_images_get_the_least_size(self) -> None:
        assert build("torchvision/densenet121", (1, 8, 8))(torch.rand(2, 1, 8, 8)).shape == (2, 5)

    @pytest.mark.parametrize(
        "name",
        [
            "squeezenet1_1",
            "mobilenet_v3_small",
            "shufflenet_v2_x0_5",
            "mnasnet0_5",
            "regnet_y_400mf",
        ],
    )
    def test_every_family_has_a_head(self, name: str) -> None:
        model = build(f"torchvision/{name}")
        assert model(torch.rand(2, 3, 32, 32)).shape == (2, 5)
        *body, head = layer_groups(model)
        assert len(body) > 3
        assert sum(5 in param.shape for module in head for param in module.parameters()) == 2

    def test_layers_of_a_transformer_are_groups(self) -> None:
        depth = len(build("timm/test_vit").net.blocks)
        assert len(layer_groups(build("timm/test_vit"))) == depth + 2
        assert len(layer_groups(build("torchvision/vit_b_16"))) == 12 + 2

    def test_rates(self) -> None:
        model = build(SMALL, drop_rate=0.3)
        assert model.net.drop_rate == 0.3
        assert build("torchvision/mobilenet_v3_small", dropout=0.4).net.classifier[2].p == 0.4
        with pytest.raises(BadConfigurationError, match="drop_path_rate: must not be given"):
            build("timm/vgg11", drop_path_rate=0.1)

    @pytest.mark.parametrize("name", ["torchvision/resnet18", SMALL])
    def test_no_images(self, name: str) -> None:
        with pytest.raises(BadConfigurationError, match=r"needs images .*has the shape \(13,\)"):
            build(name, (13,))

    def test_pixels_up_to_255(self) -> None:
        model = build(SMALL, scale=Scale.identity())
        model.check_examples(np.ones((2, 3, 32, 32), np.float32))
        with pytest.raises(BadConfigurationError, match="pixels from 0 to 1, .* has 255 to 255"):
            model.check_examples(np.full((2, 3, 32, 32), 255, np.float32))


def _stem(model: Any) -> str:
    names = (name for name, each in model.net.named_modules() if isinstance(each, nn.Conv2d))
    return next(names)


def trainer(data: Data, folder: Path, **values: Any) -> Trainer:
    values = {
        "model": {"name": "torchvision/resnet18", "weights": "resnet18.pth"},
        "optimizer": {"name": "sgd", "lr": 0.01},
        "batch_size": 8,
        **values,
    }
    return Trainer(TrialConfig(0, 0, 2, values, folder=str(folder)), data)


class TestTraining:
    @pytest.mark.parametrize(
        ("finetune", "moving"),
        [
            ("feature_extract", {"fc"}),
            ("freeze", {"layer1", "layer4", "fc"}),
            ("full", {"conv1", "fc"}),
        ],
    )
    def test_finetuning(self, folder: Path, finetune: str, moving: set[str]) -> None:
        data = load("image_folder", folder, path="images", image_size=32)
        made = trainer(data, folder, finetune={"name": finetune})
        before = {key: value.clone() for key, value in made.model.state_dict().items()}
        metrics = made.train_epoch()
        assert metrics is not None and metrics["val_loss"] > 0
        after = made.model.state_dict()
        moved = {key.split(".")[1] for key in before if not torch.equal(before[key], after[key])}
        assert moving <= moved
        if finetune == "feature_extract":
            assert moved == {"fc"}
        if finetune == "freeze":
            assert not moved & {"conv1", "bn1"}

    def test_it_goes_on_and_is_exported(self, folder: Path) -> None:
        data = load("image_folder", folder, path="images")
        made, again = (trainer(data, folder, model={"name": SMALL}) for _ in range(2))
        made.train_epoch()
        again.load_state_dict(made.state_dict())
        assert again.evaluate("val") == made.evaluate("val")
        exported = export_model(made)
        raw = 255 * torch.rand(3, 3, 32, 32)
        expected = exported(raw)
        x = (raw / 255 - torch.from_numpy(data.x_scale.mean)) / torch.from_numpy(data.x_scale.std)
        assert torch.allclose(expected, made.model(x), atol=1e-4)
        assert torch.equal(pickle.loads(pickle.dumps(exported))(raw), expected)

    def test_a_pickled_model_brings_its_library(self) -> None:
        """Before anything of that is looked up, which can't be beside another torch's build."""
        pickled = io.BytesIO(pickle.dumps(build("torchvision/mobilenet_v3_small")))
        model = _Unpickler(pickled).load()
        assert model(torch.rand(2, 3, 32, 32)).shape == (2, 5)


class _Unpickler(pickle.Unpickler):
    """Refuses what is torchvision's until a function of ours was called to import it."""

    _is_imported = False

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)
        if found is torchvision:
            return self._import
        assert self._is_imported or not module.startswith("torchvision"), (module, name)
        return found

    def _import(self, user: str) -> None:
        self._is_imported = True


class TestSpec:
    def test_of_both_libraries(self, folder: Path) -> None:
        models = [
            {"name": "torchvision/mobilenet_v3_small", "dropout": {"low": 0.1, "high": 0.5}},
            {"name": SMALL, "drop_rate": "auto"},
        ]
        data = {"name": "image_folder", "path": str(folder / "images")}
        spec = check(draft_spec(changed(dataset=data, model={"choices": models}, batch_size=8)))
        assert spec.model.choices[1]["drop_rate"].high > 0

    @pytest.mark.parametrize(
        ("model", "match"),
        [
            ("torchvision/resnet81", "did you mean 'torchvision/resnet18'"),
            ("timm/test_resnett", "must be one of timm/.* did you mean 'timm/test_resnet'"),
            ({"name": "torchvision/resnet18", "wieghts": "a.pth"}, "did you mean 'weights'"),
            ({"name": "torchvision/resnet18", "image_size": 0}, "model.image_size: must be"),
        ],
    )
    def test_mistakes(self, model: Any, match: str) -> None:
        with pytest.raises(SpecError, match=match) as raised:
            check(draft_spec(changed(model=model)))
        assert len(str(raised.value)) < 3000

    @pytest.mark.parametrize("library", ["torchvision", "timm"])
    def test_without_the_library(self, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (library, f"{library}.models"):
            monkeypatch.setitem(sys.modules, module, None)
        match = rf"needs the package {library}: `pip install hpsearch\[vision\]`"
        with pytest.raises(SpecError, match=match):
            check(draft_spec(changed(model=f"{library}/resnet18")))
