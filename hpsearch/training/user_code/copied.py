"""The state of another trial, with hyperparameters of this one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpsearch.spec import TrialConfig

#: beside `lr` itself, where optimizers and schedulers of torch keep the learning rate
_RATES = ("initial_lr", "base_lrs")


def of_its_own(state: Any, config: TrialConfig, epoch: int) -> Any:
    """Return a state after an epoch as a trial goes on from it: its own, or one that it copies.

    Optimizers of torch load hyperparameters with their state. Where groups of a copied one have
    those of `space`, by the names that these have there, they get the trial's: a rate that was
    changed since, by a schedule or for a group, keeps its proportion.
    """
    if config.copied_values is None or epoch != config.copied_epochs:
        return state
    before, after = (_numbers(values["space"]) for values in (config.copied_values, config.values))
    changed = {
        name: (before[name], value)
        for name, value in after.items()
        if name in before and before[name] != value
    }
    if "lr" in changed:
        changed |= dict.fromkeys(_RATES, changed["lr"])
    return _with(state, changed)


def _with(state: Any, changed: Mapping[str, tuple[float, float]]) -> Any:
    if type(state) in (list, tuple):
        return type(state)(_with(each, changed) for each in state)
    if not isinstance(state, Mapping):
        return state
    if "param_groups" in state:
        groups = [_scaled(group, changed) for group in state["param_groups"]]
        return {**state, "param_groups": groups}
    if "base_lrs" in state:
        return _scaled(state, changed)
    parts = {name: _with(value, changed) for name, value in state.items()}
    is_same = all(part is state[name] for name, part in parts.items())
    return state if is_same else parts  # modules keep more than items in theirs


def _scaled(values: Mapping[str, Any], changed: Mapping[str, tuple[float, float]]) -> Any:
    return {
        name: _moved(value, *changed[name]) if name in changed else value
        for name, value in values.items()
    }


def _moved(value: Any, before: float, after: float) -> Any:
    if isinstance(value, list):
        return [_moved(each, before, after) for each in value]
    if type(value) not in (int, float):
        return value
    return after if value == before or before == 0 else value * (after / before)


def _numbers(space: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a configuration by the last part of their names."""
    found: dict[str, float] = {}
    for name, value in space.items():
        if isinstance(value, Mapping):
            found |= _numbers(value)
        elif type(value) in (int, float):
            found[name] = value
    return found
