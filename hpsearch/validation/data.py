"""The data set of a spec alone, whatever else is wrong with the spec."""

from __future__ import annotations

from hpsearch.components.datasets.describing import Description, describe_data
from hpsearch.errors import Problem, SpecError
from hpsearch.spec import COMPONENT_SECTIONS, Draft, to_plain
from hpsearch.validation.kinds import stated_kind
from hpsearch.validation.signatures import check_section


def describe_dataset(draft: Draft) -> Description:
    """Read the data set that a draft names, and say how.

    Raises SpecError where its section is wrong.
    """
    section = draft.sections.get("dataset")
    problems = [each for each in draft.problems if each.path.partition(".")[0] == "dataset"]
    if section is None:
        rule = "must be given: what a training function reads by itself isn't known"
        raise SpecError([*problems, Problem("dataset", rule)])
    check_section(COMPONENT_SECTIONS["dataset"], section, "dataset", draft.folder, problems)
    if problems:
        raise SpecError(problems)
    seed = draft.spec.search.seed if draft.spec else 0
    plain, said = to_plain(section), stated_kind(draft)
    return describe_data(plain, seed=seed, folder=draft.folder, said=said)
