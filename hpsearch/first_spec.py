"""A first spec for a script: what it reads from its command line, and ranges for what is known."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpsearch.script_options import Option, read_options
from hpsearch.spec import dump_yaml, likely_direction
from hpsearch.user_code import scripts

DEFAULT_METRIC = "val_accuracy"


@dataclass
class FirstSpec:
    """What becomes of a script's options in a spec."""

    words: list[str]
    space: dict[str, Any] = field(default_factory=dict)
    searched: list[str] = field(default_factory=list)  # the hyperparameters by name
    max_epochs: int | None = None
    others: list[Option] = field(default_factory=list)
    required: list[Option] = field(default_factory=list)
    is_hydra: bool = False
    metric: str = DEFAULT_METRIC


def first_spec(words: Sequence[str], folder: Path) -> FirstSpec:
    """Return a first spec for a script; raises HpsearchError where it can't be run."""
    options, is_hydra = read_options(words, folder)
    escaped = [word.replace("{", "{{").replace("}", "}}") for word in words]
    spec = FirstSpec(escaped, is_hydra=is_hydra)
    given = {word.partition("=")[0] for word in words}
    positional = [option for option in options if option.is_positional and option.is_required]
    spec.required += positional[_num_positional(words) :]
    for option in options:
        if not option.is_positional and not given & {option.word, *option.aliases}:
            _place(spec, option)
    spec.metric = reported_metric(words, folder) or DEFAULT_METRIC
    return spec


def _num_positional(words: Sequence[str]) -> int:
    """Return how many words after the script are arguments without a name."""
    script = max((i for i, word in enumerate(words) if word in scripts(words)), default=0)
    after = words[script:]
    pairs = zip(after, after[1:], strict=False)
    return sum(
        not w.startswith("-") and not (b.startswith("-") and "=" not in b) for b, w in pairs
    )


def to_yaml(spec: FirstSpec, name: str) -> str:
    """Return the spec as YAML, with comments on what to look at."""
    command: dict[str, Any] = {"run": spec.words}
    if spec.is_hydra:
        command["arguments"] = "hydra"
    missing = ", ".join(option.word for option in spec.required)
    to_give = f"# the script requires, too: {missing}; add it to the command\n" if missing else ""
    parts = [
        {"command": command if spec.is_hydra else spec.words},
        {"space": spec.space},
        {"objective": {"metric": spec.metric, "direction": likely_direction(spec.metric)}},
        {"search": {"trials": 32, "early_stopping": {"name": "asha", **_budget(spec)}}},
    ]
    texts = [dump_yaml(part, default_flow_style=None, width=96) for part in parts]
    comments = [
        f"# how a trial is started; {{lr}} stands for a hyperparameter of `space`\n{to_give}",
        f"# {_heading(spec)}{_unsearched(spec)}\n",
        "# what the script reports: hpsearch.report(epoch=..., "
        f"{spec.metric}=...), or see `metrics`\n",
        "# epochs of a trial that is never stopped, and how many trials\n",
    ]
    parts_of_text = (f"{c}{t}" for c, t in zip(comments, texts, strict=True))
    return "\n".join([f"name: {json.dumps(name)}\n", *parts_of_text])


def _budget(spec: FirstSpec) -> dict[str, int]:
    return {"max_epochs": spec.max_epochs or 27}


def _heading(spec: FirstSpec) -> str:
    if spec.space:
        return "ranges to review"
    example = "lr: {low: 1e-4, high: 0.1, log: true}"
    return f"nothing was recognised: add what to search, such as {example}"


def _unsearched(spec: FirstSpec) -> str:
    names = ", ".join(option.word for option in spec.others)
    return f"; not searched: {names}" if names else ""


def _place(spec: FirstSpec, option: Option) -> None:
    """Search an option, fill it in, or leave it to the script."""
    key = option.name.rpartition(".")[2]
    if key in _EPOCHS:
        spec.max_epochs = int(option.number) if option.number else None
        _add_words(spec, option, "max_epochs")
    elif filled := _FILLED.get(key):
        _add_words(spec, option, filled)
    elif (tree := _range(key, option)) is not None:
        *parents, last = option.name.split(".")
        node = spec.space
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = tree
        spec.searched.append(option.name)
        if not spec.is_hydra:
            _add_words(spec, option, option.name)
    elif option.is_required:
        spec.required.append(option)
    else:
        spec.others.append(option)


def _add_words(spec: FirstSpec, option: Option, name: str) -> None:
    filled = f"{{{name}}}"
    spec.words += [f"{option.word}={filled}"] if spec.is_hydra else [option.word, filled]


def _range(key: str, option: Option) -> Any:
    """Return the range or the choices of a hyperparameter that is known by its name."""
    make = next((make for names, make in _RANGES if key in names), None)
    if option.choices and (make is not None or key in _CHOSEN):
        return _with_prior({"choices": list(option.choices)}, option.default)
    is_other = isinstance(option.default, bool | str | list)  # such as ${lr} of Hydra
    if make is None or option.is_flag or is_other:
        return None
    return _with_prior(make(option.number), option.number)


def _with_prior(tree: dict[str, Any] | None, default: Any) -> dict[str, Any] | None:
    """Return a range or choices with the script's default as prior, if there is one."""
    if tree is None or default is None:
        return tree
    if "choices" in tree:
        same = [choice for choice in tree["choices"] if choice == default]
        return {**tree, "prior": same[0]} if same and len(tree["choices"]) > 1 else tree
    is_integer = isinstance(tree["low"], int) and isinstance(tree["high"], int)
    prior = int(default) if is_integer else float(default)
    return {**tree, "prior": prior} if tree["low"] <= prior <= tree["high"] else tree


def _around(factor: float, typical: float) -> Callable[[float | None], dict[str, Any]]:
    """Return a logarithmic range around the default."""

    def make(default: float | None) -> dict[str, Any]:
        middle = default or typical
        return {"low": _rounded(middle / factor), "high": _rounded(middle * factor), "log": True}

    return make


def _fixed(low: float, high: float) -> Callable[[float | None], dict[str, Any]]:
    return lambda default: {"low": min(low, default or low), "high": max(high, default or high)}


def _powers_around(typical: int) -> Callable[[float | None], dict[str, Any] | None]:
    """Return powers of two from a quarter of the default to four times it."""

    def make(default: float | None) -> dict[str, Any] | None:
        if default is not None and default != int(default):  # a factor, not a number of units
            return None
        exponent = round(math.log2(default or typical))
        powers = [2**e for e in range(max(0, exponent - 2), exponent + 3)]
        return {"choices": sorted({*powers, int(default or typical)})}

    return make


def _layers(default: float | None) -> dict[str, Any]:
    return {"low": 1, "high": max(4, 2 * int(default or 2))}


def _rounded(value: float) -> float:
    return float(f"{value:.1g}")


_EPOCHS = {"epochs", "num_epochs", "n_epochs", "max_epochs", "num_train_epochs", "nepochs"}
_CHOSEN = {"optimizer", "optim", "opt", "activation", "act", "scheduler", "lr_scheduler", "norm"}
_FILLED = {
    "seed": "seed",
    "random_seed": "seed",
    **dict.fromkeys(
        ("output_dir", "save_dir", "checkpoint_dir", "ckpt_dir", "out_dir"), "checkpoint_dir"
    ),
    **dict.fromkeys(("log_dir", "logdir", "logging_dir"), "output_dir"),
}
_RANGES: tuple[tuple[set[str], Callable[[float | None], dict[str, Any] | None]], ...] = (
    ({"lr", "learning_rate", "base_lr", "max_lr", "peak_lr"}, _around(30, 1e-3)),
    (
        {"batch_size", "train_batch_size", "bs", "per_device_train_batch_size", "bsz"},
        _powers_around(64),
    ),
    ({"momentum"}, _fixed(0.5, 0.99)),
    ({"beta1", "adam_beta1"}, _fixed(0.8, 0.98)),
    ({"beta2", "adam_beta2"}, _fixed(0.9, 0.9999)),
    ({"weight_decay", "wd", "l2"}, _around(100, 1e-4)),
    ({"dropout", "dropout_rate", "drop", "drop_rate", "p_drop"}, _fixed(0.0, 0.6)),
    ({"label_smoothing", "smoothing"}, _fixed(0.0, 0.2)),
    ({"warmup_ratio"}, _fixed(0.0, 0.2)),
    ({"gamma"}, _fixed(0.1, 1.0)),
    ({"clip", "grad_clip", "clip_grad", "max_grad_norm", "gradient_clip_val"}, _around(10, 1.0)),
    (
        {"hidden_size", "hidden_dim", "hidden", "width", "num_hidden", "n_embd", "embed_dim"},
        _powers_around(128),
    ),
    ({"num_layers", "n_layers", "n_layer", "layers", "depth"}, _layers),
)


def reported_metric(words: Sequence[str], folder: Path) -> str | None:
    """Return the metric that a script reports by `hpsearch.report`, one of validation first."""
    names: list[str] = []
    for script in scripts(words):
        with suppress(OSError, SyntaxError, ValueError):
            for node in ast.walk(ast.parse((folder / script).read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("report"):
                    names += [each.arg for each in node.keywords if each.arg]
    metrics = [name for name in names if name not in ("epoch", "step", "on_stop")]
    best = [name for name in metrics if re.match("val|eval|test|valid", name)]
    return next(iter(best or metrics), None)
