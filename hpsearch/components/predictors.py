"""The exported model: a module that predicts from raw inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from hpsearch.components.data import Kind
from hpsearch.components.encodings import TargetEncoding, encoding_of
from hpsearch.components.raw_inputs import RawInputs
from hpsearch.components.tasks.heads import Head

if TYPE_CHECKING:
    from pandas import DataFrame

Values = np.ndarray[Any, Any]


class Predictor(nn.Module):
    """Raw inputs in; out come logits, scores, or numbers in the targets' units.

    `predict` gives answers and, where the head has any, `predict_proba` probabilities;
    `predict_table` both, by the `names` of classes, labels or targets, for what users have.
    """

    raw_inputs: RawInputs | None = None
    names: tuple[str, ...] = ()

    def __init__(
        self,
        layers: nn.Sequential,
        head: Head,
        kind: Kind,
        raw_inputs: RawInputs | None = None,
        names: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.layers = layers
        self.head = head
        self.kind: Kind = kind
        self.raw_inputs = raw_inputs
        self.names = tuple(names)

    def forward(self, x: Tensor) -> Tensor:
        """Return (rows, outputs)."""
        outputs: Tensor = self.layers(x if x.is_floating_point() else x.float())
        return outputs

    def predict(self, x: Tensor) -> Tensor:
        """Return classes (rows,), set labels (rows, labels) as 0 and 1, or numbers."""
        return self._answers(self.forward(x))

    def predict_proba(self, x: Tensor) -> Tensor:
        """Return the probability of each class or label; ValueError where there is none."""
        if not self.head.gives_probabilities:
            raise ValueError(
                "this model gives no probabilities: a regression has none, and those of an SVM's "
                "scores come from a calibration"
            )
        probabilities: Tensor = self.head(self.forward(x))
        return probabilities

    def predict_table(self, given: Any) -> DataFrame:
        """Return a row for each row of a DataFrame, array or tensor of raw inputs; of image files
        paths and Pillow's images are taken too, and of series one table, whose end is a history.

        The column `prediction` has the class, or columns by name have labels or numbers; columns
        `probability_NAME` follow, or `score_NAME` where the head gives no probabilities.
        """
        import pandas

        device = next((p.device for p in self.parameters()), torch.device("cpu"))
        x = given if self.raw_inputs is None else self.raw_inputs.tensor(given)
        with torch.no_grad():
            outputs = self.forward(torch.as_tensor(x).to(device))
            answers = self._answers(outputs).numpy(force=True)
            shares = self.head(outputs).numpy(force=True)
        columns = self._named(answers, shares)
        has_its_rows = hasattr(given, "columns") and len(given) == len(answers)
        return pandas.DataFrame(columns, index=given.index if has_its_rows else None)

    def _named(self, answers: Values, shares: Values) -> dict[str, Values]:
        """Return answers and shares (rows, outputs) as columns by name."""
        num_outputs = shares.shape[-1]
        fits = len(self.names) == num_outputs
        names = self.names if fits else tuple(map(str, range(num_outputs)))
        share = "probability" if self.head.gives_probabilities else "score"
        return dict(self.head.columns(self._encoding, answers, shares, names, share))

    def _answers(self, outputs: Tensor) -> Tensor:
        return self._encoding.answers(self.head.read(outputs))

    @property
    def _encoding(self) -> TargetEncoding:
        return encoding_of(self.kind)
