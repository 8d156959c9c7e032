"""A search in one call, for notebooks and scripts: no file, no spec."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpsearch.errors import Problem, SpecError, nearest_names
from hpsearch.runs import Runs
from hpsearch.spec import SearchSettings, SearchSpec, draft_spec
from hpsearch.spec.trees import mapped

if TYPE_CHECKING:
    from hpsearch.result import SearchResult

#: keywords that are settings of a search; all others are keys of a spec
_SETTINGS = tuple(SearchSettings.model_fields)
_KEYS = tuple(name for name in SearchSpec.model_fields if name not in ("search", "folder"))


def search(
    trainable: Callable[..., Any] | str | None = None,
    /,
    *,
    metric: str,
    space: Mapping[str, Any] | None = None,
    direction: str = "maximize",
    max_epochs: int | None = None,
    name: str | None = None,
    runs: str | Path = "runs",
    address: str | None = None,
    progress: bool = True,
    **more: Any,
) -> SearchResult:
    """Search the hyperparameters of a training function, or of a model, and return the result.

    `trainable` is a function or class as the spec's `trainable` (`train(config, trial)`), and
    `space` its hyperparameters by name: `Float`, `Int`, `Choice`, distributions of Optuna, or
    values. Without it `more` has the sections of a spec: `dataset`, `model`, `optimizer` and so
    on, in which functions and classes may stand for names. `more` also takes every other key of
    a spec and of its section `search`, such as `trials`, `sampler`, `time_limit`, `resources`.
    Functions and classes may be defined in a cell: they travel by value.

    Relative paths are taken from the working directory; everything is kept in the folder `runs`.
    Without a `name` the search is named after the function, with a number where there is one
    already. Raises what `run_search` raises.
    """
    from hpsearch.by_value import with_named_code
    from hpsearch.result import SearchResult
    from hpsearch.searches import run_search

    place, folder = Runs(Path(runs)), Path.cwd()
    raw = _raw_spec(trainable, space, metric, direction, max_epochs, more)
    raw["name"] = name or _free_name(place, trainable)
    named = with_named_code(raw, Path(runs).resolve(), folder)
    draft = draft_spec(named, folder)
    if draft.spec is None:
        raise SpecError(draft.problems)
    report = run_search(draft.spec, runs, address=address, progress=progress)
    return SearchResult(report.record, place)


def _raw_spec(
    trainable: Any,
    space: Mapping[str, Any] | None,
    metric: str,
    direction: str,
    max_epochs: int | None,
    more: Mapping[str, Any],
) -> dict[str, Any]:
    unknown = [key for key in more if key not in (*_SETTINGS, *_KEYS)]
    if unknown:
        known = (*_SETTINGS, *_KEYS)
        rule = "must be a key of a spec or of its section search"
        raise SpecError(
            [Problem(each, rule, each, nearest_names(each, known)) for each in unknown]
        )
    settings = {key: value for key, value in more.items() if key in _SETTINGS}
    if max_epochs is not None:
        given = settings.get("early_stopping", {"name": "asha"})
        stopping = {"name": given} if isinstance(given, str) else dict(given)
        settings["early_stopping"] = {**stopping, "max_epochs": max_epochs}
    raw = {key: mapped(value, _plain) for key, value in more.items() if key not in _SETTINGS}
    raw |= {"objective": {"metric": metric, "direction": direction}, "search": settings}
    if trainable is not None:
        raw["trainable"] = trainable
    if space is not None:
        raw["space"] = mapped(space, _plain)
    return raw


def _plain(value: Any) -> Any:
    """Return a distribution of Optuna as a range or as choices, all else as it is."""
    if not hasattr(value, "to_internal_repr"):
        return value
    if hasattr(value, "choices"):
        return {"choices": list(value.choices)}
    ends = {"low": value.low, "high": value.high}
    step = {} if value.log or value.step is None or value.step == 1 else {"step": value.step}
    return {**ends, **({"log": True} if value.log else {}), **step}


def _free_name(place: Runs, trainable: Any) -> str:
    """Return a name of a search that is not taken."""
    stem = getattr(trainable, "__name__", "search")
    stem = stem if stem.isidentifier() else "search"
    names = itertools.chain([stem], (f"{stem}-{i}" for i in itertools.count(2)))
    return next(name for name in names if not place.has(name))
