"""Layer by layer: the last layer of a stack learns to give back the features below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from annotated_types import Ge
from torch import Tensor

from hpsearch.components.batch import Batch, Tree, in_float32
from hpsearch.components.data import Kind
from hpsearch.components.encodings import Values, register_encoding
from hpsearch.components.losses import Loss
from hpsearch.components.tasks.contrastive_divergence import NoTargets
from hpsearch.components.tasks.heads import Linear
from hpsearch.components.tasks.parts import SupervisedTask, TaskComponents
from hpsearch.registry import register


class Features(NoTargets):
    """The features below a layer, which its inputs tell."""

    def columns(
        self, answers: Values, shares: Values, names: Sequence[str], share: str
    ) -> Mapping[str, Values]:
        """Return the errors of the layer that was trained."""
        return {"reconstruction_error": answers[:, -1]}


register_encoding("layer_reconstruction", Features())


class MeanError(Loss):
    """The mean of the rows' errors, which the model gives."""

    kinds: ClassVar[tuple[Kind, ...]] = ("layer_reconstruction",)

    def forward(self, errors: Tensor, targets: Tensor) -> Tensor:
        """Return the mean of errors (B,)."""
        return errors.mean()


class LayerReconstruction(SupervisedTask):
    """What `components.models.stacked_autoencoder` gives, as a loss."""

    kind: ClassVar[Kind] = "layer_reconstruction"
    own_metrics: ClassVar[tuple[str, ...]] = ("loss",)

    def __init__(self, layer: int) -> None:
        super().__init__(TaskComponents(MeanError(), Linear()))
        self.num_outputs = layer

    def _compared(self, outputs: Tree, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the errors of the layer that is trained (B,), and targets that nothing reads."""
        return in_float32(outputs)[:, -1], batch.targets

    def _own_totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.double().sum().reshape(1)

    def _own_summary(self, totals: Sequence[float], num_rows: float) -> dict[str, float]:
        return {"loss": totals[0] / num_rows}


@register("task", "layer_reconstruction")
def layer_reconstruction(layer: Annotated[int, Ge(1)] = 1) -> LayerReconstruction:
    """A layer of the model `stacked_autoencoder`, learned as an autoencoder of the one below.

    For data of any kind in memory. Reports the mean squared error of the features below as `loss`,
    which of different layers isn't comparable.
    """
    return LayerReconstruction(layer)
