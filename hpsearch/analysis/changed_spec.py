"""A spec whose ranges have other ends, and whose choices are fewer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hpsearch.analysis.narrowing import Change, FewerChoices, NewRange
from hpsearch.spec import Choices, Range, SearchSpec, Tree, join


def changed_spec(spec: SearchSpec, changes: Iterable[Change]) -> SearchSpec:
    """Return a spec with other ranges and choices."""
    by_name = {change.name: change for change in changes}
    update = {
        section: _rewritten(tree, "" if section == "space" else section, by_name)
        for section, tree in spec.trial_sections.items()
    }
    return spec.model_copy(update=update)


def _rewritten(tree: Tree, path: str, changes: Mapping[str, Change]) -> Tree:
    change = changes.get(path)
    if isinstance(tree, Range):
        return tree if not isinstance(change, NewRange) else _ranged(tree, *change.after)
    if isinstance(tree, Choices):
        pairs = list(zip(tree.labels, tree.choices, strict=True))
        if isinstance(change, FewerChoices):
            pairs = [pair for pair in pairs if pair[0] in change.after]
        choices = tuple(_rewritten(each, join(path, label), changes) for label, each in pairs)
        prior = None if tree.prior_index is None else tree.labels[tree.prior_index]
        labels = [label for label, _ in pairs]
        index = labels.index(prior) if prior is not None and prior in labels else None
        return tree.model_copy(update={"choices": choices, "prior_index": index})
    if isinstance(tree, Mapping):
        return {key: _rewritten(child, join(path, key), changes) for key, child in tree.items()}
    if isinstance(tree, list | tuple):
        return [_rewritten(child, join(path, i), changes) for i, child in enumerate(tree)]
    return tree


def _ranged(tree: Range, low: float, high: float) -> Range:
    """Return a range with other ends, of its type, which keeps a prior that lies in it."""
    ends = (int(low), int(high)) if tree.is_integer else (low, high)
    is_inside = tree.prior is not None and low <= tree.prior <= high
    prior = {} if is_inside else {"prior": None}
    return tree.model_copy(update={"low": ends[0], "high": ends[1], **prior})
