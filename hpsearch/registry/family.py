"""The families of components, and what hpsearch supplies to their factories."""

from __future__ import annotations

import inspect
import re

from hpsearch.importing import load_plugins
from hpsearch.registry.signatures import Factory, parameters_of

#: family → names of the arguments that hpsearch supplies to a factory that declares them
INJECTED: dict[str, tuple[str, ...]] = {
    "dataset": ("seed", "folder"),
    "environment": ("folder",),
    "agent": ("observations", "num_actions", "actions", "networks", "folder"),
    "task": (
        *("output_size", "target_std", "class_counts"),
        *("class_names", "soft_targets", "naive_errors", "label_sets", "target_blocks", "folder"),
        *("output_shape", "input_mean", "input_std", "input_range", "input_bounds"),
    ),
    "loss": ("output_size", "class_counts"),
    "head": ("kind",),
    "metric": ("output_size", "class_counts"),
    "model": (
        *("folder", "input_shape", "output_size"),
        *("output_shape", "num_tokens", "padding_id", "input_scale", "task_kind", "input_parts"),
    ),
    "cell": ("input_size", "hidden_size"),
    "activation": (),
    "norm": ("num_features", "num_dims"),
    "dropout": (),
    "initializer": ("tensor",),
    "optimizer": ("params",),
    "lr_schedule": (),
    "momentum_schedule": (),
    "batch_schedule": (),
    "lr_scaling": (),
    "gradient_clip": (),
    "gradient_noise": (),
    "weight_averaging": (),
    "ensemble": (),
    "regularizer": ("model",),
    "constraint": ("model",),
    "augmentation": ("input_shape", "output_size", "kind", "input_scale"),
    "callback": ("metrics", "folder"),
    "finetune": ("model",),
    "calibration": ("kind",),
    "stage": (),
    "check": ("trainer",),
    "sampler": ("space", "seed", "direction", "rungs", "slots", "earlier"),
    "early_stopping": ("max_epochs", "direction", "by_standing"),
    "launcher": ("config", "data", "device", "folders", "other_nodes"),
    "metric_source": ("working_dir", "files"),
    "trainable": ("config", "trial"),
}
_shared: dict[str, Factory] = {}


def register_family(family: str, *injected: str) -> None:
    """Add a family, so that `ComponentOf(family)` can mark keywords.

    `injected` names the arguments that whoever builds its components supplies. Raises ValueError
    for a family that exists with other arguments.
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", family):
        rule = "must be made of small letters, digits and _"
        raise ValueError(f"a family's name {rule}, but got {family!r}")
    if INJECTED.setdefault(family, injected) != injected:
        gets = ", ".join(INJECTED[family]) or "nothing"
        raise ValueError(f"family {family!r} exists already, and its factories get {gets}")


def families() -> list[str]:
    """Return all families, those of installed packages included."""
    load_plugins()
    return list(INJECTED)


def share_keywords(family: str, schema: Factory) -> None:
    """Give every component of a family the parameters of `schema` as keywords too.

    The family's own code acts on them; a factory that declares one of them gets it instead.
    """
    _shared[family] = schema


def shared_keywords(family: str) -> dict[str, inspect.Parameter]:
    """Return the keywords that all components of a family have."""
    return parameters_of(_shared[family]) if family in _shared else {}


def check_family(family: str) -> None:
    """Raise ValueError for a family that neither hpsearch nor an installed package has."""
    if family not in INJECTED:
        load_plugins()  # it may be a package's
    if family not in INJECTED:
        raise ValueError(f"family must be one of {sorted(INJECTED)}, but got {family!r}")
