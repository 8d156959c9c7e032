"""Several objectives and constraints of a search, and how far metrics break the constraints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from hpsearch.spec.names import ObjectiveName
from hpsearch.spec.settings import Objective
from hpsearch.spec.trees import Frozen

#: what is measured of a built-in trial where it is an objective or has a bound
PARAMETERS, PEAK_MEMORY, LATENCY = "parameters", "peak_memory_mb", "latency_ms"
MEASURED = (LATENCY, PARAMETERS, PEAK_MEMORY)
#: of these, what is no lower in later epochs
NEVER_FALLING = (PARAMETERS, PEAK_MEMORY)
#: beyond four, most trials are better than every other in something
MAX_OBJECTIVES = 4
MAX_CONSTRAINTS = 100


class Constraint(Frozen):
    """A bound of a metric; a trial that breaks it never wins."""

    metric: ObjectiveName = Field(description="a metric that every epoch reports")
    max: float | None = Field(None, allow_inf_nan=False, description="the highest value allowed")
    min: float | None = Field(None, allow_inf_nan=False, description="the lowest value allowed")

    @model_validator(mode="before")
    @classmethod
    def _is_of_a_metric(cls, raw: Any) -> Any:
        if isinstance(raw, str) or (isinstance(raw, Mapping) and "name" in raw):
            raise ValueError("must name a metric; projections of weights are weight_constraints")
        return raw

    @model_validator(mode="after")
    def _has_a_bound(self) -> Constraint:
        if self.max is None and self.min is None:
            raise ValueError("must have max or min")
        if self.max is not None and self.min is not None and self.min > self.max:
            raise ValueError(f"must have a min ({self.min:g}) that is at most max ({self.max:g})")
        return self

    def margin(self, value: float) -> float:
        """Return how far a value lies within the bound, relative to the bound: negative where it
        breaks it.

        Margins of different units are compared (Deb, 2000, §3: "normalized" constraints).
        """
        below = math.inf if self.max is None else (self.max - value) / (abs(self.max) or 1.0)
        above = math.inf if self.min is None else (value - self.min) / (abs(self.min) or 1.0)
        return min(below, above)

    def is_lost_at(self, value: float) -> bool:
        """Whether a trial with this value can't keep the constraint later either."""
        return self.max is not None and value > self.max and self.metric in NEVER_FALLING

    def __str__(self) -> str:
        """`latency_ms at most 5`."""
        bounds = [("at least", self.min), ("at most", self.max)]
        told = " and ".join(f"{how} {bound:g}" for how, bound in bounds if bound is not None)
        return f"{self.metric} {told}"


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _several(objectives: tuple[Objective, ...], info: ValidationInfo) -> tuple[Objective, ...]:
    if objectives and info.data.get("objective", objectives[0]) != objectives[0]:
        raise ValueError("must not be given beside objective")
    if objectives and not 2 <= len(objectives) <= MAX_OBJECTIVES:
        raise ValueError(f"must be 2 to {MAX_OBJECTIVES} objectives; `objective` is for one")
    metrics = [each.metric for each in objectives]
    if len(set(metrics)) < len(metrics):
        raise ValueError("must be of different metrics")
    return objectives


Objectives = Annotated[tuple[Objective, ...], BeforeValidator(_as_tuple), AfterValidator(_several)]
Constraints = Annotated[
    tuple[Constraint, ...], BeforeValidator(_as_tuple), Field(max_length=MAX_CONSTRAINTS)
]


def with_first_objective(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a raw spec of several objectives in which the first is `objective` as well."""
    several = raw.get("objectives")
    if not isinstance(several, list | tuple) or not several:
        return dict(raw)
    return {"objective": several[0], **raw}
