"""What to do after a search: commands that work on it, and why it has no best trial if so."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from hpsearch.analysis.failures import alike
from hpsearch.analysis.leaders import leaders
from hpsearch.analysis.progress import is_failure
from hpsearch.formatting import show, show_count, show_outcome
from hpsearch.record import Outcome, Record, TrialRecord

#: of a time limit that was too short
MIN_MORE_SECONDS = 600.0
_MAX_REASON = 300


@dataclass(frozen=True)
class CommonEnd:
    """How most of some trials ended; the reason is the first one's."""

    outcome: Outcome
    reason: str
    numbers: tuple[int, ...]

    @property
    def frequency(self) -> str:
        """`ValueError: no (3 trials)`."""
        return f"{self.reason} ({show_count(len(self.numbers), 'trial')})"

    def __str__(self) -> str:
        """`3 failed: ValueError: no (trial 0 first)`."""
        told = f"{len(self.numbers)} {show_outcome(self.outcome)}: {self.reason}"
        return f"{told} (trial {self.numbers[0]} first)" if len(self.numbers) > 1 else told


def common_end(trials: Iterable[TrialRecord]) -> CommonEnd | None:
    """Return the commonest way in which trials ended that did not complete."""
    found = alike(trial for trial in trials if trial.outcome is not Outcome.COMPLETED)
    if not found:
        return None
    most = max(found, key=lambda group: len(group.numbers))
    reason = " ".join(most.reason.split())[:_MAX_REASON]
    return CommonEnd(most.outcome, reason, most.numbers)


def why_no_best(record: Record) -> str | None:
    """Say why a search that has ended has no best trial; None where it has one, or is running."""
    if record.state == "running" or record.best is not None:
        return None
    if record.is_suspended:
        return record.reason
    return no_best(record)


def no_best(record: Record) -> str:
    """Say why a search has no best trial, or has none yet."""
    completed = [trial for trial in record.trials if trial.outcome is Outcome.COMPLETED]
    if completed and record.spec.constraints and all(map(record.broken, completed)):
        bounds = " and ".join(map(str, record.spec.constraints))
        yet = " yet" if record.state == "running" else ""
        return f"no trial that completed has {bounds}, so there is no best one{yet}"
    if record.state == "running":
        return "no trial has completed yet"
    num_trials = len(record.trials)
    if num_trials == 0:
        return "no trial has started, so there is no best one"
    if completed:
        metric = record.spec.objective.metric
        return f"no trial that completed has a finite {metric}, so there is no best one"
    why = f"none of {show_count(num_trials, 'trial')} completed: {common_end(record.trials)}"
    partial = _best_partial(record)
    return why if partial is None else f"{why}; {partial}"


def _best_partial(record: Record) -> str | None:
    """Describe the leading trial that did not complete; None where none has an objective."""
    leading = next((t for t in leaders(record) if not is_failure(t.outcome)), None)
    if leading is None:
        return None
    value = show(record.objective(leading))
    reached = f"{leading.epochs} of {record.spec.max_epochs} epochs"
    told = f"{record.spec.objective.metric} {value} after {reached}"
    return f"the best partial one is trial {leading.number}: {told}"


def commonest_failure(record: Record) -> CommonEnd | None:
    """Return how most of the trials that failed did so."""
    return common_end(trial for trial in record.trials if is_failure(trial.outcome))


#: of the trials, from which on a search doesn't look well
LARGE_SHARE = 0.2


@dataclass(frozen=True)
class FailedShare:
    """How many of the trials that ended have failed, and how most of these did."""

    failed: int
    ended: int
    commonest: CommonEnd

    @property
    def is_large(self) -> bool:
        """Whether the search should not be believed before that is looked at."""
        return self.failed > LARGE_SHARE * self.ended

    def __str__(self) -> str:
        """`3 of 10 trials (30%) failed; ...`."""
        share = f"{self.failed} of {self.ended} trials ({self.failed / self.ended:.0%}) failed"
        rest = "; the result rests on the others" if self.is_large else ""
        return f"{share}{rest}; most frequent: {self.commonest.frequency}"


def failed_share(record: Record) -> FailedShare | None:
    """Return what share of the trials failed; None where none did."""
    ended = [t for t in record.trials if t.outcome not in (None, Outcome.CANCELLED)]
    failed = sum(is_failure(trial.outcome) for trial in ended)
    commonest = commonest_failure(record)
    return None if commonest is None else FailedShare(failed, len(ended), commonest)


def next_steps(record: Record, options: str = "", on_service: bool = False) -> dict[str, str]:
    """Return commands that work on a search that has ended, with what each does.

    `options` go behind the search's name. A service's pages show MLflow, without a command.
    """

    def command(verb: str, more: str = "") -> str:
        return f"hpsearch {verb} {record.name}{options}{more}"

    steps = {command("report"): "the whole report"}
    if record.best is not None:
        steps[command("best")] = "the best configuration as a spec"
    else:
        steps |= {command(verb, more): what for verb, more, what in _repairs(record)}
    return steps if on_service else steps | {f"hpsearch ui{options}": "every curve, in MLflow"}


def _repairs(record: Record) -> list[tuple[str, str, str]]:
    """Return (command, its options, what it does) for a search without a best trial."""
    found = []
    failure = commonest_failure(record)
    if failure is not None:
        number = failure.numbers[0]
        what = f"what trial {number} printed, and how it ended"
        found.append(("logs", f" --trial {number}", what))
    if record.state == "stopped" or record.is_suspended:
        found.append(("resume", "", "resume it"))
    elif record.state != "running" and (more := _more_budget(record)):
        found.append(("extend", more, "resume it with more budget"))
    return found


def _more_budget(record: Record) -> str:
    """Return the options of `extend` that let further trials complete; none if nothing can."""
    settings, more = record.spec.search, ""
    if settings.gpu_hours is not None and record.gpu_seconds() >= settings.gpu_hours * 3600:
        return ""
    chosen = [trial for trial in record.trials if trial.origin is None]
    tried = sum(trial.outcome is not Outcome.CANCELLED for trial in chosen)
    if tried >= settings.trials:
        more += f" --trials {settings.trials}"
    limit = settings.time_limit
    if limit is not None and record.seconds_used(time.time()) >= limit:
        more += f" --time {max(limit, MIN_MORE_SECONDS) / 60:.0f}m"
    num_epochs = sum(len(trial.curve) for trial in record.trials)
    if settings.epochs is not None and num_epochs >= settings.epochs:
        more += f" --epochs {max(settings.epochs, record.spec.max_epochs)}"
    return more
