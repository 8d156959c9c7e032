"""The command line, the variables and the files by which a command gets its hyperparameters."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from hpsearch.spec import Command

#: what stands in a command for something else: `{lr}`; `{{` and `}}` are braces
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([A-Za-z_][\w.-]*)\}")
#: what hpsearch fills in beside the hyperparameters
FILLED = ("max_epochs", "max_steps", "seed", "trial", "checkpoint_dir", "output_dir", "config")
#: a text that is one to Hydra without quotes: no number, null, true or false
_HYDRA_WORD = re.compile(r"(?!(?:null|true|false|nan|inf)$)[A-Z_/][\w./@%+-]*", re.IGNORECASE)
_BEFORE_QUOTE = re.compile(r"(\\*)('|$)")
_FILES = {"json": "config.json", "yaml": "config.yaml"}


@dataclass(frozen=True)
class Invocation:
    """What is run for a trial."""

    words: tuple[str, ...]
    environment: dict[str, str]


def placeholders(words: Sequence[str]) -> list[str]:
    """Return the names that stand in braces.

    >>> placeholders(["--lr={lr}", "{{x}}", "{optimizer.name}"])
    ['lr', 'optimizer.name']
    """
    return [m[1] for word in words for m in _PLACEHOLDER.finditer(word) if m[1]]


def style_of(command: Command) -> str:
    """Return how the hyperparameters reach a command that says nothing of it."""
    if command.arguments is not None:
        return command.arguments
    names = placeholders(command.run)
    if "config" in names:
        return "json"
    return "none" if set(names) - set(FILLED) else "argparse"


def invocation(
    command: Command, space: Mapping[str, Any], filled: Mapping[str, Any], folder: Path
) -> Invocation:
    """Return what to run for a trial's hyperparameters; a file for them is written to `folder`.

    `filled` has the values of `FILLED`. Hyperparameters that don't exist in this configuration
    are left out, with the option before them.
    """
    style, values = style_of(command), flat(space)
    environment = dict(command.environment)
    more: list[str] = []
    if style in _FILES or "config" in placeholders(command.run):
        path = _write(folder / _FILES.get(style, "config.json"), space)
        filled = {**filled, "config": path}
        if "config" not in placeholders(command.run):
            more = [str(path)]
    named = set(placeholders(command.run))
    rest = {name: value for name, value in values.items() if name not in named}
    if style == "argparse":
        more = [word for name, value in rest.items() for word in _option(name, value)]
    elif style == "hydra":
        more = [f"{name}={_hydra(value)}" for name, value in rest.items()]
    elif style == "environment":
        environment |= {variable(name): text(value) for name, value in rest.items()}
    if style == "hydra":
        values = {name: _hydra(value) for name, value in values.items()}
    words = (*_filled(command.run, {**filled, **values}), *more)
    return Invocation(words, environment)


def fill(template: str, values: Mapping[str, Any]) -> str:
    """Replace the placeholders in a text; raises KeyError for one without a value."""

    def value_of(match: re.Match[str]) -> str:
        return text(values[match[1]]) if match[1] else match[0][0]

    return _PLACEHOLDER.sub(value_of, template)


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested mappings by dotted name; the name of a choice by its own.

    >>> flat({"lr": 0.1, "optimizer": {"name": "sgd", "momentum": 0.9}})
    {'lr': 0.1, 'optimizer': 'sgd', 'optimizer.momentum': 0.9}
    """
    found: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if not isinstance(value, Mapping):
            found[name] = value
            continue
        if isinstance(value.get("name"), str):
            found[name] = value["name"]
            value = {child: value[child] for child in value if child != "name"}
        found |= flat(value, f"{name}.")
    return found


def variable(name: str) -> str:
    """Return the environment variable of a hyperparameter.

    >>> variable("optimizer.weight-decay")
    'OPTIMIZER_WEIGHT_DECAY'
    """
    return re.sub(r"\W", "_", name).upper()


def text(value: Any) -> str:
    """Return a value as a word of a command line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple | Mapping):
        return json.dumps(value)
    if isinstance(value, float) and value < 0 and "e" in repr(value):
        return format(Decimal(repr(value)), "f")  # argparse takes -1e-05 for an option
    return str(value)


def _filled(words: Sequence[str], values: Mapping[str, Any]) -> Iterator[str]:
    """Yield words with their placeholders filled; those without a value go, with their option."""
    kept: list[str] = []
    for word in words:
        names = placeholders([word])
        if all(values.get(name) is not None for name in names):
            kept.append(fill(word, values))
        elif kept and word.startswith("{") and kept[-1].startswith("-") and "=" not in kept[-1]:
            kept.pop()
    yield from kept


def _option(name: str, value: Any) -> list[str]:
    """Return an option of argparse: a flag where the value is true or false."""
    option = f"--{name}"
    if value is None or value is False:
        return []
    if value is True:
        return [option]
    if isinstance(value, list | tuple):
        return [option, *map(text, value)]
    return [option, text(value)]


def _hydra(value: Any) -> str:
    """Return a value in the grammar of Hydra's overrides."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_hydra, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{_hydra(child)}' for key, child in value.items())}}}"
    if value is None:
        return "null"
    if isinstance(value, str) and not _HYDRA_WORD.fullmatch(value):
        # a backslash is itself but before a quote
        return f"'{re.sub(_BEFORE_QUOTE, _escaped, value)}'"
    return text(value)


def _escaped(match: re.Match[str]) -> str:
    backslashes, quote = match[1] * 2, match[2]
    return f"{backslashes}\\'" if quote else backslashes


def _write(path: Path, space: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    as_json = path.suffix == ".json"
    path.write_text(json.dumps(space, indent=2) if as_json else yaml.safe_dump(dict(space)))
    return path
