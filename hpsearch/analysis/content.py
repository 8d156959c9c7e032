"""What a report says, before it is Markdown or HTML: sections of texts, tables and code.

In a text, `backticks` mark what is a name.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from hpsearch.analysis.diagnosis import Diagnosis, diagnoses
from hpsearch.analysis.endings import completed, ending_label, endings
from hpsearch.analysis.failures import failures
from hpsearch.analysis.final import HEADER, final_rows
from hpsearch.analysis.frames import active_names
from hpsearch.analysis.gain import gain
from hpsearch.analysis.importance import Importances
from hpsearch.analysis.leaders import leaders
from hpsearch.analysis.missing import missing_metrics
from hpsearch.analysis.next_steps import failed_share, next_steps, no_best
from hpsearch.analysis.progress import Progress, summary
from hpsearch.analysis.scatter import shown_trials
from hpsearch.analysis.stopping import rungs
from hpsearch.formatting import show, show_count, show_outcome, show_seconds
from hpsearch.record import Outcome, Record
from hpsearch.spec import Choices, Tree, advice

LEADERBOARD_SIZE = 10
MAX_FAILURES = 12
_STATES = {
    "running": "has been running for",
    "finished": "finished after",
    "stopped": "was stopped after",
    "failed": "failed after",
}


@dataclass(frozen=True)
class Table:
    """Rows of texts under a header."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Code:
    """Text to be shown as it is."""

    text: str


@dataclass(frozen=True)
class Section:
    """A titled part of a report; `figures` are prefixes of the names of its pictures."""

    title: str
    blocks: tuple[str | Table | Code, ...] = ()
    figures: tuple[str, ...] = ()


def introduction(record: Record) -> str:
    """Say what was searched, in a few sentences."""
    spec, progress = record.spec, summary(record)
    stopping = spec.search.early_stopping
    own = spec.trainable or (spec.command and shlex.join(spec.command.run))
    what = f"`{own}`" if own else _model_and_data(record)
    reason = f" ({record.reason})" if record.reason else ""
    return (
        f"The search {_STATES[record.state]} {show_seconds(progress.seconds_used)}{reason}: "
        f"{show_count(len(record.trials), 'trial')} of {spec.search.trials} planned, of {what}. "
        f"It {spec.objective.direction}s `{spec.objective.metric}` over "
        f"{show_count(len(record.space.parameters), 'hyperparameter')} with the sampler "
        f"`{spec.search.sampler['name']}` (seed {spec.search.seed}), at most "
        f"{show_count(spec.max_epochs, 'epoch')} a trial, early stopping `{stopping.name}`."
        f"{''.join(f' Warning: {each}' for each in advice(spec))}"
    )


def sections(record: Record, importances: Importances) -> list[Section]:
    """Return the parts of a report after its introduction."""
    return [*findings(record, importances), _next(record), *facts(record)]


def findings(record: Record, importances: Importances) -> list[Section]:
    """Return what a search found, and what went wrong."""
    progress = summary(record)
    failed = _failures(record)
    return [
        _best(record, progress),
        *_new_seeds(record),
        *_data(record),
        *_warm_start(record),
        *_shared_programs(record),
        *_baselines(record),
        *_calibration(record),
        *(failed if progress.best is None else []),  # then they are what matters
        _trials(record),
        _leaderboard(record),
        *_diagnosis(record, progress),
        _importances(importances),
        _early_stopping(record, progress),
        *_warnings(record),
        *([] if progress.best is None else failed),
    ]


def facts(record: Record) -> list[Section]:
    """Return with which code and versions a search was made, where that is known."""
    rows = _rows((name, str(value)) for name, value in record.facts.items())
    versions = [Section("Versions", (Table(("what", "value"), rows),))] if rows else []
    return [*_changed_code(record), *versions]


def _changed_code(record: Record) -> list[Section]:
    """Say after how many trials the search went on with other code."""
    rows = _rows(
        (str(sum(trial.started_at < at for trial in record.trials)), ", ".join(files))
        for at, files in record.code_changes
    )
    return [Section("Changed code", (Table(("after trials", "files"), rows),))] if rows else []


def test_score(record: Record) -> tuple[str, float] | None:
    """Return what the test metric that matches the objective is called, and its value."""
    metrics = record.result.get("test_metrics") or {}
    plain = record.spec.objective.metric.removeprefix("val_")
    found = next((name for name in (f"test_{plain}", plain) if name in metrics), None)
    return None if found is None else (f"test {plain}", metrics[found])


def _model_and_data(record: Record) -> str:
    model, dataset = (_names(tree) for tree in (record.spec.model, record.spec.dataset))
    return f"{model} on {dataset}"


def _names(tree: Tree) -> str:
    if isinstance(tree, Choices):
        return " or ".join(f"`{label}`" for label in tree.labels)
    return f"`{tree['name']}`"


def _best(record: Record, progress: Progress) -> Section:
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
    params = _rows((f"`{name}`", show(value)) for name, value in best.params.items())
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


def _new_seeds(record: Record) -> list[Section]:
    """The best configurations, trained again with new seeds."""
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


def _data(record: Record) -> list[Section]:
    """The task that the data gives, its warnings, and which metrics are missing."""
    learned, told = record.data.description, [*record.data.told, *missing_metrics(record)]
    if not learned and not told:
        return []
    text = (f"The task is {learned}.",) if learned else ()
    table = (Table(("warning",), _rows((each,) for each in told)),) if told else ()
    return [Section("Data", (*text, *table))]


def _warm_start(record: Record) -> list[Section]:
    """What was taken from earlier searches."""
    told = tuple(f"{each[0].upper()}{each[1:]}." for each in record.transfers if each)
    return [Section("Warm start", told)] if told else []


def _shared_programs(record: Record) -> list[Section]:
    told = record.lanes.told
    return [Section("Shared programs", (f"{told[0].upper()}{told[1:]}.",))] if told else []


def _baselines(record: Record) -> list[Section]:
    baselines, best = record.result.get("baselines"), record.best
    if not baselines or best is None:
        return []
    test = record.result.get("test_metrics")
    own = test or best.curve[best.epochs]
    columns = {f"trial {best.number}": own, **baselines}
    rows = _rows(
        (
            f"`{name}`",
            *(show(scores[name]) if name in scores else "–" for scores in columns.values()),
        )
        for name in own
        if any(name in scores for scores in baselines.values())
    )
    text = (
        f"On the {'test' if test else 'validation'} split, beside baselines that "
        "ignore the inputs: a model must beat them."
    )
    return [Section("Baselines", (text, Table(("metric", *columns), rows)))]


def _calibration(record: Record) -> list[Section]:
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
    rows = _rows((f"`{name}`", show(before[name]), show(after[name])) for name in before)
    table = Table(("on the test split", "before", "after"), rows)
    return [Section("Calibration", (text, table), ("reliability",))]


def _trials(record: Record) -> Section:
    if not record.trials:
        return Section("Trials", ("No trial has started.",))
    rows = _rows((each.label, str(each.trials), str(each.epochs)) for each in endings(record))
    table = Table(("outcome", "trials", "epochs"), rows)
    shown = len(shown_trials(record))
    thinned = f"The figures show {shown} of them: the leaders and an even sample."
    blocks = (table, thinned) if shown < len(record.trials) else (table,)
    return Section("Trials", blocks, ("objective", "curves"))


def _leaderboard(record: Record) -> Section:
    top = leaders(record)[:LEADERBOARD_SIZE]
    if not top:
        return Section("Leaderboard", ("No trial has reported the objective.",))
    names = active_names(record, top)
    rows = _rows(
        (
            str(trial.number),
            show(record.objective(trial)),
            str(trial.epochs),
            ending_label(trial),
            *(show(trial.params[name]) if name in trial.params else "–" for name in names),
        )
        for trial in top
    )
    header = ("trial", f"`{record.spec.objective.metric}`", "epochs", "outcome")
    text = "Completed trials first, then those that trained longest."
    table = Table((*header, *(f"`{name}`" for name in names)), rows)
    only_completed = all(trial.outcome is Outcome.COMPLETED for trial in top)
    return Section("Leaderboard", (table,) if only_completed else (text, table))


def _diagnosis(record: Record, progress: Progress) -> list[Section]:
    """What the curves say: all of the best trial's, and of the others the first of each kind."""
    found = diagnoses(record)
    by_name: dict[str, list[tuple[int, Diagnosis]]] = {}
    for number, said in found.items():
        for each in said:
            by_name.setdefault(each.name, []).append((number, each))
    if not by_name:
        return []
    rows = _rows(
        (name, str(len(said)), f"trial {said[0][0]}: {said[0][1].message}", said[0][1].advice)
        for name, said in sorted(by_name.items(), key=lambda item: -len(item[1]))
    )
    table = Table(("diagnosis", "trials", "such as", "what to try"), rows)
    best = found.get(progress.best.number, []) if progress.best is not None else []
    texts = [f"The best trial, {each}." for each in best]
    return [Section("Diagnosis", (*texts, table))]


def _importances(importances: Importances) -> Section:
    if not importances.shares:
        return Section("Hyperparameters", (importances.note,), ("parallel", "slice"))
    rows = _rows(
        (f"`{name}`", f"{share:.1%}", *_interval(importances, name))
        for name, share in importances.shares.items()
    )
    header = ("hyperparameter", "share", *(["90 % interval"] if importances.intervals else []))
    blocks: list[str | Table | Code] = [importances.note, Table(header, rows)]
    if importances.left_out:
        names = ", ".join(f"`{name}`" for name in importances.left_out)
        blocks.append(f"Too few trials have these hyperparameters: {names}.")
    return Section("Hyperparameters", tuple(blocks), ("importances", "parallel", "slice"))


def _interval(importances: Importances, name: str) -> list[str]:
    """The cell of an interval, where there are any: over resamples of the trials."""
    ends = importances.intervals.get(name)
    return [] if ends is None else [f"{ends[0]:.0%} to {ends[1]:.0%}"]


def _early_stopping(record: Record, progress: Progress) -> Section:
    found = rungs(record)
    used = f"{show_count(progress.epochs_used, 'epoch')} trained"
    if not found:
        return Section("Early stopping", (f"No trial was stopped early; {used}.",))
    text = (
        f"{used}, {progress.epochs_saved} saved: about {show_seconds(progress.seconds_saved)} of "
        "training that the stopped trials would have taken to their full budget."
    )
    rows = _rows((str(rung.epoch), str(rung.reached), str(rung.stopped)) for rung in found)
    table = Table(("epoch", "trials that reached it", "stopped there"), rows)
    return Section("Early stopping", (text, table), ("rungs",))


def _warnings(record: Record) -> list[Section]:
    """What the trials' checks found, the first of each kind."""
    found: dict[str, list[tuple[int, str]]] = {}
    for trial in record.trials:
        for check, message in trial.warnings_by_check.items():
            found.setdefault(check, []).append((trial.number, message))
    rows = _rows(
        (f"`{check}`", str(len(told)), f"trial {told[0][0]}: {told[0][1]}")
        for check, told in sorted(found.items())
    )
    return [Section("Checks", (Table(("check", "trials", "such as"), rows),))] if rows else []


def _failures(record: Record) -> list[Section]:
    found = failures(record)
    if not found:
        return []
    rows = _rows(
        (show_outcome(each.outcome), each.reason, str(len(each.numbers)), each.shown_numbers)
        for each in found[:MAX_FAILURES]
    )
    blocks: list[str | Table | Code] = [Table(("outcome", "reason", "trials", "numbers"), rows)]
    if len(found) > MAX_FAILURES:
        blocks.append(f"And {len(found) - MAX_FAILURES} more reasons.")
    traced = next((each for each in found if each.traceback), None)
    if traced is not None and traced.traceback is not None:
        blocks += [f"The first traceback, of trial {traced.numbers[0]}:", Code(traced.traceback)]
    return [Section("Failures", tuple(blocks))]


def _next(record: Record) -> Section:
    own = f"hpsearch report {record.name}"
    commands = {
        f"hpsearch status {record.name}": "why trials failed",
        **{command: what for command, what in next_steps(record).items() if command != own},
    }
    width = max(map(len, commands))
    lines = [f"{command:<{width}}  # {what}" for command, what in commands.items()]
    return Section("Next steps", (Code("\n".join(lines)),))


def _rows(rows: Iterable[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    return tuple(rows)
