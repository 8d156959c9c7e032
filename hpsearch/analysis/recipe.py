"""The phases of a search by the disciplined plan: what each tried, and what it chose."""

from __future__ import annotations

from hpsearch.analysis.blocks import Section, Table, as_rows
from hpsearch.early_stopping import make_registered_stopper
from hpsearch.errors import SpecError
from hpsearch.formatting import show
from hpsearch.record import Record
from hpsearch.record.observations import Observations
from hpsearch.samplers import Observation
from hpsearch.samplers.disciplined import SAMPLER, DisciplinedSampler, Params, Phase


def recipe_section(record: Record) -> list[Section]:
    """Return what each phase chose, with the numbers that it went by."""
    sampler = plan_of(record)
    if sampler is None:
        return []
    metric, epoch = record.spec.objective.metric, sampler.compared_at
    told = (
        f"Learning rate, momentum and weight decay, one after the other: each value beside the "
        f"best of the phases before, compared by `{metric}` after epoch {epoch} "
        "(Smith, arXiv 1803.09820)."
    )
    phases = sampler.phases(*_seen(record))
    rows = as_rows((f"`{each.name}`", _tried(each), _chosen(each)) for each in phases)
    table = [Table(("phase", f"tried ({metric} after epoch {epoch})", "chosen"), rows)]
    return [Section("Disciplined recipe", (told, *(table if rows else [])))]


def plan_of(record: Record) -> DisciplinedSampler | None:
    """Return the sampler of a search by the plan, as it is in the record; None for others."""
    spec = record.spec
    if spec.search.sampler["name"] != SAMPLER or not spec.is_plain:
        return None
    try:
        rungs = make_registered_stopper(spec).rungs
        return DisciplinedSampler(record.space, spec.objective.direction, rungs)
    except SpecError:  # of a record that others wrote
        return None


def decided(record: Record, sampler: DisciplinedSampler) -> list[Params]:
    """Return the configurations that follow from a record, in the order of the trials."""
    return sampler.plan(*_seen(record))


def _seen(record: Record) -> tuple[int, list[Observation]]:
    chosen = [trial for trial in record.trials if trial.origin is None]
    return len(chosen), Observations(record).read()


def _tried(phase: Phase) -> str:
    scores = ("no value" if each.score is None else show(each.score) for each in phase.tried)
    pairs = zip(phase.tried, scores, strict=True)
    return ", ".join(f"{show(each.value)} ({score})" for each, score in pairs)


def _chosen(phase: Phase) -> str:
    return show(phase.chosen.params[phase.name])
