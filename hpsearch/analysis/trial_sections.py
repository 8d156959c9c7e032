"""The parts of a report on its trials: how they ended, the leaders, and what their curves say."""

from __future__ import annotations

from hpsearch.analysis.blocks import Code, Section, Table, as_rows
from hpsearch.analysis.diagnosis import Diagnosis, diagnoses
from hpsearch.analysis.endings import ending_label, endings
from hpsearch.analysis.failures import failures
from hpsearch.analysis.frames import active_names
from hpsearch.analysis.leaders import LEADERBOARD_SIZE, leaders
from hpsearch.analysis.progress import Progress
from hpsearch.analysis.scatter import shown_trials
from hpsearch.analysis.speed import speed_columns
from hpsearch.analysis.stopping import rungs
from hpsearch.formatting import show, show_count, show_outcome, show_seconds, show_time
from hpsearch.record import Act, Outcome, Record

MAX_FAILURES = 12


def trials_by_outcome(record: Record) -> Section:
    """Return how many trials ended how, with the figures of all."""
    if not record.trials:
        return Section("Trials", ("No trial has started.",))
    rows = as_rows((each.label, str(each.trials), str(each.epochs)) for each in endings(record))
    table = Table(("outcome", "trials", "epochs"), rows)
    shown = len(shown_trials(record))
    thinned = f"The figures show {shown} of them: the leaders and an even sample."
    blocks = (table, thinned) if shown < len(record.trials) else (table,)
    return Section("Trials", blocks, ("objective", "curves"))


def leaderboard(record: Record) -> Section:
    """Return the best trials and their hyperparameters."""
    top = leaders(record)[:LEADERBOARD_SIZE]
    if not top:
        return Section("Leaderboard", ("No trial has reported the objective.",))
    names = active_names(record, top)
    speed = speed_columns(record, top)
    rows = as_rows(
        (
            str(trial.number),
            show(record.objective(trial)),
            str(trial.epochs),
            ending_label(trial),
            *(column[place] for column in speed.values()),
            *(show(trial.params[name]) if name in trial.params else "–" for name in names),
        )
        for place, trial in enumerate(top)
    )
    header = ("trial", f"`{record.spec.objective.metric}`", "epochs", "outcome", *speed)
    text = "Completed trials first, then those that trained longest."
    table = Table((*header, *(f"`{name}`" for name in names)), rows)
    only_completed = all(trial.outcome is Outcome.COMPLETED for trial in top)
    return Section("Leaderboard", (table,) if only_completed else (text, table))


def curves_diagnosed(record: Record, progress: Progress) -> list[Section]:
    """What the curves say: all of the best trial's, and of the others the first of each kind."""
    found = diagnoses(record)
    by_name: dict[str, list[tuple[int, Diagnosis]]] = {}
    for number, said in found.items():
        for each in said:
            by_name.setdefault(each.name, []).append((number, each))
    if not by_name:
        return []
    rows = as_rows(
        (name, str(len(said)), f"trial {said[0][0]}: {said[0][1].message}", said[0][1].advice)
        for name, said in sorted(by_name.items(), key=lambda item: -len(item[1]))
    )
    table = Table(("diagnosis", "trials", "such as", "what to try"), rows)
    best = found.get(progress.best.number, []) if progress.best is not None else []
    texts = [f"The best trial, {each}." for each in best]
    return [Section("Diagnosis", (*texts, table))]


def acts_of_users(record: Record) -> list[Section]:
    """Return what users did to the search while it ran, if they did anything."""
    rows = as_rows((show_time(act.at), act.user, _act_told(record, act)) for act in record.acts)
    if not rows:
        return []
    return [Section("Acts of users", (Table(("when", "who", "what"), rows),))]


def _act_told(record: Record, act: Act) -> str:
    if act.refused is not None:
        return f"{act.told}: refused, {act.refused}"
    made = next((t.number for t in record.trials if t.origin and t.origin.act == act.id), None)
    return act.told if made is None else f"{act.told}: trial {made}"


def early_stopping(record: Record, progress: Progress) -> Section:
    """Return which epochs early stopping saved, and where."""
    found = rungs(record)
    used = f"{show_count(progress.epochs_used, 'epoch')} trained"
    if not found:
        return Section("Early stopping", (f"No trial was stopped early; {used}.",))
    text = (
        f"{used}, {progress.epochs_saved} saved: about {show_seconds(progress.seconds_saved)} of "
        "training that the stopped trials would have taken to their full budget."
    )
    rows = as_rows((str(rung.epoch), str(rung.reached), str(rung.stopped)) for rung in found)
    table = Table(("epoch", "trials that reached it", "stopped there"), rows)
    return Section("Early stopping", (text, table), ("rungs",))


def warnings_of_checks(record: Record) -> list[Section]:
    """What the trials' checks found, the first of each kind."""
    found: dict[str, list[tuple[int, str]]] = {}
    for trial in record.trials:
        for check, message in trial.warnings_by_check.items():
            found.setdefault(check, []).append((trial.number, message))
    rows = as_rows(
        (f"`{check}`", str(len(told)), f"trial {told[0][0]}: {told[0][1]}")
        for check, told in sorted(found.items())
    )
    return [Section("Checks", (Table(("check", "trials", "such as"), rows),))] if rows else []


def failures_by_reason(record: Record) -> list[Section]:
    """Return why trials failed, the most frequent reasons first, if any did."""
    found = failures(record)
    if not found:
        return []
    rows = as_rows(
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
