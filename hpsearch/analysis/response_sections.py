"""The parts of a report on what mattered: hyperparameters, and how they act together."""

from __future__ import annotations

from hpsearch.analysis.blocks import Code, Section, Table, as_rows
from hpsearch.analysis.importance import Importances
from hpsearch.analysis.response import Dependence, Response
from hpsearch.formatting import show
from hpsearch.record import Record

MAX_INTERACTIONS = 3


def hyperparameters(record: Record, importances: Importances, response: Response) -> Section:
    """Return how much each hyperparameter matters, and what a model expects of its values."""
    if not importances.shares:
        return Section("Hyperparameters", (importances.note,), ("parallel", "slice"))
    expected = {name: response.dependence(name) for name in importances.shares}
    has_expected = any(each is not None for each in expected.values())
    rows = as_rows(
        (
            f"`{name}`",
            f"{share:.1%}",
            *_interval(importances, name),
            *(_expected(record, expected[name]) if has_expected else ()),
        )
        for name, share in importances.shares.items()
    )
    metric = record.spec.objective.metric
    ends = ["90 % interval"] if importances.intervals else []
    model = ["expected best", f"`{metric}` there", "over its range"] if has_expected else []
    table = Table(("hyperparameter", "share", *ends, *model), rows)
    blocks: list[str | Table | Code] = [importances.note, table]
    if has_expected:
        blocks.append(
            "Expected is what a Gaussian process over all trials says, those that were stopped "
            "early by their forecast, averaged over the other hyperparameters as trials had them "
            "(partial dependence). Its interval is of 90 %, of the mean. In the figures it is the "
            "line with a band; trials far below the median count as little below it. Any: what it "
            "changes over its range is less than what the model is uncertain by."
        )
    if importances.left_out:
        names = ", ".join(f"`{name}`" for name in importances.left_out)
        blocks.append(f"Too few trials have these hyperparameters: {names}.")
    return Section("Hyperparameters", tuple(blocks), ("importances", "parallel", "slice"))


def interactions_found(
    record: Record, importances: Importances, response: Response
) -> list[Section]:
    """Return which pairs of hyperparameters must be chosen together, if the model tells any."""
    found = response.interactions(list(importances.shares))[:MAX_INTERACTIONS]
    if not found:
        return []
    rows = as_rows(
        (
            " and ".join(f"`{parameter.name}`" for parameter in each.parameters),
            f"{each.strength:.2f}",
            show(each.largest),
        )
        for each in found
    )
    text = (
        "Pairs whose joint effect isn't the sum of both, so that the best value of one depends on "
        "the other, and the importance of each may be low: Friedman's H, 0 for a sum and 1 where "
        "neither has an effect by itself, and by how much at most the expected objective differs "
        "from a sum."
    )
    header = ("hyperparameters", "H", f"in `{record.spec.objective.metric}`")
    return [Section("Interactions", (text, Table(header, rows)), ("interaction",))]


def _interval(importances: Importances, name: str) -> list[str]:
    """Return the cell of an interval, where there are any: over resamples of the trials."""
    ends = importances.intervals.get(name)
    return [] if ends is None else [f"{ends[0]:.0%} to {ends[1]:.0%}"]


def _expected(record: Record, dependence: Dependence | None) -> tuple[str, str, str]:
    """Return the cells of the best expected value, of the objective there, and of its spread."""
    if dependence is None:
        return "–", "–", "–"
    is_max = record.spec.objective.direction == "maximize"
    best = int(dependence.mean.argmax() if is_max else dependence.mean.argmin())
    if dependence.spread < float(dependence.high[best] - dependence.low[best]) / 2:
        return "any", "–", show(dependence.spread)
    ends = f"{show(float(dependence.low[best]))} to {show(float(dependence.high[best]))}"
    at = f"{show(float(dependence.mean[best]))} ({ends})"
    return show(dependence.values[best]), at, show(dependence.spread)
