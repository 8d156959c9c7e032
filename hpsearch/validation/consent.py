"""Whether a spec that searches nothing is meant to."""

from __future__ import annotations

from hpsearch.errors import Problem
from hpsearch.space import SearchSpace
from hpsearch.spec import SearchSpec
from hpsearch.spec.other_tools import FORM


def consent_problems(spec: SearchSpec) -> list[Problem]:
    """Return a problem where all trials would train the same, unless there is only one."""
    if spec.search.trials == 1 or SearchSpace.of(spec).parameters:
        return []
    rule = (
        "must be 1 when the spec searches nothing: all trials would train the same configuration"
    )
    hint = "or search something: " + FORM
    return [Problem("search.trials", rule, spec.search.trials, hint=hint)]
