"""The exported model: a module that predicts from raw inputs."""

from __future__ import annotations

from torch import Tensor, nn

from hpsearch.components.data import Kind
from hpsearch.components.tasks.heads import Head


class Predictor(nn.Module):
    """Raw inputs in; out come logits, scores, or numbers in the targets' units.

    `predict` gives answers and, where the head has any, `predict_proba` probabilities.
    """

    def __init__(self, layers: nn.Sequential, head: Head, kind: Kind) -> None:
        super().__init__()
        self.layers = layers
        self.head = head
        self.kind: Kind = kind

    def forward(self, x: Tensor) -> Tensor:
        """Return (rows, outputs)."""
        outputs: Tensor = self.layers(x)
        return outputs

    def predict(self, x: Tensor) -> Tensor:
        """Return classes (rows,), set labels (rows, labels) as 0 and 1, or numbers."""
        outputs = self.forward(x)
        if self.kind == "classification":
            return outputs.argmax(1)
        return (outputs > 0).long() if self.kind == "multilabel" else outputs

    def predict_proba(self, x: Tensor) -> Tensor:
        """Return the probability of each class or label; ValueError where there is none."""
        if not self.head.gives_probabilities:
            raise ValueError(
                "this model gives no probabilities: a regression has none, and those of an SVM's "
                "scores come from a calibration (section `calibration` of the spec)"
            )
        probabilities: Tensor = self.head(self.forward(x))
        return probabilities
