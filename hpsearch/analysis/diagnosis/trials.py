"""What the curves of a search's trials say."""

from __future__ import annotations

from hpsearch.analysis.diagnosis.curves import curves_of
from hpsearch.analysis.diagnosis.finding import Diagnosis
from hpsearch.analysis.diagnosis.rules import diagnose
from hpsearch.record import Record


def diagnoses(record: Record) -> dict[int, list[Diagnosis]]:
    """Return what is to be said of each trial, by its number; trials with nothing are left out.

    Nothing is said of a population, whose members are parts of trainings.
    """
    if record.spec.search.is_population:
        return {}
    baselines = record.result.get("baselines") or {}
    found = {each.number: diagnose(curves_of(each, baselines)) for each in record.trials}
    return {number: said for number, said in found.items() if said}
