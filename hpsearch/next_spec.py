"""The spec of the search after a search: its ranges and choices as its best trials suggest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hpsearch.analysis.changed_spec import changed_spec
from hpsearch.analysis.narrowing import Change, NewRange, described, next_changes, read_change
from hpsearch.record import Record
from hpsearch.samplers.disciplined import SAMPLER
from hpsearch.spec import COMPONENT_SECTIONS, VALUE_SECTIONS, SearchSpec, dump_yaml, to_plain
from hpsearch.user_code import named_factories
from hpsearch.validation.outcomes import problems_in
from hpsearch.validation.signatures import check_section, check_value

SUFFIX = "-next"


def next_spec(
    record: Record, name: str = "", *, imports: bool = True
) -> tuple[SearchSpec, list[Change]]:
    """Return the spec of the next search, and what is searched otherwise.

    It goes on from the search (see `continued`). A range whose new end a component refuses keeps
    its old one; components of the user's are asked only where their code may be imported here
    (`imports`).
    """
    spec = continued(record.spec, record.name)
    spec = spec.model_copy(update={"name": name or f"{record.spec.name}{SUFFIX}"})
    made: list[Change] = []
    for change in next_changes(record):
        changed = _with(spec, made, change, imports)
        made += [] if changed is None else [changed]
    return changed_spec(spec, made), made


def continued(spec: SearchSpec, earlier: str) -> SearchSpec:
    """Return a spec of the same space that begins with what an earlier search found.

    Without `warm_start`, where it has several objectives, constraints or a population, which take
    none; with the sampler `auto`, where the plan of a recipe is over.
    """
    spec = spec.without_lr_test()
    takes_one = spec.is_plain and not spec.search.is_population
    update: dict[str, Any] = {"warm_start": (earlier,) if takes_one else (), "points": ()}
    if spec.search.sampler["name"] == SAMPLER:
        update |= {"sampler": {"name": "auto"}}
    return spec.model_copy(update={"search": spec.search.model_copy(update=update)})


def plain_next(record: Record, name: str = "", *, imports: bool = True) -> dict[str, Any]:
    """Return the spec of the next search and its changes as plain values, without URLs of stores,
    which may hold passwords."""
    spec, changes = next_spec(record, name, imports=imports)
    public = spec.model_copy(update={"storage": None, "tracking_uri": None})
    return {"changes": [asdict(change) for change in changes], "spec": public.to_dict()}


def next_text(found: Mapping[str, Any]) -> str:
    """Return what `plain_next` returned as YAML, its changes as comments."""
    lines = [described(read_change(each)) for each in found["changes"]]
    lines = [" ".join(line.split()) for line in lines]  # names may have line breaks
    comments = (f"# {line}\n" for line in lines or ["nothing to change so far"])
    return "".join(comments) + dump_yaml(found["spec"])


def _with(spec: SearchSpec, made: list[Change], change: Change, imports: bool) -> Change | None:
    """Return a change that the spec allows, with an old end if need be; None if there is none."""
    for tried in _alternatives(change):
        section = tried.name.partition(".")[0]
        if not _refused(changed_spec(spec, [*made, tried]), section, imports):
            return tried
    return None


def _alternatives(change: Change) -> Iterable[Change]:
    yield change
    if isinstance(change, NewRange) and change.is_wider:
        (low, high), (new_low, new_high) = change.before, change.after
        kept = (max(low, new_low), min(high, new_high))
        if kept != change.before:
            yield replace(change, after=kept)


def _refused(spec: SearchSpec, section: str, imports: bool) -> bool:
    tree, folder = getattr(spec, section, None), Path(spec.folder)
    if spec.is_own_code or tree is None:
        return False
    if not imports and named_factories(to_plain(tree)):
        return False
    if section in VALUE_SECTIONS:
        return bool(check_value(tree, VALUE_SECTIONS[section].annotation, section))
    return bool(problems_in(check_section(COMPONENT_SECTIONS[section], tree, section, folder)))
