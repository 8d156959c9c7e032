"""The rule of early stopping that a spec names, with its keywords."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, model_serializer

from hpsearch.registry import ComponentOf
from hpsearch.spec.trees import Frozen, named

#: far beyond any trial; what is larger is a mistake, and would fill memory
MAX_EPOCHS = 10_000_000
DEFAULT_MAX_EPOCHS = 27


class EarlyStopping(Frozen):
    """A rule by its name, and the budget of a trial, which every rule has."""

    model_config = ConfigDict(extra="allow")

    name: str = "asha"
    max_epochs: int = Field(
        DEFAULT_MAX_EPOCHS,
        ge=1,
        le=MAX_EPOCHS,
        description="epochs of a trial that is never stopped",
    )

    @property
    def keywords(self) -> dict[str, Any]:
        """The rule's own keywords, as far as they are given."""
        return dict(self.model_extra or {})

    @model_serializer(mode="wrap")
    def _with_nulls(self, serialize: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {**serialize(self), **self.keywords}  # a null of the user's stays


EarlyStoppingRule = Annotated[EarlyStopping, BeforeValidator(named), ComponentOf("early_stopping")]
