"""The rules of early stopping as frozen models."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from hpsearch.spec.trees import Frozen, named

#: far beyond any trial; what is larger is a mistake, and would fill memory
MAX_EPOCHS = 10_000_000
_Epochs = Annotated[int, Field(ge=1, le=MAX_EPOCHS)]


class _Stopping(Frozen):
    max_epochs: _Epochs = Field(27, description="epochs of a trial that is never stopped")


class Halving(_Stopping):
    """Successive halving: at each rung the best go on (Jamieson & Talwalkar, AISTATS 2016)."""

    grace_period: _Epochs = Field(1, description="epochs of the first rung")
    reduction_factor: int = Field(
        3, ge=2, le=MAX_EPOCHS, description="one trial in this many goes on"
    )


class Asha(Halving):
    """Asynchronous successive halving (Li et al., MLSys 2020)."""

    name: Literal["asha"] = "asha"


class AshaPromotion(Halving):
    """Asynchronous successive halving that pauses each trial at each rung and promotes the best
    (Li et al., MLSys 2020, algorithm 2), so that no poor trial trains on for want of rivals."""

    name: Literal["asha_promotion"]


class Hyperband(Halving):
    """Asynchronous Hyperband: ASHA in brackets of growing grace periods (Li et al., JMLR 2018)."""

    name: Literal["hyperband"]


class Median(_Stopping):
    """Median stopping rule (Golovin et al., KDD 2017)."""

    name: Literal["median"]
    grace_period: _Epochs = Field(1, description="epochs before a trial may be stopped")
    min_trials: int = Field(
        3, ge=1, le=MAX_EPOCHS, description="trials to compare with before any is stopped"
    )


class NoStopping(_Stopping):
    """Every trial trains its full budget."""

    name: Literal["none"]


def _with_name(value: object) -> object:
    value = named(value)
    return {"name": "asha", **value} if isinstance(value, dict) else value


EarlyStopping = Annotated[
    Annotated[Asha | AshaPromotion | Hyperband | Median | NoStopping, Field(discriminator="name")],
    BeforeValidator(_with_name),
]
