"""What several seeds say of the best configurations of a search (`search.final`)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from hpsearch.record.shapes import parse

#: of the intervals
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Sample:
    """Values of a metric by several seeds."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Their mean; nan of none."""
        return statistics.fmean(self.values) if self.values else math.nan

    @property
    def std(self) -> float | None:
        """Their standard deviation, by n - 1; None of fewer than two."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the mean by Student's t distribution; None of fewer than two."""
        if self.std is None:
            return None
        from scipy.special import stdtrit  # of n - 1 degrees of freedom

        n = len(self.values)
        half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * self.std / math.sqrt(n)
        return self.mean - half, self.mean + half


@dataclass(frozen=True)
class Finalist:
    """One of the best configurations, trained again: `trial` is that of the search.

    `values` are those of the objective, one a seed that trained to its end; `failed` counts the
    others. `test` are the metrics on the test split, by name, one a seed.
    """

    trial: int
    values: tuple[float, ...] = ()
    failed: int = 0
    test: Mapping[str, tuple[float, ...]] | None = None

    @property
    def objective(self) -> Sample:
        """The objective by seed."""
        return Sample(self.values)

    @property
    def test_scores(self) -> dict[str, Sample]:
        """The metrics on the test split by seed."""
        return {name: Sample(values) for name, values in (self.test or {}).items()}


@dataclass(frozen=True)
class FinalNote:
    """The configurations that are trained again with `seeds` new seeds each, the best first once
    all are trained (`is_ranked`). `reason` is why the search before it ended."""

    finalists: tuple[Finalist, ...]
    seeds: int
    reason: str | None = None
    is_ranked: bool = False

    @classmethod
    def read(cls, plain: object) -> FinalNote | None:
        """Read what `to_plain` gave; RecordError for what no driver wrote."""
        if plain is None:
            return None
        read = parse(_FinalShape, plain, "the final training of the record")
        finalists = tuple(
            Finalist(each.trial, tuple(each.values), each.failed, _tuples(each.test))
            for each in read.finalists
        )
        return cls(finalists, read.seeds, read.reason, read.is_ranked)

    @property
    def best(self) -> Finalist | None:
        """The best configuration, once all are trained."""
        return self.finalists[0] if self.is_ranked else None

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)

    def ranked(self, finalists: Sequence[Finalist], *, maximize: bool) -> FinalNote:
        """Return it with its finalists trained, those without a failed seed first, by the mean."""
        sign = -1.0 if maximize else 1.0

        def key(each: Finalist) -> tuple[bool, bool, float]:
            mean = each.objective.mean if each.values else 0.0
            return not each.values, each.failed > 0, sign * mean

        best_first = tuple(sorted(finalists, key=key))
        return FinalNote(best_first, self.seeds, self.reason, is_ranked=True)


class _FinalistShape(BaseModel):
    model_config = ConfigDict(strict=True)
    trial: int = Field(ge=0)
    values: list[FiniteFloat]
    failed: int = Field(ge=0)
    test: dict[str, list[FiniteFloat]] | None


class _FinalShape(BaseModel):
    model_config = ConfigDict(strict=True)
    finalists: list[_FinalistShape] = Field(min_length=1)
    seeds: int = Field(ge=1)
    reason: str | None
    is_ranked: bool


def _tuples(lists: Mapping[str, Sequence[float]] | None) -> dict[str, tuple[float, ...]] | None:
    return None if lists is None else {name: tuple(values) for name, values in lists.items()}
