"""What requests and answers look like: the schemas of the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hpsearch.service.database.search_table import Desired, SearchRow

#: a search's name, as the spec has it
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"
HASH_PATTERN = r"^[0-9a-f]{64}$"
#: people's names; texts that are searched for hold no control characters
USER_PATTERN = r"^[\w.@-]{1,100}$"
TEXT_PATTERN = r"^[^\x00-\x1f]*$"
State = Literal["queued", "starting", "running", "stopping", "finished", "stopped", "failed"]
Amount = Annotated[int, Field(ge=0, le=1_000_000)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SubmitBody(_Strict):
    """A search to queue."""

    spec: str = Field(max_length=256_000, description="the spec, as YAML")
    code_hash: str | None = Field(
        None, pattern=HASH_PATTERN, description="SHA-256 of uploaded code that the spec names"
    )
    priority: int = Field(0, ge=-100, le=100, description="the highest runs first")


class ExtendBody(_Strict):
    """More budget."""

    trials: Amount = 0
    epochs: Amount = 0
    seconds: float = Field(0.0, ge=0, le=1e9)
    num_bytes: int = Field(0, ge=0, le=10**18, description="of the disk quota")


class RepeatBody(_Strict):
    """How often the best configuration is trained again."""

    seeds: int = Field(5, ge=1, le=1_000, description="new seeds, in all")


class ExtendTrialBody(_Strict):
    """Until when a trial is trained."""

    to_epoch: int = Field(ge=1, le=10_000_000, description="the epoch to train it to")


_Number = (
    Annotated[int, Field(ge=-(2**53), le=2**53)] | Annotated[float, Field(allow_inf_nan=False)]
)
Value = Annotated[str, Field(max_length=1000)] | bool | _Number | None


class CloneBody(_Strict):
    """What a clone has instead of the trial's values."""

    values: dict[Annotated[str, Field(max_length=250)], Value] = Field(
        max_length=100, description="by the name of a hyperparameter"
    )


class NarrowBody(_Strict):
    """A range inside the old one; an end that isn't given stays."""

    parameter: str = Field(max_length=250, pattern=TEXT_PATTERN)
    low: _Number | None = None
    high: _Number | None = None


class ActView(BaseModel):
    """What a user did to a search; times are seconds since 1970.

    It is `waiting` until the search's driver takes it into the record.
    """

    id: str
    user: str
    at: float
    action: Literal["stop_trial", "extend_trial", "clone_trial", "narrow", "pause", "go_on"]
    state: Literal["waiting", "done", "refused"]
    told: str = Field(description="what was done, in words")
    taken_at: float | None = None
    refused: str | None = Field(None, description="why the driver could not do it any more")
    made: int | None = Field(None, description="the number of the trial that it added")
    trial: int | None = None
    to_epoch: int | None = None
    values: dict[str, Any] = {}
    parameter: str | None = None
    low: float | None = None
    high: float | None = None
    old_low: float | None = None
    old_high: float | None = None


class TokenBody(_Strict):
    """A token to make."""

    user: str = Field(pattern=USER_PATTERN)
    role: Literal["admin", "user", "viewer"] = "user"


class QuotaBody(_Strict):
    """What a user may use; null is no limit."""

    max_running: int | None = Field(None, ge=0, le=1_000_000)
    gpu_hours_per_month: float | None = Field(None, ge=0, le=1e9)


class SearchView(BaseModel):
    """A search in a list. Times are seconds since 1970."""

    name: str
    owner: str
    state: State
    desired: Desired
    reason: str | None
    priority: int
    attempt: int
    code_hash: str | None
    created_at: float
    queued_at: float
    changed_at: float
    summary: dict[str, Any] = Field(
        description="trials by state, best value, epochs; GPU time by the service's clock and as "
        "the record reports it; a warning where the record can't be right. Null is unknown."
    )

    @classmethod
    def of(cls, row: SearchRow) -> SearchView:
        """Return the view of a row."""
        return cls(
            name=row.name,
            owner=row.owner,
            state=row.actual,
            desired=row.desired,
            reason=row.reason,
            priority=row.priority,
            attempt=row.attempt,
            code_hash=row.code_hash,
            created_at=row.created_at,
            queued_at=row.queued_at,
            changed_at=row.changed_at,
            summary=row.summary,
        )


class SearchDetail(SearchView):
    """One search, with its spec."""

    spec: str = Field(description="as resolved, YAML")

    @classmethod
    def of(cls, row: SearchRow) -> SearchDetail:
        """Return the view of a row."""
        return cls(**SearchView.of(row).model_dump(), spec=row.spec)


class SearchPage(BaseModel):
    """Some searches, and how many there are in all."""

    searches: list[SearchView]
    total: int


class TrialPage(BaseModel):
    """Some trials of a search, and how many there are in all."""

    trials: list[dict[str, Any]]
    total: int


class ProblemView(BaseModel):
    """One mistake."""

    place: str
    rule: str
    value: str | None = None


class ErrorView(BaseModel):
    """What went wrong, in words, and where."""

    message: str
    problems: list[ProblemView] = []


class ErrorBody(BaseModel):
    """Every error has this form."""

    error: ErrorView
