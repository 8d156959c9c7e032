"""The pages of the Python API: what mkdocstrings is to show of which object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import hpsearch
import hpsearch.errors
from docs.site.markdown import Page, escape

_HEAD = """\
# Python API

What `import hpsearch` offers, and what these return. It imports no torch, Ray or MLflow until it
is used. The [notebook](../notebooks/quickstart.md) shows it at work.
"""
_ERRORS = """\
# Errors

All that a user can cause and mend is a `HpsearchError`; what ends one trial is a `TrialError`.
"""
#: objects by subject; of classes their public members are shown
SUBJECTS = {
    "Specs": ["hpsearch.spec.reading.load_spec", "hpsearch.spec.models.SearchSpec"],
    "A search in one call": [
        "hpsearch.functional.search",
        "hpsearch.result.open_search",
        "hpsearch.result.SearchResult",
        "hpsearch.result.BestTrial",
        "hpsearch.spec.ranges.Float",
        "hpsearch.spec.ranges.Int",
        "hpsearch.spec.ranges.Choice",
    ],
    "Searches": [
        "hpsearch.searches.run_search",
        "hpsearch.searches.resume_search",
        "hpsearch.searches.extend_search",
        "hpsearch.searches.stop_search",
    ],
    "What a search found": [
        "hpsearch.analysis.report.SearchReport",
        "hpsearch.analysis.progress.Progress",
        "hpsearch.record.trials.TrialRecord",
        "hpsearch.outcome.Outcome",
    ],
    "Your own components": [
        "hpsearch.registry.register",
        "hpsearch.registry.register_family",
        "hpsearch.registry.ComponentOf",
        "hpsearch.registry.Recommended",
    ],
    "Your own trainers": [
        "hpsearch.training.protocol.EpochTrainer",
    ],
    "Your own early-stopping rules": [
        "hpsearch.early_stopping.base.EarlyStopper",
        "hpsearch.early_stopping.base.Stop",
    ],
    "Scripts": [
        "hpsearch.reporting.report",
        "hpsearch.reporting.checkpoint_dir",
        "hpsearch.reporting.TrialStopped",
    ],
    "Adapters for scripts": [
        "hpsearch.integrations.lightning.attach",
        "hpsearch.integrations.lightning.ReportCallback",
        "hpsearch.integrations.lightning.ckpt_path",
        "hpsearch.integrations.transformers.attach",
        "hpsearch.integrations.transformers.ReportCallback",
        "hpsearch.integrations.transformers.resume_from_checkpoint",
        "hpsearch.integrations.accelerate.ReportTracker",
        "hpsearch.integrations.accelerate.save_state",
        "hpsearch.integrations.accelerate.load_state",
        "hpsearch.integrations.keras.ReportCallback",
        "hpsearch.integrations.skorch.ReportCallback",
    ],
    "Training functions": ["hpsearch.training.user_code.trial.FunctionTrial"],
    "One trial without a search": [
        "hpsearch.spec.trials.TrialConfig",
        "hpsearch.training.trainer.Trainer",
    ],
}


def pages() -> Iterator[Page]:
    """Yield the page of the objects, and that of the errors."""
    parts = [_HEAD]
    for subject, objects in SUBJECTS.items():
        parts += [f"## {subject}\n", *_shown(objects)]
    yield Page("reference/api.md", "\n".join(parts))
    yield Page("reference/errors.md", "\n".join([_ERRORS, _tree(), *_errors()]))


def _shown(objects: Iterable[str]) -> Iterator[str]:
    for path in objects:
        name = path.rpartition(".")[2]
        shown = f"hpsearch.{name}" if name in hpsearch.__all__ else path
        yield f"::: {path}\n    options:\n      heading: {shown}\n"


def errors(base: type = Exception) -> Sequence[type]:
    """Return the errors of hpsearch, each before those that are below it."""
    below = [each for each in vars(hpsearch.errors).values() if _is_error(each, base)]
    return [found for each in below for found in (each, *errors(each))]


def _is_error(value: object, base: type) -> bool:
    return isinstance(value, type) and value.__bases__[:1] == (base,)


def _tree() -> str:
    """The errors as a list, each with what it says of itself."""
    lines = []
    for error in errors():
        depth = _depth(error)
        text = escape(" ".join((error.__doc__ or "").split()))
        lines.append(f"{'    ' * depth}- [`{error.__name__}`](#{_anchor(error)}): {text}")
    return "\n".join(lines) + "\n"


def _depth(error: type) -> int:
    """How many errors of hpsearch are above one; what is mixed in doesn't count."""
    above = error.__bases__[0]
    return 0 if above is Exception else 1 + _depth(above)


def _errors() -> Iterator[str]:
    for error in errors():
        yield f"::: {_anchor(error)}\n"


def _anchor(error: type) -> str:
    return f"hpsearch.errors.{error.__name__}"
