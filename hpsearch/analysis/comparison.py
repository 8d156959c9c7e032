"""Several searches side by side, and whether one is better than another by more than chance.

Two searches are compared by the new seeds of their best configurations (`search.final`), whose
means differ by Welch's t interval. Pairs of searches, such as one for each data set or seed, are
compared by the interval of their differences and by Wilcoxon's signed-rank test (Demšar, JMLR
2006): the best value of one search alone says nothing of chance.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

import plotly.graph_objects as go

from hpsearch.analysis.blocks import Section, Table, as_rows
from hpsearch.analysis.final import show_sample, test_sample
from hpsearch.analysis.progress import summary
from hpsearch.analysis.speed import REACHED_HEADER, reached, reached_row
from hpsearch.analysis.style import LINES, new_figure
from hpsearch.errors import HpsearchError
from hpsearch.formatting import show, show_seconds
from hpsearch.record import Record, Sample

FIGURE = "best_by_epochs"
#: of the intervals
CONFIDENCE = 0.95
NO_SEEDS = "nothing can be said of chance: search.final trains the best configurations again"


@dataclass(frozen=True)
class Difference:
    """How two searches, or two groups of them, differ in the objective: the second less the first.

    `interval` holds the mean with a `confidence` of 95 %, more where many are compared, None where
    there are too few values; `p_value` is that of Wilcoxon's signed-rank test, two-sided, of pairs
    only.
    """

    first: str
    second: str
    mean: float
    interval: tuple[float, float] | None
    p_value: float | None = None
    confidence: float = CONFIDENCE

    def told(self, direction: str) -> str:
        """`b is better than a by 0.02 (0.01 to 0.03)`, or that there is no telling."""
        names = f"`{self.second}` and `{self.first}`"
        if self.interval is None:
            return f"{names}: {NO_SEEDS}"
        low, high = self.interval
        p_value = "" if self.p_value is None else f", signed-rank test p = {self.p_value:.2g}"
        ends = f"{100 * self.confidence:.3g} % interval {low:+.3g} to {high:+.3g}{p_value}"
        if low <= 0 <= high:
            return f"{names} can't be told apart: they differ by {self.mean:+.3g} ({ends})"
        is_better = (self.mean > 0) == (direction == "maximize")
        word = "better" if is_better else "worse"
        return f"`{self.second}` is {word} than `{self.first}` by {abs(self.mean):.3g} ({ends})"


def check_comparable(records: Sequence[Record]) -> None:
    """Raise HpsearchError for searches of several objectives, or of other ones."""
    first = records[0].spec
    for record in records:
        if record.spec.objectives:
            raise HpsearchError(f"{record.name} has several objectives: compare needs one")
        if record.spec.objective != first.objective:
            own, theirs = record.spec.objective, first.objective
            raise HpsearchError(
                f"{record.name} {own.direction}s {own.metric}, but {records[0].name} "
                f"{theirs.direction}s {theirs.metric}: compare needs one objective"
            )


def differences(records: Sequence[Record]) -> list[Difference]:
    """Compare each search with the first by the new seeds of its best configuration."""
    first = _new_seeds(records[0])
    return [welch(records[0].name, first, each.name, _new_seeds(each)) for each in records[1:]]


def welch(first: str, one: Sample, second: str, other: Sample) -> Difference:
    """Compare two samples by Welch's t interval, whose variances may differ."""
    mean = other.mean - one.mean
    if one.std is None or other.std is None:
        return Difference(first, second, mean, None)
    parts = [sample.std**2 / len(sample.values) for sample in (one, other) if sample.std]
    if not parts:
        return Difference(first, second, mean, (mean, mean))
    sizes = [len(sample.values) for sample in (one, other) if sample.std]
    freedom = sum(parts) ** 2 / sum(p**2 / (n - 1) for p, n in zip(parts, sizes, strict=True))
    return Difference(first, second, mean, _interval(mean, math.sqrt(sum(parts)), freedom))


def paired(firsts: Sequence[Record], seconds: Sequence[Record]) -> Difference:
    """Compare pairs of searches by the best value that each found."""
    pairs = list(zip(firsts, seconds, strict=True))
    for pair in pairs:
        check_comparable(pair)
    found = [_best(other) - _best(one) for one, other in pairs]
    first, second = (", ".join(each.name for each in side) for side in (firsts, seconds))
    return replace(pair_difference(found), first=first, second=second)


def pair_difference(found: Sequence[float], confidence: float = CONFIDENCE) -> Difference:
    """Return the mean of the differences of pairs, with its interval by Student's t."""
    from scipy.stats import wilcoxon

    mean = statistics.fmean(found)
    if len(found) < 2:
        return Difference("", "", mean, None, confidence=confidence)
    interval = _interval(mean, _error(found), len(found) - 1, confidence)
    p_value = float(wilcoxon(found).pvalue) if any(found) else 1.0
    return Difference("", "", mean, interval, p_value, confidence)


def t_test(found: Sequence[float]) -> float:
    """Return the p-value of the paired t-test of differences; 1 where there are too few."""
    from scipy.special import stdtr

    mean, error = statistics.fmean(found), _error(found) if len(found) > 1 else math.inf
    if not error:
        return 0.0 if mean else 1.0
    return 2 * float(stdtr(max(1, len(found) - 1), -abs(mean) / error))


def _error(found: Sequence[float]) -> float:
    return statistics.stdev(found) / math.sqrt(len(found))


def shared_targets(records: Sequence[Record]) -> list[float]:
    """Return a value of the objective that all searches with a best trial came to."""
    bests = [_best(record) for record in records if record.best is not None]
    direction = records[0].spec.objective.direction
    return [min(bests) if direction == "maximize" else max(bests)] if bests else []


def comparison_sections(
    records: Sequence[Record], found: Sequence[Difference], targets: Sequence[float] = ()
) -> list[Section]:
    """Return the searches as a table, how they differ, and how soon they came to targets."""
    objective = records[0].spec.objective
    header = ("search", "state", "trials", "epochs", "time", f"best `{objective.metric}`")
    rows = as_rows((*_row(each), _seeds(each), _test(each)) for each in records)
    texts = [f"{each.told(objective.direction)}." for each in found]
    table = Table((*header, "new seeds", "test"), rows)
    return [
        Section("Comparison", (*texts, table)),
        *_times_to_targets(records, targets),
        Section("Search by search", (), (FIGURE,)),
    ]


def _times_to_targets(records: Sequence[Record], targets: Sequence[float]) -> list[Section]:
    rows = as_rows(
        (each.name, *reached_row(each, reached(each, target)))
        for target in targets
        for each in records
    )
    metric = f"`{records[0].spec.objective.metric}`"
    table = Table(("search", metric, *REACHED_HEADER), rows)
    return [Section("Time to target", (table,))] if rows else []


def best_by_epochs(records: Sequence[Record]) -> go.Figure:
    """Draw the best objective of the completed trials over the epochs that were trained."""
    metric = records[0].spec.objective.metric
    figure = new_figure("Best so far", "epochs trained", metric)
    for number, record in enumerate(records):
        epochs, values = _best_so_far(record)
        line = {"shape": "hv", "width": 2, "color": LINES[number % len(LINES)]}
        figure.add_scatter(x=epochs, y=values, mode="lines", line=line, name=record.name)
    figure.update_layout(showlegend=True)
    return figure


def _best_so_far(record: Record) -> tuple[list[int], list[float]]:
    better = max if record.spec.objective.direction == "maximize" else min
    last = record.spec.max_epochs
    completed = {t.number: t for t in record.ranked()}
    epochs: list[int] = []
    values: list[float] = []
    for used, (number, epoch, value, _) in enumerate(record.history(), 1):
        if number in completed and epoch == min(last, completed[number].epochs):
            epochs.append(used)
            values.append(better([value, *values[-1:]]))
    return epochs, values


def _row(record: Record) -> tuple[str, ...]:
    progress = summary(record)
    best = "–" if progress.best_value is None else show(progress.best_value)
    counts = str(len(record.trials)), str(progress.epochs_used)
    return record.name, record.state, *counts, show_seconds(progress.seconds_used), best


def _seeds(record: Record) -> str:
    return show_sample(_new_seeds(record))


def test_value(record: Record) -> float | None:
    """Return the objective of the best trial on the test split, the mean of its new seeds."""
    if record.final is not None and record.final.best is not None:
        sample = test_sample(record, record.final.best)
        return None if sample is None or not sample.values else sample.mean
    plain = record.spec.objective.metric.removeprefix("val_")
    value: float | None = (record.result.get("test_metrics") or {}).get(f"test_{plain}")
    return value


def _test(record: Record) -> str:
    if record.final is not None and record.final.best is not None:
        sample = test_sample(record, record.final.best)
        return "–" if sample is None else show_sample(sample)
    value = test_value(record)
    return "–" if value is None else show(value)


def _new_seeds(record: Record) -> Sample:
    final = record.final
    return Sample(()) if final is None or final.best is None else final.best.objective


def _best(record: Record) -> float:
    value = None if record.best is None else record.objective(record.best)
    if value is None:
        raise HpsearchError(f"{record.name} has no best trial to compare")
    return value


def _interval(
    mean: float, error: float, freedom: float, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    from scipy.special import stdtrit

    half = float(stdtrit(freedom, (1 + confidence) / 2)) * error
    return mean - half, mean + half
