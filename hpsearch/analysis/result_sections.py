"""The parts of a report on what a search found: its best trial, and on which data."""

from __future__ import annotations

from hpsearch.analysis.blocks import Section, Table, as_rows
from hpsearch.analysis.endings import completed
from hpsearch.analysis.final import HEADER, final_rows
from hpsearch.analysis.gain import gain
from hpsearch.analysis.missing import missing_metrics
from hpsearch.analysis.next_steps import failed_share, no_best
from hpsearch.analysis.progress import Progress
from hpsearch.formatting import show, show_count
from hpsearch.record import Record


def best_configuration(record: Record, progress: Progress) -> Section:
    """Return the best trial's configuration and its scores, or why there is none."""
    if progress.best is None or progress.best_value is None:
        return Section("Best configuration", (f"There is none: {no_best(record)}.",))
    best, metric = progress.best, record.spec.objective.metric
    kinds = "; ".join(f"{each.trials} {each.label}" for each in completed(record))
    text = (
        f"Trial {best.number}: `{metric}` {show(progress.best_value)} after "
        f"{show_count(best.epochs, 'epoch')}, the best of {progress.completed} that completed"
        f"{' by new seeds' if record.final and record.final.best else ''}: {kinds}."
    )
    if (gained := gain(record)) is not None:
        text += f" {gained[0].upper()}{gained[1:]}."
    share = failed_share(record)
    if share is not None and share.is_large:
        text += f" Warning: {share}."
    params = as_rows((f"`{name}`", show(value)) for name, value in best.params.items())
    metrics = record.result.get("test_metrics") or {}
    scores = ", ".join(f"`{name}` {show(value)}" for name, value in metrics.items())
    test = (
        f"On the test split, which nothing else has seen: {scores}. Expect new data to score like "
        "this; the validation score is the best of many, and so optimistic."
        if scores
        else "The test split was not scored."
    )
    tables = (Table(("hyperparameter", "value"), params),) if params else ()
    return Section("Best configuration", (text, test, *tables))


def new_seeds(record: Record) -> list[Section]:
    """Return the best configurations as they trained again with new seeds."""
    final = record.final
    if final is None:
        return []
    if not final.is_ranked:
        return [Section("New seeds", ("The best configurations are being trained again.",))]
    text = (
        "The best configurations, each trained again in full with new seeds, the best mean first. "
        "Their value in the search is the best of many, and so optimistic; these are not chosen. "
        "Where intervals overlap widely, the order is chance."
    )
    table = Table(HEADER, tuple(final_rows(record, final)))
    return [Section("New seeds", (text, table))]


def warm_start(record: Record) -> list[Section]:
    """Return what was taken from earlier searches."""
    told = tuple(f"{each[0].upper()}{each[1:]}." for each in record.transfers if each)
    return [Section("Warm start", told)] if told else []


def baselines_beside(record: Record) -> list[Section]:
    """Return the best trial's scores beside those of baselines, if these were measured."""
    baselines, best = record.result.get("baselines"), record.best
    if not baselines or best is None:
        return []
    test = record.result.get("test_metrics")
    own = test or best.curve[best.epochs]
    columns = {f"trial {best.number}": own, **baselines}
    rows = as_rows(
        (
            f"`{name}`",
            *(show(scores[name]) if name in scores else "–" for scores in columns.values()),
        )
        for name in own
        if any(name in scores for scores in baselines.values())
    )
    text = (
        f"On the {'test' if test else 'validation'} split, beside baselines that "
        "learn nothing of the inputs: a model must beat them."
    )
    return [Section("Baselines", (text, Table(("metric", *columns), rows)))]


def calibration_effect(record: Record) -> list[Section]:
    """Return what calibrating the exported model changed, if it was calibrated."""
    found = record.result.get("calibration")
    if not found:
        return []
    fitted = "".join(f", {name} {show(value)}" for name, value in found["fitted"].items())
    text = (
        f"The exported model is calibrated by `{found['name']}`, fitted on "
        f"{show_count(found['rows'], 'validation row')}{fitted}."
    )
    if "after" not in found:
        return [Section("Calibration", (text, "Without a test split its effect is not measured."))]
    before, after = found["before"]["scores"], found["after"]["scores"]
    rows = as_rows((f"`{name}`", show(before[name]), show(after[name])) for name in before)
    table = Table(("on the test split", "before", "after"), rows)
    return [Section("Calibration", (text, table), ("reliability",))]


def data_read(record: Record) -> list[Section]:
    """The task that the data gives, its warnings, and which metrics are missing."""
    learned, told = record.data.description, [*record.data.told, *missing_metrics(record)]
    if not learned and not told:
        return []
    text = (f"The task is {learned}.",) if learned else ()
    table = (Table(("warning",), as_rows((each,) for each in told)),) if told else ()
    return [Section("Data", (*text, *table))]


def shared_programs(record: Record) -> list[Section]:
    """Return what was trained in shared programs, if any was."""
    told = record.lanes.told
    return [Section("Shared programs", (f"{told[0].upper()}{told[1:]}.",))] if told else []
