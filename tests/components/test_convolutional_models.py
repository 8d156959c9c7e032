"""Nets of convolutions: their sizes are those of the papers, and what is known of their parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hpsearch.components.models.building import build_model, check_task
from hpsearch.components.models.conv_autoencoder import conv_autoencoder
from hpsearch.components.models.resnet import PaddedShortcut
from hpsearch.components.models.unet import Form, make_unet
from hpsearch.errors import BadConfigurationError

SMALL = (3, 32, 32)


def build(name: str, shape: tuple[int, ...], outputs: Any = 10, **keywords: Any) -> nn.Module:
    torch.manual_seed(0)
    size, output_shape = (outputs, ()) if isinstance(outputs, int) else (2, outputs)
    section = {"name": name, **keywords}
    return build_model(section, shape, size, Path(), output_shape=output_shape)


class TestParameters:
    """Counted by the papers, and by torchvision's nets of the same names."""

    @pytest.mark.parametrize(
        ("depth", "count"),
        [(3, 269_722), (5, 464_154), (7, 658_586), (9, 853_018), (18, 1_727_962)],
    )
    def test_resnets_of_cifar(self, depth: int, count: int) -> None:
        assert _count(build("resnet", SMALL, depths=[depth] * 3)) == count

    @pytest.mark.parametrize(
        ("name", "keywords", "count"),
        [
            ("resnet", {"shortcut": "project"}, 272_474),
            ("densenet", {"depths": [12] * 3}, 1_019_722),
            (
                "densenet",
                {"depths": [16] * 3, "bottleneck": True, "compression": 0.5},
                769_162,
            ),
        ],
    )
    def test_of_cifar(self, name: str, keywords: dict[str, Any], count: int) -> None:
        assert _count(build(name, SMALL, **keywords)) == count

    @pytest.mark.parametrize(
        ("name", "keywords", "count"),
        [
            (
                "resnet",
                {"depths": [2] * 4, "widths": [64, 128, 256, 512], "stem": "imagenet"},
                11_689_512,
            ),
            (
                "convnext",
                {"depths": [3, 3, 9, 3], "widths": [96, 192, 384, 768], "patch_size": 4},
                28_589_128,
            ),
        ],
    )
    def test_of_imagenet(self, name: str, keywords: dict[str, Any], count: int) -> None:
        keywords = {**keywords, **({"shortcut": "project"} if name == "resnet" else {})}
        assert _count(build(name, (3, 64, 64), 1000, **keywords)) == count

    @pytest.mark.parametrize(
        ("keywords", "channels"),
        [
            ({"depths": [12] * 3}, 448),
            ({"depths": [16] * 3, "bottleneck": True, "compression": 0.5}, 342),
        ],
    )
    def test_channels_that_the_head_of_a_densenet_sees(
        self, keywords: dict[str, Any], channels: int
    ) -> None:
        *_, head = (each for each in build("densenet", SMALL, **keywords).modules())
        assert isinstance(head, nn.Linear) and head.in_features == channels

    def test_vgg(self) -> None:
        """VGG-16's convolutions and their 13 biases, 14,714,688; here a head of one layer."""
        widths = [64, 128, 256, 512, 512]
        net = build("vgg", SMALL, depths=[2, 2, 3, 3, 3], widths=widths, hidden_sizes=[])
        assert _count(net) == 14_714_688 + 512 * 10 + 10

    def test_unet(self) -> None:
        net = build("unet", (1, 16, 16), (2, 16, 16), base=64, depth=4)
        assert _count(net) == 31_030_658


class TestResnet:
    def test_blocks_that_begin_with_nothing_pass_what_they_get(self) -> None:
        net = build("resnet", (3, 8, 8), zero_init_residual=True, depths=[2], widths=[4]).eval()
        x = torch.randn(2, 4, 8, 8)
        block: Any = net.layer_groups()[1][0]  # type: ignore[operator]
        assert torch.equal(block(x), x.relu())

    def test_zero_init_needs_a_scale(self) -> None:
        for keywords in ({"norm": "none"}, {"block": "preact"}):
            with pytest.raises(BadConfigurationError, match="zero_init_residual: needs blocks"):
                build("resnet", SMALL, zero_init_residual=True, **keywords)

    def test_a_shortcut_without_parameters(self) -> None:
        x = torch.randn(2, 3, 5, 5)
        out = PaddedShortcut(2, 2)(x)
        assert out.shape == (2, 5, 3, 3)
        assert torch.equal(out[:, :3], x[:, :, ::2, ::2]) and not out[:, 3:].any()

    def test_a_preactivated_net_has_a_path_without_activations(self) -> None:
        """A block whose last convolution is 0 gives back its input, negative values too."""
        net = build("resnet", (3, 8, 8), block="preact", depths=[2], widths=[4])
        block: Any = net.layer_groups()[1][0]  # type: ignore[operator]
        nn.init.zeros_(block.body[-1].weight)
        nn.init.zeros_(block.body[-1].bias)
        x = torch.randn(2, 4, 8, 8)
        assert torch.equal(block(x), x)

    def test_what_is_refused(self) -> None:
        with pytest.raises(BadConfigurationError, match="widths: must have a width for each"):
            build("resnet", SMALL, depths=[1])
        with pytest.raises(BadConfigurationError, match="depths: must leave at least 1x1"):
            build("resnet", (1, 2, 2))
        with pytest.raises(BadConfigurationError, match="activation: must keep the number"):
            build("resnet", SMALL, activation="glu")
        with pytest.raises(BadConfigurationError, match="norm: must be a normalisation of val"):
            build("densenet", SMALL, norm="weight")


def test_strides_with_cosine_norm_are_refused() -> None:
    with pytest.raises(BadConfigurationError, match="cosine"):
        build("resnet", SMALL, norm="cosine")


class TestUnet:
    def test_skips_keep_what_pooling_loses(self) -> None:
        """Untrained: outputs follow single pixels with skips; a deep bottleneck blurs them."""
        x = torch.zeros(1, 1, 16, 16)
        one = x.clone()
        one[..., 5, 5] = 1.0
        spread = {}
        for skips in (True, False):
            net = build("unet", (1, 16, 16), (1, 16, 16), depth=3, skips=skips).eval()
            with torch.no_grad():
                change = (net(one) - net(x)).square()[0, 0]
            spread[skips] = (change[3:8, 3:8].sum() / change.sum()).item()
        assert spread[True] > spread[False]

    def test_without_padding_it_has_the_papers_sizes(self) -> None:
        form = Form(1, 4, "transposed", True, "relu", "none", is_padded=False)
        assert make_unet(1, 2, form)(torch.zeros(1, 1, 572, 572)).shape == (1, 2, 388, 388)
        net = build("unet", (1, 100, 100), (2, 100, 100), base=64, depth=4, padding="valid")
        assert _count(net) == 31_030_658

    @pytest.mark.parametrize("shape", [(24, 24), (25, 31)])
    @pytest.mark.parametrize("upsample", ["transposed", "bilinear"])
    def test_without_padding_pixels_keep_their_places(
        self, shape: tuple[int, int], upsample: str
    ) -> None:
        """Of what goes over the skips alone, with convolutions that are means."""
        keywords = {"base": 1, "depth": 1, "padding": "valid", "upsample": upsample}
        net = build("unet", (1, *shape), (1, *shape), **keywords)
        for name, param in net.named_parameters():
            nn.init.constant_(param, 0.0 if ".up." in name or "bias" in name else 0.1)
        x, places = torch.zeros(1, 1, *shape), ((7, 9), (0, 20), (shape[0] - 1, 3))
        for row, column in places:
            x[0, 0, row, column] = 1.0
        with torch.no_grad():
            peaks = net(x)[0, 0]
        assert peaks.shape == shape
        around = nn.functional.max_pool2d(peaks[None], 5, 1, 2)[0]
        for row, column in places:
            assert peaks[row, column] == around[row, column] > 0

    def test_an_output_for_each_pixel_and_class(self) -> None:
        net = build("unet", (1, 16, 16), (3, 16, 16))
        assert net(torch.zeros(2, 1, 16, 16)).shape == (2, 3, 16, 16)

    def test_what_is_refused(self) -> None:
        rule = "must be a model for classification, but unet is for segmentation, reconstruction"
        with pytest.raises(BadConfigurationError, match=rule):
            check_task("unet", "classification", Path())
        with pytest.raises(BadConfigurationError, match="depth: must be so small"):
            build("unet", (1, 12, 12), (1, 12, 12), depth=3)
        rule = "depth: must be at most 1, as valid convolutions need 46 pixels beyond a border, "
        with pytest.raises(BadConfigurationError, match=f"{rule}and an image's 16 mirror at most"):
            build("unet", (1, 16, 16), (1, 16, 16), depth=3, padding="valid")
        assert build("unet", (1, 16, 16), (1, 16, 16), depth=1, padding="valid")
        rule = "padding: must be same: at depth 1 valid convolutions need 8 pixels beyond a border"
        for depth in (1, 2):  # a smaller depth is no remedy
            with pytest.raises(BadConfigurationError, match=rule):
                build("unet", (1, 8, 8), (1, 8, 8), depth=depth, padding="valid")


class TestConvAutoencoder:
    @pytest.mark.parametrize("downsampling", ["stride", "max", "average"])
    @pytest.mark.parametrize("upsample", ["transposed", "nearest", "bilinear"])
    @pytest.mark.parametrize("shape", [(1, 28, 28), (2, 7, 9), (1, 5, 5)])
    def test_sizes_are_restored(
        self, downsampling: str, upsample: str, shape: tuple[int, ...]
    ) -> None:
        """28, 14, 7, 14, 28; and odd sides."""
        keywords = {"upsample": upsample, "downsampling": downsampling}
        net = build("conv_autoencoder", shape, shape, **keywords)
        assert net(torch.zeros(2, *shape)).shape == (2, *shape)
        assert len(net.state_dict()) == 12  # pooling has no weights

    @pytest.mark.parametrize(("downsampling", "expected"), [("max", 9.0), ("average", 2.5)])
    def test_pooling_is_of_what_is_there(self, downsampling: str, expected: float) -> None:
        """Of the odd last row and column, which have no zeros beyond them."""
        shape = (1, 3, 3)
        keywords = {"channels": [1], "activation": "identity", "downsampling": downsampling}
        encoder = build("conv_autoencoder", shape, shape, **keywords).encoder
        identity = torch.zeros(1, 1, 3, 3)
        identity[..., 1, 1] = 1
        encoder[0].weight.data, encoder[0].bias.data = identity, torch.zeros(1)
        pooled = encoder[:3](torch.tensor([[[[1.0, 9, 4], [0, 0, 1], [5, 0, 7]]]]))
        assert pooled[0, 0, 0, 0] == expected
        assert pooled[0, 0, 1, 1] == 7

    def test_sizes_on_the_way(self) -> None:
        net = conv_autoencoder((1, 28, 28), (1, 28, 28), 784)
        seen: list[int] = []
        for module in net.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                module.register_forward_hook(lambda _, __, out: seen.append(out.shape[-1]))
        net(torch.zeros(1, 1, 28, 28))
        assert seen == [14, 7, 14, 28]

    def test_other_tasks_read_the_code(self) -> None:
        shape = (1, 8, 8)
        whole, part = build("conv_autoencoder", shape, shape), build("conv_autoencoder", shape)
        names = {name for name in part.state_dict() if name.startswith("encoder.")}
        assert names and names < whole.state_dict().keys()


def _count(model: nn.Module) -> int:
    return sum(param.numel() for param in model.parameters())
