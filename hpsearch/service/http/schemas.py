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
