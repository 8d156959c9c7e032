"""Recipes: short for the settings of a search that a paper describes, as `search.recipe` names it.

They are written out as the spec is read: a record has the settings, and no recipe.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hpsearch.registry import AUTO
from hpsearch.spec.stopping import DEFAULT_MAX_EPOCHS
from hpsearch.spec.trees import named

DISCIPLINED = "disciplined"
#: Smith's own one cycle, and the momenta that he compares (arXiv 1803.09820, sections 4.1 and 4.3)
ONE_CYCLE = {
    "name": "one_cycle",
    "pct_start": 0.45,
    "div_factor": 10.0,
    "final_div_factor": 100.0,
    "anneal_strategy": "linear",
    "three_phase": True,
    "max_momentum": {"choices": [0.9, 0.95, 0.97, 0.99]},
}
WEIGHT_DECAY = {"low": 1e-6, "high": 1e-2, "log": True}
#: of the plan as it is written here: 3 rates, 3 more momenta, 4 more weight decays and 2 between
NUM_TRIALS = 12
#: of the epochs of a trial: the part after which trials are compared
COMPARED_AFTER = 3


def with_recipe(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a raw spec with its recipe written out: what it leaves open, and no more.

    One that a recipe doesn't fit stays as it is, and is refused when the spec is checked.
    """
    search, optimizer = raw.get("search"), named(raw.get("optimizer", "sgd"))
    if not isinstance(search, Mapping) or search.get("recipe") != DISCIPLINED:
        return raw
    is_own_code = raw.get("trainable") is not None or raw.get("command") is not None
    if is_own_code or not isinstance(optimizer, Mapping) or "choices" in optimizer:
        return raw
    if "sampler" in search:
        return raw
    settings = {key: value for key, value in search.items() if key != "recipe"}
    return {
        "lr_schedule": ONE_CYCLE,
        **raw,
        "optimizer": {"name": "sgd", "lr": AUTO, "weight_decay": WEIGHT_DECAY, **optimizer},
        "search": {
            "lr": AUTO,
            "trials": NUM_TRIALS,
            **settings,
            "sampler": {"name": DISCIPLINED},
            "early_stopping": _stopping(search.get("early_stopping", {})),
        },
    }


def written(raw: Mapping[str, Any]) -> frozenset[str]:
    """Return the places of a raw spec that its recipe writes: those that the user doesn't."""
    return frozenset(_added(with_recipe(raw), raw, ""))


def _added(new: Any, old: Any, path: str) -> Iterator[str]:
    old = named(old)
    if new is old or not (isinstance(new, Mapping) and isinstance(old, Mapping)):
        return
    for key, value in new.items():
        place = f"{path}.{key}" if path else str(key)
        if key in old:
            yield from _added(value, old[key], place)
        else:
            yield place


def _stopping(raw: Any) -> Any:
    """Compare trials after a third of their epochs, where a spec doesn't say when."""
    given = named(raw)
    if not isinstance(given, Mapping) or "name" in given:
        return raw
    epochs = given.get("max_epochs", DEFAULT_MAX_EPOCHS)
    first = max(1, epochs // COMPARED_AFTER) if isinstance(epochs, int) else 1
    return {"name": "asha_promotion", "grace_period": first, **given}
