"""What must hold between the trials of a population: who copied whom, after which epoch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from hpsearch.errors import Problem
from hpsearch.outcome import CopiedFrom, Outcome
from hpsearch.record import Record, TrialRecord
from hpsearch.samplers.population import may_change
from hpsearch.tuning.population import Population
from hpsearch.tuning.sampling import explorer_of


def copy_problems(record: Record) -> Iterator[Problem]:
    """Yield what is wrong with the copies of a record."""
    replaced: Counter[int] = Counter()
    for trial in record.trials:
        if trial.copied_from is not None:
            replaced[trial.copied_from.replaces] += 1
            yield from _origin_problems(record, trial, trial.copied_from)
    for number, times in replaced.items():
        if times > 1:
            yield Problem(f"trial {number}", "must be replaced by one trial at most", times)
    if replaced and record.spec.search.is_population:
        yield from _decision_problems(record)


def _decision_problems(record: Record) -> Iterator[Problem]:
    """Yield the copies that don't follow from what the members had reached."""
    explorer = explorer_of(record)
    assert explorer is not None
    population = Population(record, explorer)
    copied = [each for each in population.trials if each.copied_from is not None]
    for epoch in sorted({each.first_epoch - 1 for each in copied}):
        decided = {each.loser.number: each.source.number for each in population.exploits(epoch)}
        for trial in copied:
            origin = trial.copied_from
            if origin is None or origin.epoch != epoch:
                continue
            if decided.get(origin.replaces) != origin.trial:
                found = decided.get(origin.replaces)
                rule = f"must be the copy that follows from epoch {epoch}: of trial {found}"
                yield Problem(f"trial {trial.number}: copied_from", rule, str(origin))


def _origin_problems(record: Record, trial: TrialRecord, origin: CopiedFrom) -> Iterator[Problem]:
    place = f"trial {trial.number}: copied_from"
    if not record.spec.search.is_population:
        sampler = record.spec.search.sampler["name"]
        yield Problem(place, f"must not exist with the sampler {sampler}", str(origin))
    later = {"trial": origin.trial, "replaces": origin.replaces}
    later = {name: number for name, number in later.items() if number >= trial.number}
    for name, number in later.items():
        yield Problem(f"{place}.{name}", "must be an earlier trial", number)
    if later:
        return
    source, loser = record.trials[origin.trial], record.trials[origin.replaces]
    rule = f"must be an epoch that trial {source.number} had trained by then"
    if source.reported_at.get(origin.epoch, trial.started_at + 1) > trial.started_at:
        yield Problem(f"{place}.epoch", rule, origin.epoch)
    yield from _loser_problems(place, loser, origin, is_over=record.state != "running")
    yield from _inherited_problems(record, trial, source)


def _loser_problems(
    place: str, loser: TrialRecord, origin: CopiedFrom, *, is_over: bool
) -> Iterator[Problem]:
    rule = f"must be a trial that ended at epoch {origin.epoch} or before it"
    has_gone_on = loser.epochs > origin.epoch or loser.outcome is Outcome.COMPLETED
    if has_gone_on or (is_over and loser.outcome is None):
        yield Problem(f"{place}.replaces", rule, f"trial {loser.number}, epoch {loser.epochs}")


def _inherited_problems(
    record: Record, trial: TrialRecord, source: TrialRecord
) -> Iterator[Problem]:
    is_own_code = record.spec.is_own_code
    for parameter in record.space.parameters:
        name = parameter.name
        if may_change(parameter, is_named=is_own_code):
            continue
        if trial.params.get(name) != source.params.get(name):
            rule = f"must be {source.params.get(name)!r}, as in trial {source.number}"
            yield Problem(f"trial {trial.number}: {name}", rule, trial.params.get(name))
