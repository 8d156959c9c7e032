"""Reading a spec: YAML and overrides in, a `SearchSpec` or every problem out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from hpsearch.errors import Problem, SpecError, nearest_names
from hpsearch.spec.documents import load_yaml
from hpsearch.spec.fields import SECTIONS
from hpsearch.spec.models import SearchSpec, with_keras_sections, with_named_components
from hpsearch.spec.recipe import with_recipe, written
from hpsearch.spec.trees import Tree, parse_tree, rule_of


@dataclass(frozen=True)
class Draft:
    """A spec as far as it can be read: the sections, the spec if all was well, the problems."""

    raw: Mapping[str, Any]
    sections: Mapping[str, Tree]
    spec: SearchSpec | None = None
    problems: tuple[Problem, ...] = ()
    folder: Path = Path()
    written: frozenset[str] = frozenset()  # the places that a recipe wrote

    @classmethod
    def of(cls, spec: SearchSpec) -> Draft:
        """Return the draft of a spec, parts of which may have been replaced (`model_copy`)."""
        raw = spec.to_dict()
        values = {key: getattr(spec, key) for key in raw}
        sections, problems = _sections(with_named_components(values))
        whole = spec.model_copy(update=sections)
        return cls(raw, sections, whole, tuple(problems), Path(spec.folder).resolve())


def load_spec(path: str | Path, overrides: Sequence[str] = ()) -> SearchSpec:
    """Read a spec from a YAML file and check its shape.

    `overrides` are texts `path=value`, such as `search.trials=8`, that replace what the file says.
    Raises SpecError with every problem.
    """
    draft = read_draft(path, overrides)
    if draft.spec is None:
        raise SpecError(draft.problems)
    return draft.spec


def read_draft(path: str | Path, overrides: Sequence[str] = ()) -> Draft:
    """Read a spec as far as it goes, so that all that is wrong with it can be listed."""
    path = Path(path)
    return draft_of(read_mapping(path), path.parent, overrides)


def read_text(text: str, name: str, folder: str | Path, overrides: Sequence[str] = ()) -> Draft:
    """Read a spec from text as `read_draft` does from a file; errors call it `name`."""
    return draft_of(_mapping(text, name), folder, overrides)


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the mapping of a YAML file; raises SpecError."""
    try:
        return _mapping(path.read_text(), str(path))
    except OSError as error:
        raise SpecError([Problem(str(path), "must be a readable file", error.strerror)]) from error
    except UnicodeDecodeError as error:
        raise SpecError([Problem(str(path), f"must be YAML ({error})")]) from error


def _mapping(text: str, name: str) -> dict[str, Any]:
    try:
        raw = load_yaml(text)
    except yaml.YAMLError as error:
        raise SpecError([Problem(name, f"must be YAML ({error})")]) from error
    if not isinstance(raw, dict):
        raise SpecError([Problem(name, "must be a mapping of sections", raw)])
    return raw


def draft_of(raw: dict[str, Any], folder: str | Path, overrides: Sequence[str] = ()) -> Draft:
    """Check the shape of a spec given as plain values, after `overrides` as `load_spec` has."""
    for override in overrides:
        apply_override(raw, override)
    return draft_spec(raw, folder)


def draft_spec(raw: Mapping[str, Any], folder: str | Path = ".") -> Draft:
    """Check the shape of a spec given as plain values, collecting every problem."""
    folder, by_recipe, raw = Path(folder).resolve(), written(raw), with_recipe(raw)
    raw = with_keras_sections(raw)
    named = with_named_components(raw)
    sections, problems = _sections(named)
    if "folder" in raw:  # it follows from where the spec lies
        problems.insert(0, Problem("folder", "must be a known key", "folder"))
    spec = None
    try:
        spec = SearchSpec.model_validate({**_without_sections(named), "folder": str(folder)})
    except ValidationError as error:
        is_copy = "objectives" in raw and "objective" not in raw  # told of as the first of them
        problems += [
            _problem(entry)
            for entry in error.errors()
            if not (is_copy and entry["loc"][:1] == ("objective",))
        ]
    whole = spec.model_copy(update=sections) if spec is not None and not problems else None
    return Draft(raw, sections, whole, tuple(problems), folder, by_recipe)


def _sections(values: Mapping[str, Any]) -> tuple[dict[str, Tree], list[Problem]]:
    """Return the sections that hold trees, and what is wrong with their shape."""
    problems: list[Problem] = []
    sections = {
        section: parse_tree(values[section], section, problems)
        for section in (*SECTIONS, "space")
        if section in values
    }
    return sections, problems


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Replace one value of a raw spec: `optimizer.lr=0.1`, `model.hidden_sizes=[64, 64]`."""
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise SpecError([Problem("--set", "must be path=value", override)])
    node: Any = raw
    *parents, last = path.split(".")
    for depth, key in enumerate(parents):
        node = _child(node, key, ".".join(parents[: depth + 1]))
    try:
        value = load_yaml(text)
    except yaml.YAMLError as error:
        raise SpecError([Problem("--set", f"{path} must be given as YAML", text)]) from error
    if isinstance(node, list) and last.isdigit() and int(last) < len(node):
        node[int(last)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise SpecError([Problem("--set", f"{path} must lead through mappings and lists", node)])


def _child(node: Any, key: str, path: str) -> Any:
    is_index = isinstance(node, list) and key.isdigit() and int(key) < len(node)
    if not is_index and not isinstance(node, dict):
        raise SpecError([Problem("--set", f"{path} must lead through mappings and lists", node)])
    place = int(key) if is_index else key
    child = node[place] if is_index else node.get(key)
    if child is None:
        child = node[place] = {}
    if isinstance(child, str):  # `optimizer: sgd` is short for `optimizer: {name: sgd}`
        child = node[place] = {"name": child}
    return child


def _without_sections(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if key not in (*SECTIONS, "space")}


def _problem(entry: Any) -> Problem:
    """Turn an error of pydantic into ours: path, rule, value, nearest names."""
    *parents, last = entry["loc"]
    path, kind, value = ".".join(map(str, entry["loc"])), entry["type"], entry["input"]
    if kind == "extra_forbidden":
        known = _model_at([key for key in parents if isinstance(key, str)]).model_fields
        return Problem(path, "must be a known key", last, nearest_names(last, known))
    if kind == "missing":
        return Problem(path, "must be given")
    return Problem(path, rule_of(entry["msg"]), value)


def _model_at(keys: Sequence[str]) -> type[BaseModel]:
    """Return the model of the settings at a path of the spec."""
    model: type[BaseModel] = SearchSpec
    for key in keys:
        model = next(_models_in(model.model_fields[key].annotation))
    return model


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)
