"""The checks of a trial, tried on the ends of a search space before a search."""

from __future__ import annotations

from collections.abc import Iterator

from hpsearch.components import Data
from hpsearch.errors import BadConfigurationError
from hpsearch.spec import SearchSpec, TrialConfig
from hpsearch.training import make_trainer
from hpsearch.training.checks.by_name import Finding, run_checks
from hpsearch.validation.samples import corners


def diagnose(spec: SearchSpec, data: Data) -> Iterator[tuple[str, Finding]]:
    """Yield what the checks find of the trials at both ends of a checked spec's space.

    The first has the low end of every range and the first of all choices, the second the high
    end and the last; a spec that lists `checks` has these tried, another all that there are. A
    trial that can't be built is a finding, too.
    """
    sections = {key: tree for key, tree in spec.trial_sections.items() if key != "dataset"}
    ends = [corners(sections)[end] for end in (0, 1)]
    names = ("low ends", "high ends") if ends[0] != ends[1] else ("the trial",)
    for name, values in zip(names, ends, strict=False):
        config = TrialConfig(0, spec.search.seed, spec.max_epochs, values, folder=spec.folder)
        try:
            trainer = make_trainer(config, data)
        except BadConfigurationError as error:
            yield name, Finding("build", False, str(error), "error")
            continue
        for finding in run_checks(trainer.trainers[0], values.get("checks")):
            yield name, finding
