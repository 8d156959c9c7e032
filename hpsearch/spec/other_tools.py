"""Searched values as other tools write them, and what they are in a spec.

W&B, Ray Tune, Optuna, Katib, NNI, Ax and Hyperopt: their mappings in YAML, and the calls that
make their distributions, as text.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

#: how a searched value is written, for a mapping that says nothing else
FORM = "write a range as {low: 0.1, high: 1.0}, several values as {choices: [a, b]}"
_CALL = re.compile(r"^(?:[\w.]+\.)?([a-z_]+)\((.*)\)$", re.DOTALL)
_REAL = ("uniform", "quniform", "loguniform", "qloguniform", "log_uniform", "suggest_float")
_WHOLE = ("randint", "qrandint", "lograndint", "qlograndint", "suggest_int", "interval")
_SEVERAL = ("choice", "grid_search", "suggest_categorical", "sample_from")
_CALLS = (*_REAL, *_WHOLE, *_SEVERAL, "randn", "normal", "lognormal", "qnormal")
_LOWER, _UPPER = ("min", "lower", "from", "start"), ("max", "upper", "to", "stop", "end")
_BESIDE = ("distribution", "q", "step", "log", "log_scale", "scale", "type", "mu", "sigma")
_SEVERAL_KEYS = ("values", "grid_search", "list", "suggest_categorical")


def hint_of(value: object) -> str:
    """Return what to write for a value of another tool; empty where it is none.

    >>> hint_of({"min": 1e-4, "max": 0.1, "distribution": "log_uniform_values"})
    'write {low: 0.0001, high: 0.1, log: true}'
    >>> hint_of("tune.choice([16, 32])")
    'write {choices: [16, 32]}'
    """
    known, ours = _read(value)
    if not known:
        return ""
    return FORM if ours is None else f"write {_shown(ours)}"


def form_of(value: object) -> str:
    """Return what to write in place of a value that isn't one: what it means, or the form.

    >>> form_of([0.001, 0.01])
    'several values: {choices: [0.001, 0.01]}'
    """
    if isinstance(value, list | tuple) and len(value) > 1 and all(map(_is_constant, value)):
        return f"several values: {_shown({'choices': list(value)})}"
    return hint_of(value) or (FORM if isinstance(value, Mapping) else "")


def _shown(ours: Any) -> str:
    text = yaml.safe_dump(ours, default_flow_style=True, sort_keys=False, width=10**6)
    return text.strip().removesuffix("...").strip()


def _read(value: object) -> tuple[bool, Any]:
    """Return whether a value is another tool's, and what it is in a spec, if that is known."""
    if isinstance(value, str):
        return _of_call(value)
    if not isinstance(value, Mapping) or not value:
        return False, None
    keys = set(value)
    if isinstance(inner := value.get("feasibleSpace"), Mapping):  # Katib
        return True, _read({**inner, "type": value.get("parameterType")})[1]
    if "attributes" in keys and str(value.get("name", "")).endswith("Distribution"):  # Optuna
        return True, None
    if keys == {"_type", "_value"}:  # NNI
        return True, _of_function(str(value["_type"]), value["_value"], {})
    if len(keys) == 1 and str(*keys) in _CALLS:
        (name,), (arguments,) = value.keys(), value.values()
        return True, _of_function(name, arguments, {})
    if keys == {"value"} and _is_constant(value["value"]):  # W&B
        return True, value["value"]
    several = [key for key in _SEVERAL_KEYS if isinstance(value.get(key), list | tuple)]
    if several and keys <= {several[0], "probabilities", "type", "parameterType", *_BESIDE}:
        return True, {"choices": [_number(each) for each in value[several[0]]]}
    return _of_ends(value)


def _of_ends(value: Mapping[str, Any]) -> tuple[bool, Any]:
    keys = set(value)
    for name in ("bounds", "range"):  # Ax, Keras Tuner
        ends = value.get(name)
        if isinstance(ends, list | tuple) and len(ends) == 2 and keys <= {name, *_BESIDE}:
            return True, _range(ends[0], ends[1], value)
    low = next((key for key in _LOWER if key in keys), None)
    high = next((key for key in _UPPER if key in keys), None)
    if low is None or high is None or not keys <= {low, high, *_BESIDE}:
        return False, None
    if not all(map(_is_constant, value.values())):
        return False, None
    return True, _range(value[low], value[high], value)


def _range(low: Any, high: Any, beside: Mapping[str, Any]) -> dict[str, Any] | None:
    ends = _number(low), _number(high)
    if not all(isinstance(end, int | float) for end in ends):
        return None
    said = " ".join(str(beside.get(key)) for key in ("distribution", "scale", "type")).lower()
    if re.search(r"double|float|(?<!int_)(?<!q_)uniform", said):
        ends = float(ends[0]), float(ends[1])
    is_log = "log" in said or beside.get("log") is True or beside.get("log_scale") is True
    step = _number(beside.get("q", beside.get("step")))
    more = {"log": True} if is_log else {"step": step} if step is not None else {}
    return {"low": ends[0], "high": ends[1], **more}


def _of_call(text: str) -> tuple[bool, Any]:
    """Read `tune.loguniform(1e-4, 1e-1)`, `trial.suggest_int("n", 1, 8)`, `choice(a, b)`."""
    match = _CALL.match(text.strip())
    if match is None or match[1] not in _CALLS:
        return False, None
    try:
        call = ast.parse(f"f({match[2]})", mode="eval").body
        assert isinstance(call, ast.Call)
        arguments = [ast.literal_eval(each) for each in call.args]
        named = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
    except (SyntaxError, ValueError):
        return True, None
    return True, _of_function(match[1], arguments, named)


def _of_function(name: str, given: Any, named: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a function that makes a distribution stands for; None if it has no such form."""
    arguments = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else []
    if name.startswith("suggest_") and arguments and isinstance(arguments[0], str):
        arguments = arguments[1:]  # the hyperparameter's name
    if name in _SEVERAL and name != "sample_from" and arguments:
        is_list = len(arguments) == 1 and isinstance(arguments[0], list | tuple)
        return {"choices": list(arguments[0] if is_list else arguments)}
    if name not in (*_REAL, *_WHOLE) or len(arguments) < 2:
        return None
    low, high, *rest = arguments
    beside: dict[str, Any] = dict(named)
    if name in _REAL:
        beside["type"] = "float"
    if "log" in name:
        beside["log"] = True
    elif rest and name.startswith("q"):
        beside["q"] = rest[0]
    if name.endswith("randint") and isinstance(high, int):
        high -= 1  # Ray's upper end is left out
    return _range(low, high, beside)


def _number(value: Any) -> Any:
    """Return the number that a text is, which Katib writes; all else as it is."""
    if isinstance(value, str):
        for kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                continue
    return value


def _is_constant(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool | list)
