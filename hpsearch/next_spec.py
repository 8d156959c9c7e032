"""The spec of the search after a search: its ranges and choices as its best trials suggest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from hpsearch.analysis.narrowing import Change, FewerChoices, NewRange, next_changes
from hpsearch.record import Record
from hpsearch.spec import (
    COMPONENT_SECTIONS,
    VALUE_SECTIONS,
    Choices,
    Range,
    SearchSpec,
    Tree,
    join,
)
from hpsearch.validation.outcomes import problems_in
from hpsearch.validation.signatures import check_section, check_value

SUFFIX = "-next"


def next_spec(record: Record, name: str = "") -> tuple[SearchSpec, list[Change]]:
    """Return the spec of the next search, and what is searched otherwise.

    It begins with what the search found (`warm_start`), unless this had several objectives or
    constraints, which no warm start takes. A range whose new end a component refuses
    keeps its old one.
    """
    spec = record.spec.without_lr_test()
    earlier = (record.name,) if spec.is_plain else ()
    search = spec.search.model_copy(update={"warm_start": earlier, "points": ()})
    spec = spec.model_copy(update={"name": name or f"{spec.name}{SUFFIX}", "search": search})
    made: list[Change] = []
    for change in next_changes(record):
        changed = _with(spec, made, change)
        made += [] if changed is None else [changed]
    return _changed(spec, made), made


def _with(spec: SearchSpec, made: list[Change], change: Change) -> Change | None:
    """Return a change that the spec allows, with an old end if need be; None if there is none."""
    for tried in _alternatives(change):
        section = tried.name.partition(".")[0]
        if not _refused(_changed(spec, [*made, tried]), section):
            return tried
    return None


def _alternatives(change: Change) -> Iterable[Change]:
    yield change
    if isinstance(change, NewRange) and change.is_wider:
        (low, high), (new_low, new_high) = change.before, change.after
        kept = (max(low, new_low), min(high, new_high))
        if kept != change.before:
            yield replace(change, after=kept)


def _refused(spec: SearchSpec, section: str) -> bool:
    tree, folder = getattr(spec, section, None), Path(spec.folder)
    if spec.is_own_code or tree is None:
        return False
    if section in VALUE_SECTIONS:
        return bool(check_value(tree, VALUE_SECTIONS[section].annotation, section))
    return bool(problems_in(check_section(COMPONENT_SECTIONS[section], tree, section, folder)))


def _changed(spec: SearchSpec, changes: list[Change]) -> SearchSpec:
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
