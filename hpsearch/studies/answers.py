"""What a study found: differences of pairs, and how many pairs have none.

Of several variants each is compared with the first by a paired t-test at the level that Holm's
step-down procedure gives it (Scandinavian Journal of Statistics 6, 1979), so that the chance of
one wrong answer or more in a case is 5 %; its interval is as wide as that level makes it. A search
that has no value, because its trial diverged or never reached the target, leaves its pair out:
an answer says so, because it flatters the variant.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hpsearch.analysis.blocks import Section, Table, as_rows
from hpsearch.analysis.comparison import CONFIDENCE, Difference, pair_difference, t_test
from hpsearch.formatting import show, show_count
from hpsearch.runs import Runs
from hpsearch.studies.measures import COUNTED, measured, name_of
from hpsearch.studies.study import Cell, Study

Values = list[float | None]


@dataclass(frozen=True)
class Answer:
    """What a study found in a case, or in all together (`case` is empty).

    `values` are what each variant's searches are compared by, case by case and seed by seed, None
    of a search without; `differences` those of the other variants and the first, of the pairs
    that have both.
    """

    case: str
    values: Mapping[str, Values]
    differences: list[Difference]


def answers(study: Study, planned: Sequence[Cell], place: Runs) -> list[Answer]:
    """Compare the variants in each case, and in all together where there are several."""
    found: dict[str, dict[str, Values]] = {}
    for cell in planned:
        record = place.search(cell.spec.name).open_record()
        values = found.setdefault(cell.case, {name: [] for name in study.variants})
        values[cell.variant].append(measured(study.measure, study.target, record))
    of_all = {name: [v for case in found.values() for v in case[name]] for name in study.variants}
    groups = found if len(found) == 1 else {**found, "": of_all}
    return [Answer(case, values, _differences(values)) for case, values in groups.items()]


def answer_sections(study: Study, found: Sequence[Answer]) -> list[Section]:
    """Return the answers as a report has them."""
    rows = as_rows(
        (each.case or "all", variant, *_summary(values))
        for each in found
        for variant, values in each.values.items()
    )
    texts = [
        f"{f'{each.case}: ' if each.case else ''}{text}."
        for each in found
        for text in _told(study, each)
    ]
    header = ("case", "variant", f"mean `{measure_of(study)}`", "deviation")
    return [Section(study.question, (Table(header, rows), *texts))]


def measure_of(study: Study) -> str:
    """Return what a study compares, as people read it."""
    return name_of(study.measure, study.target, study.spec["objective"]["metric"])


def direction_of(study: Study) -> str:
    """Return whether more or less of what a study compares is better."""
    if study.measure in COUNTED:
        return "minimize"
    return str(study.spec["objective"].get("direction", "maximize"))


def failures(answer: Answer, variant: str) -> str:
    """Say in how many pairs a variant has no value, and what that means; empty if in none."""
    values = answer.values[variant]
    missing = sum(value is None for value in values)
    if not missing:
        return ""
    return (
        f"`{variant}` has no value in {missing} of {show_count(len(values), 'pair')}, which are "
        "left out: that flatters it"
    )


def plain_study(study: Study, found: Sequence[Answer]) -> dict[str, Any]:
    """Return a study's answers as plain values."""
    plain = [plain_answer(each) for each in found]
    return {"question": study.question, "measure": measure_of(study), "answers": plain}


def plain_answer(answer: Answer) -> dict[str, Any]:
    """Return an answer as plain values."""
    differences = [vars(each) for each in answer.differences]
    return {"case": answer.case, "values": dict(answer.values), "differences": differences}


def holm(p_values: Sequence[float], level: float = 1 - CONFIDENCE) -> list[float]:
    """Return the level of each test by Holm's step-down procedure.

    The k-th smallest of m values is tested at level / (m - k + 1); from the first that is no
    smaller than its level on, all have that one's.

    >>> holm([0.001, 0.045, 0.03], level=0.06)
    [0.02, 0.03, 0.03]
    """
    levels = [0.0] * len(p_values)
    current, is_open = 0.0, True
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if is_open:
            current = level / (len(p_values) - rank)
            is_open = p_values[index] < current
        levels[index] = current
    return levels


def _differences(values: Mapping[str, Values]) -> list[Difference]:
    first, *others = values
    pairs = {
        other: [
            theirs - own
            for own, theirs in zip(values[first], values[other], strict=True)
            if own is not None and theirs is not None
        ]
        for other in others
    }
    pairs = {other: found for other, found in pairs.items() if found}
    levels = holm([t_test(found) for found in pairs.values()])
    return [
        replace(pair_difference(found, 1 - level), first=first, second=other)
        for (other, found), level in zip(pairs.items(), levels, strict=True)
    ]


def _told(study: Study, answer: Answer) -> Iterator[str]:
    for difference in answer.differences:
        yield difference.told(direction_of(study))
    for variant in answer.values:
        if text := failures(answer, variant):
            yield text


def _summary(values: Values) -> tuple[str, str]:
    known = [value for value in values if value is not None]
    if not known:
        return "–", ""
    return show(statistics.fmean(known)), show(statistics.stdev(known)) if len(known) > 1 else ""
