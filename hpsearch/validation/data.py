"""The data set of a spec alone, whatever else is wrong with the spec."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hpsearch.components.datasets.describing import Description, describe_data
from hpsearch.errors import Problem, SpecError
from hpsearch.importing import outliving_exits
from hpsearch.spec import COMPONENT_SECTIONS, Draft, to_plain
from hpsearch.validation.kinds import stated_kind
from hpsearch.validation.notes import placed_warnings
from hpsearch.validation.outcomes import problems_in, unique
from hpsearch.validation.signatures import check_section


def describe_dataset(draft: Draft) -> Description:
    """Read the data set that a draft names, and say how.

    Raises SpecError where its section is wrong.
    """
    if problems := unique(_section_problems(draft)):
        raise SpecError(problems)
    seed = draft.spec.search.seed if draft.spec else 0
    plain, said = to_plain(draft.sections["dataset"]), stated_kind(draft)
    with outliving_exits():
        found = describe_data(plain, seed=seed, folder=draft.folder, said=said)
    problem = found.problem and found.problem.below("dataset")
    return replace(found, problem=problem, warnings=placed_warnings(found.warnings))


def _section_problems(draft: Draft) -> Iterator[Problem]:
    yield from (each for each in draft.problems if each.path.partition(".")[0] == "dataset")
    section = draft.sections.get("dataset")
    if section is None:
        rule = "must be given: what a training function reads by itself isn't known"
        yield Problem("dataset", rule)
    else:
        of = COMPONENT_SECTIONS["dataset"]
        yield from problems_in(check_section(of, section, "dataset", draft.folder))
