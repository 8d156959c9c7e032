"""What the mean of a search's best trials comes to (`search.ensemble`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from hpsearch.record.shapes import parse
from hpsearch.spec.settings import MAX_MEMBERS


@dataclass(frozen=True)
class EnsembleNote:
    """The trials whose predictions are averaged, each as often as it counts, and what their mean
    scores. The best come first, or those that were selected first.

    `metrics` are named as a trial's of validation, `test_metrics` those on the test split; empty
    without one.
    """

    trials: tuple[int, ...]
    metrics: Mapping[str, float]
    test_metrics: Mapping[str, float]

    @classmethod
    def of(
        cls,
        counts: Mapping[int, int],
        metrics: Mapping[str, float],
        test_metrics: Mapping[str, float],
    ) -> EnsembleNote:
        """Return the note of trials by how often each counts."""
        return cls(tuple(Counter(counts).elements()), metrics, test_metrics)

    @property
    def counts(self) -> dict[int, int]:
        """How often each trial counts."""
        return dict(Counter(self.trials))

    @classmethod
    def read(cls, plain: object) -> EnsembleNote | None:
        """Read what `to_plain` gave; RecordError for what no driver wrote."""
        if plain is None:
            return None
        read = parse(_EnsembleShape, plain, "the ensemble of the record")
        return cls(tuple(read.trials), read.metrics, read.test_metrics)

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**asdict(self), "trials": list(self.trials)}


class _EnsembleShape(BaseModel):
    model_config = ConfigDict(strict=True)
    trials: list[int] = Field(min_length=1, max_length=MAX_MEMBERS)
    metrics: dict[str, FiniteFloat]
    test_metrics: dict[str, FiniteFloat]
