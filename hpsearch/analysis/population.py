"""What a population did: who copied whom, and with which hyperparameters the best was trained."""

from __future__ import annotations

from typing import Any

from hpsearch.analysis.blocks import Code, Section, Table, as_rows
from hpsearch.formatting import show, show_count
from hpsearch.record import Record, TrialRecord
from hpsearch.record.lineage import Stretch, lineage

#: copies that a report lists
MAX_COPIES = 60


def population_section(record: Record) -> list[Section]:
    """Return the copies of a population, and the lineage of its best trial."""
    if not record.spec.search.is_population:
        return []
    copied = [each for each in record.trials if _is_known(record, each)]
    num_epochs = sum(len(trial.curve) for trial in record.trials)
    blocks: list[str | Table | Code] = [_told(record, len(copied), num_epochs)]
    if copied:
        blocks.append(_copies(record, copied[:MAX_COPIES]))
    if len(copied) > MAX_COPIES:
        blocks.append(f"And {len(copied) - MAX_COPIES} more.")
    if record.best is not None:
        stretches = lineage(record.trials, record.best)
        blocks += [
            f"The weights of the best trial, {record.best.number}, were trained with these:",
            _stretches(stretches),
        ]
    return [Section("Population", tuple(blocks))]


def plain_lineage(record: Record, trial: TrialRecord) -> list[dict[str, Any]]:
    """Return as plain values in which trials, and with what, a trial's weights were trained."""
    return [
        {
            "trial": each.trial.number,
            "first_epoch": each.first,
            "last_epoch": each.last,
            "params": each.trial.params,
        }
        for each in lineage(record.trials, trial)
    ]


def _told(record: Record, num_copies: int, num_epochs: int) -> str:
    first = sum(trial.copied_from is None for trial in record.trials)
    return (
        f"{show_count(first, 'first member')} and {show_count(num_copies, 'copy', 'copies')}, a "
        f"trial each; {show_count(num_epochs, 'epoch')} in all. A copy begins with the checkpoint "
        "of another trial and takes the place of a worse one; its epochs count on from there."
    )


def _copies(record: Record, copied: list[TrialRecord]) -> Table:
    metric = record.spec.objective.metric
    rows = []
    for trial in copied:
        origin = trial.copied_from
        assert origin is not None
        source, loser = record.trials[origin.trial], record.trials[origin.replaces]
        values = (each.last(metric, origin.epoch) for each in (loser, source))
        before, copied_value = ("–" if value is None else show(value) for value in values)
        rows.append(
            (
                str(origin.epoch),
                str(trial.number),
                f"{loser.number} ({before})",
                f"{source.number} ({copied_value})",
                _changes(source, trial) or "nothing",
            )
        )
    header = ("after epoch", "trial", "replaces", "copies", "and changes")
    return Table(header, as_rows(rows))


def _changes(source: TrialRecord, trial: TrialRecord) -> str:
    return ", ".join(
        f"`{name}` {show(source.params[name])} → {show(value)}"
        for name, value in trial.params.items()
        if name in source.params and source.params[name] != value
    )


def _stretches(stretches: list[Stretch]) -> Table:
    names = list(dict.fromkeys(name for each in stretches for name in each.trial.params))
    rows = as_rows(
        (
            str(each.first) if each.first == each.last else f"{each.first} to {each.last}",
            str(each.trial.number),
            *(show(each.trial.params[n]) if n in each.trial.params else "–" for n in names),
        )
        for each in stretches
    )
    return Table(("epochs", "trial", *(f"`{name}`" for name in names)), rows)


def _is_known(record: Record, trial: TrialRecord) -> bool:
    """Whether a trial is a copy of trials that the record has: it may be anybody's."""
    origin = trial.copied_from
    return origin is not None and max(origin.trial, origin.replaces) < len(record.trials)
