"""The shape of what a driver writes into a record: types and bounds, checked where it is read.

A service reads records that users' code may have written: what is in a record has these types, or
reading it raises RecordError.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError

from hpsearch.errors import RecordError
from hpsearch.outcome import DefaultResult, Outcome

SearchState = Literal["running", "finished", "stopped", "failed"]
Action = Literal["stop_trial", "extend_trial", "clone_trial", "narrow", "pause", "go_on"]
MAX_EPOCH = 10**9
#: seconds since 1970
Time = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]
_Epoch = Annotated[int, Field(ge=1, le=MAX_EPOCH)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Shape = TypeVar("_Shape", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True)


class OutlookShape(_Strict):
    """What further trials would bring, named as the fields of OutlookNote."""

    num_trials: int = Field(ge=0)
    expected: float = Field(ge=0, allow_inf_nan=False)
    probability: float = Field(ge=0, le=1)
    num_ended: int = Field(0, ge=0)
    num_agreeing: int = Field(0, ge=0)


class LrCurveShape(_Strict):
    """The curve of a learning-rate range test, named as the fields of LrCurve."""

    settings: dict[str, int | float | str]
    rates: tuple[float, ...] = Field(strict=False)
    losses: tuple[float, ...] = Field(strict=False)


class LrRangeShape(_Strict):
    """What range tests found for an optimizer, named as the fields of LrRangeNote."""

    name: str
    low: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    high: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    is_found: bool
    message: str
    curves: list[LrCurveShape] = []


class DefaultResultShape(_Strict):
    """What came of the default configuration, named as the fields of DefaultResult."""

    search: str
    trial: int = Field(ge=0)
    outcome: Outcome = Field(strict=False)
    values: list[Annotated[tuple[_Epoch, _Finite], Strict(False)]]

    @property
    def result(self) -> DefaultResult:
        """What was written."""
        return DefaultResult(self.search, self.trial, self.outcome, dict(self.values))


class SearchShape(_Strict):
    """The attributes of a study; what else is there is of another version."""

    spec: dict[str, Any]
    folder: str
    facts: dict[str, Any]
    created_at: Time
    first_points: list[dict[str, Any]] = []
    default: dict[str, str | int | float | bool | None] | None = None
    earlier_default: DefaultResultShape | None = None
    outlook: OutlookShape | None = None
    final: dict[str, Any] | None = None
    ensemble: dict[str, Any] | None = None
    transfers: list[str] = []
    lr_ranges: list[LrRangeShape] | None = None
    state: SearchState
    reason: str | None = None
    ended_at: Time | None = None
    failed_at: Time | None = None
    result: dict[str, Any] = {}
    delivered: bool = False
    home: str | None = None
    code: dict[str, str] | None = None
    code_changes: list[Annotated[tuple[Time, list[str]], Strict(False)]] = []
    sessions: list[Annotated[list[Time | None], Field(min_length=2, max_length=2)]] = Field(
        min_length=1
    )


class ErrorShape(_Strict):
    """An attempt of a trial that ended by an error."""

    reason: str | None
    traceback: str | None
    epoch: int
    at: Time
    excused: bool = False  # it ended the search, and the trial continues when that is resumed


class WarningShape(_Strict):
    """What a check found, named as the fields of CheckWarning."""

    check: str
    message: str
    severity: str


class StoppedByShape(_Strict):
    """The decision of early stopping, named as the fields of StoppedBy."""

    rule: str
    rung: int
    numbers: dict[str, float]


class RaisedErrorShape(_Strict):
    """What a trial raised, named as the fields of RaisedError."""

    type: str
    message: str
    file: str | None
    line: int | None
    function: str | None


class CopiedFromShape(_Strict):
    """Where a member of a population began, named as the fields of CopiedFrom."""

    trial: int = Field(ge=0)
    epoch: int = Field(ge=1, le=MAX_EPOCH)
    replaces: int = Field(ge=0)


class OriginShape(_Strict):
    """Of which trial a user made a trial, named as the fields of Origin."""

    act: str
    trial: int = Field(ge=0)
    epochs: int | None = Field(None, ge=0, le=MAX_EPOCH)


class GoalShape(_Strict):
    """How long a user lets a trial train, named as the fields of Goal."""

    act: str
    epochs: int = Field(ge=1, le=MAX_EPOCH)
    since: int = Field(ge=0, le=MAX_EPOCH)


class ActShape(_Strict):
    """What a user did, named as the fields of Act."""

    id: str = Field(max_length=100)
    user: str = Field(max_length=100)
    at: Time
    action: Action
    trial: int | None = Field(None, ge=0)
    to_epoch: int | None = Field(None, ge=1, le=MAX_EPOCH)
    values: dict[str, str | int | float | bool | None] = {}
    parameter: str | None = None
    low: int | float | None = None
    high: int | float | None = None
    old_low: int | float | None = None
    old_high: int | float | None = None
    taken_at: Time | None = None
    refused: str | None = None


class TrialShape(_Strict):
    """The attributes of a trial, named as those of TrialRecord; its epochs are others."""

    values: dict[str, Any]
    started_at: Time
    copied_from: CopiedFromShape | None = None
    attempted_at: list[Time] = []
    errors: list[ErrorShape] = []
    warnings: list[WarningShape | str] = []  # a text in version 0.1
    alone: bool = False
    paused: bool = False
    origin: OriginShape | None = None
    goal: GoalShape | None = None
    checkpoint: str | None = None


class EpochShape(_Strict):
    """An epoch of a trial."""

    metrics: dict[str, float]
    at: Time


class EndShape(_Strict):
    """How a trial ended."""

    outcome: Outcome = Field(strict=False)
    reason: str | None  # in words, where no fact says it
    stopped_by: StoppedByShape | None = None
    error: RaisedErrorShape | None = None
    traceback: str | None
    at: Time | None

    @property
    def is_of_version_0_1(self) -> bool:
        """Whether the reason is a sentence that says what the facts do now."""
        return "error" not in self.model_fields_set


def parse(shape: type[_Shape], value: object, where: str) -> _Shape:
    """Return a value in its shape; raises RecordError, which calls the place `where`."""
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise RecordError(f"{where} can't be read: {place}: {first['msg']}") from error


def parse_count(text: str, where: str) -> int:
    """Return the number of an epoch or an act, from 1; raises RecordError."""
    if not (
        text.isascii() and text.isdecimal() and len(text) <= 10 and 0 < int(text) <= MAX_EPOCH
    ):
        raise RecordError(f"{where} can't be read: no entry has the number {text[:20]!r}")
    return int(text)
