"""Whether the launcher of a spec can be built and suits the other sections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from hpsearch.components import Data
from hpsearch.errors import Problem, UserCodeError
from hpsearch.spec import COMPONENT_SECTIONS, Draft, TrialConfig
from hpsearch.training.launchers import suiting, suits
from hpsearch.validation.fixed import fixed_problems
from hpsearch.validation.outcomes import parted
from hpsearch.validation.signatures import Alternative, check_section

SECTION = "launcher"


def launcher_problems(draft: Draft, data: Data | None) -> Iterator[Problem]:
    """Yield what is wrong with the section `launcher`, and where it suits no other section."""
    tree, of = draft.sections.get(SECTION), COMPONENT_SECTIONS[SECTION]
    found, problems = parted(check_section(of, tree, SECTION, draft.folder))
    fixed = fixed_problems(of, tree, SECTION)
    yield from problems
    yield from fixed
    if not fixed:
        yield from _unsuited(found, draft, data)


def _unsuited(found: list[Alternative], draft: Draft, data: Data | None) -> Iterator[Problem]:
    config = TrialConfig(
        0,
        0,
        1,
        {"environment": draft.raw.get("environment")},
        trainable=draft.raw.get("trainable"),
        command=draft.spec.plain_command if draft.spec else None,
        folder=str(draft.folder),
    )
    for name in (alternative.component.name for alternative in found):
        with suppress(UserCodeError, KeyError):  # of `trainable`: reported there
            if not suits(name, config, data, default=True):
                rule = f"must suit the other sections, as {suiting(config, data)} does"
                yield Problem(f"{SECTION}.name", rule, name)
