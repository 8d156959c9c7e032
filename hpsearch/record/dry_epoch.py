"""The dry epoch of a search: the first epoch of code of a user's, whose failure costs no trial."""

from __future__ import annotations

from dataclasses import dataclass

from hpsearch.record.reading import ReadableRecord
from hpsearch.spec import SearchSpec
from hpsearch.user_code import named_factories


@dataclass(frozen=True)
class DryEpoch:
    """The trial whose first epoch it was, and how long that took."""

    number: int
    seconds: float


def needs_dry_epoch(spec: SearchSpec) -> bool:
    """Whether trials run code that only a worker can try."""
    if not spec.search.dry_epoch:
        return False
    plain = {name: value for name, value in spec.to_dict().items() if name != "search"}
    return spec.is_own_code or bool(named_factories(plain))


def passed_dry_epoch(record: ReadableRecord) -> DryEpoch | None:
    """Return the first epoch with the objective since the code last changed, if there is one."""
    since = record.code_changes[-1][0] if record.code_changes else 0.0
    reports = (
        (trial.reported_at[epoch], trial)
        for trial in list(record.trials)
        for epoch in trial.metric(record.spec.objective.metric)
        if trial.reported_at[epoch] > since
    )
    at, trial = min(reports, default=(0.0, None), key=lambda report: report[0])
    if trial is None:
        return None
    begun = [time for time in trial.attempted_at if time <= at]
    return DryEpoch(trial.number, at - (begun[-1] if begun else trial.started_at))
