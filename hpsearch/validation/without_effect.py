"""Keywords that change nothing beside others, in any trial of a search."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hpsearch.components.weight_averaging import Equal
from hpsearch.errors import Problem
from hpsearch.spec import Draft, join, to_plain
from hpsearch.validation.samples import samples
from hpsearch.validation.signatures import Alternative

_Found = Mapping[str, Sequence[Alternative]]
#: family, keyword → another keyword whose value leaves that without effect
_NEEDED = {
    ("agent", "value_weight"): ("baseline", False),
    ("agent", "shared"): ("baseline", False),
    ("model", "corruption_rate"): ("corruption", "none"),
    ("model", "draws"): ("variational", False),
    ("model", "teacher_forcing_decay"): ("teacher_forcing", 0),
}
#: augmentations of any inputs, of which each value is changed by itself
_CHANGING = ("gaussian_noise", "feature_masking")


def problems_without_effect(draft: Draft, found: _Found) -> Iterator[Problem]:
    """Yield keywords that are given, but without effect whatever else a trial has; of sections
    that are well by themselves."""
    yield from _unneeded(found)
    yield from _unweighted_divergences(found)
    yield from _unlearned_divergences(found)
    yield from _bounds_of_one_draw(found)
    yield from _hidden_padding(found)
    if draft.spec is not None and draft.raw.get("stages") is None:
        yield from _few_members(found, draft.spec.max_epochs)
        yield from _single_averages(found, draft.spec.max_epochs)
        yield from _endless_warmups(found, draft.spec.max_epochs)


def _unneeded(found: _Found) -> Iterator[Problem]:
    for (family, key), (needed, off) in _NEEDED.items():
        for each in _having(found, family, needed):
            if key in each.keywords and set(_values(each, needed)) == {off}:
                rule = f"must be left out where {needed} is {str(off).lower()}"
                yield Problem(join(each.path, key), rule, to_plain(each.keywords[key]))


def _unweighted_divergences(found: _Found) -> Iterator[Problem]:
    """Yield weights of a divergence that no model has."""
    models = _having(found, "model", "variational")
    plain = [not any(_values(each, "variational")) for each in models]
    if not plain or not all(plain) or len(plain) < len(found["model"]):
        return
    for task in _named(found, "task", "reconstruction"):
        for key in ("kl_weight", "kl_warmup_epochs"):
            if key in task.keywords:
                rule = "must be given with a variational autoencoder only (model.variational)"
                yield Problem(join(task.path, key), rule, to_plain(task.keywords[key]))


def _bounds_of_one_draw(found: _Found) -> Iterator[Problem]:
    """Yield bounds of several draws of a code where no model draws several."""
    models = [each for each in _having(found, "model", "draws") if max(_values(each, "draws")) > 1]
    for task in () if models else _named(found, "task", "reconstruction"):
        if set(_values(task, "bound")) == {"importance_weighted"}:
            rule = "must be given with several draws a code only (model.draws)"
            yield Problem(join(task.path, "bound"), rule, to_plain(task.keywords["bound"]))


def _unlearned_divergences(found: _Found) -> Iterator[Problem]:
    """Yield models that are variational for a task whose loss has no divergence: the noise of
    their codes would only be made as small as can be."""
    if {each.component.name for each in found.get("task", [])} != {"restoration"}:
        return
    for each in _having(found, "model", "variational"):
        if any(_values(each, "variational")):
            rule = "must be false for restoration, whose loss has no divergence of the codes"
            yield Problem(
                join(each.path, "variational"), rule, to_plain(_given(each, "variational"))
            )


def _hidden_padding(found: _Found) -> Iterator[Problem]:
    """Yield values that fill up sequences beside what changes them before the model sees them."""
    changing = [name for name in _CHANGING if any(_named(found, "augmentations", name))]
    for each in _having(found, "model", "mask_value") if changing else ():
        if each.keywords.get("mask_value") is not None:
            rule = f"must be left out with {changing[0]}, which changes the values that fill up"
            yield Problem(
                join(each.path, "mask_value"), rule, to_plain(each.keywords["mask_value"])
            )


def _few_members(found: _Found, max_epochs: int) -> Iterator[Problem]:
    for each in _named(found, "ensemble", "snapshot"):
        cycles, members = _values(each, "cycles"), _values(each, "members")
        if min(cycles) > max_epochs:
            rule = f"must be at most the epochs of a trial ({max_epochs})"
            yield Problem(join(each.path, "cycles"), rule, to_plain(each.keywords.get("cycles")))
        elif None not in members and min(members) > max(cycles):
            rule = f"must be at most the cycles ({max(cycles)}), each of which gives one"
            yield Problem(join(each.path, "members"), rule, to_plain(each.keywords["members"]))


def _single_averages(found: _Found, max_epochs: int) -> Iterator[Problem]:
    """Yield starts, and steps from one average to the next, that leave a single epoch."""
    for each in _named(found, "weight_averaging", "swa"):
        start, every = min(_values(each, "start")), min(_values(each, "every"))
        averaging = Equal(start, every)
        if sum(averaging.takes(i + 1, max_epochs) for i in range(max_epochs)) >= 2:
            continue
        if max_epochs < 2:
            yield Problem(each.path, "must be left out where a trial has one epoch", "swa")
        elif max_epochs - int(start * max_epochs) < 2:
            share = math.floor(100 * (max_epochs - 2) / max_epochs) / 100
            rule = f"must leave two epochs of {max_epochs} to average, such as {share:g}"
            yield Problem(join(each.path, "start"), rule, to_plain(_given(each, "start")))
        else:
            rule = (
                f"must leave two epochs of {max_epochs} to average after the share {start:g} of "
                "them (start)"
            )
            yield Problem(join(each.path, "every"), rule, to_plain(_given(each, "every")))


def _endless_warmups(found: _Found, max_epochs: int) -> Iterator[Problem]:
    """Yield warm-ups of a divergence's weight that no trial comes to the end of."""
    for each in _named(found, "task", "reconstruction"):
        if min(_values(each, "kl_warmup_epochs")) >= max_epochs:
            rule = f"must be below the {max_epochs} epochs of a trial, which reach the full weight"
            given = to_plain(_given(each, "kl_warmup_epochs"))
            yield Problem(join(each.path, "kl_warmup_epochs"), rule, given)


def _named(found: _Found, family: str, name: str) -> Iterator[Alternative]:
    return (each for each in found.get(family, []) if each.component.name == name)


def _having(found: _Found, family: str, key: str) -> Iterator[Alternative]:
    """Yield the components of a family that have a keyword."""
    return (each for each in found.get(family, []) if key in each.component.keywords)


def _values(of: Alternative, key: str) -> list[Any]:
    """Return values that a keyword may have: the ends of its ranges, and all its choices."""
    return [value for _, value in samples(_given(of, key), key)]


def _given(of: Alternative, key: str) -> Any:
    """Return what a keyword is given, or its default."""
    return of.keywords.get(key, of.component.keywords[key].default)
