"""Whether what a spec says of a component fits the component's signature."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation

from hpsearch import registry
from hpsearch.errors import Problem, UserCodeError, nearest_names
from hpsearch.registry import Component, ComponentOf
from hpsearch.spec import Choices, Range, Tree, Unreadable, join, to_plain
from hpsearch.spec.trees import rule_of


@dataclass(frozen=True)
class Alternative:
    """A component that a section may come to, and the trees of its keywords."""

    path: str
    component: Component
    keywords: Mapping[str, Tree]


def check_component(
    family: str, tree: Tree, path: str, folder: Path, problems: list[Problem]
) -> list[Alternative]:
    """Check each component that a section may come to; returns those without a problem."""
    found = []
    for place, section in alternatives(tree, path):
        for name_place, name in _names(section, place, family, problems):
            component = _find(family, name, name_place, folder, problems)
            if component is None:
                continue
            keywords = {key: value for key, value in section.items() if key != "name"}
            alternative = Alternative(place, component, keywords)
            if not (new := _keyword_problems(alternative, folder)):
                found.append(alternative)
            problems += [problem for problem in new if problem not in problems]
    return found


def check_section(
    of: ComponentOf, tree: Tree, path: str, folder: Path, problems: list[Problem]
) -> list[Alternative]:
    """Check each component that a value may come to: one, or several."""
    found = []
    for place, value in alternatives(tree, path):
        if value is None and of.optional:
            continue
        if of.mapped and isinstance(value, Mapping):
            one = replace(of, mapped=False, optional=False)
            for key, item in value.items():
                found += check_section(one, item, join(place, key), folder, problems)
        elif of.mapped:
            rule = f"must be a mapping from names to components ({of.family})"
            problems.append(Problem(place, rule, to_plain(value)))
        elif not of.many:
            new: list[Problem] = []
            section = of.written_out(value)
            found += check_component(of.family, section, place, folder, new)
            # what was not written out by the user has no place of its own
            problems += new if section is value else [replace(each, path=place) for each in new]
        elif isinstance(value, list | tuple):
            one = replace(of, many=False)
            for i, item in enumerate(value):
                found += check_section(one, item, join(place, i), folder, problems)
        else:
            rule = f"must be a list of components ({of.family})"
            problems.append(Problem(place, rule, to_plain(value)))
    return found


def check_value(tree: Tree, annotation: Any, path: str) -> list[Problem]:
    """Check constants, both ends of ranges and each choice against a parameter's annotation.

    An integer is no text, a real number no integer, and so on. What pydantic can't check (an
    annotation of a user's own making) is let through.
    """
    try:
        adapter = TypeAdapter[Any](Any if isinstance(annotation, str) else annotation)
    except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation):
        return []
    found: dict[tuple[str, str], Problem] = {}
    for place, value in samples(tree, path):
        if (large := next(filter(_is_too_large, _numbers_in(value)), None)) is not None:
            found.setdefault((place, _TOO_LARGE), Problem(place, _TOO_LARGE, large))
            continue
        try:
            # As JSON a list may be a tuple, but in strict mode nothing else is converted.
            adapter.validate_json(json.dumps(value, default=str), strict=True)
        except ValidationError as error:
            problem = _value_problem(error, place, annotation)
            found.setdefault((problem.path, problem.rule), problem)
    return list(found.values())


def _numbers_in(value: Any) -> Iterator[int | float]:
    """Yield the numbers in a plain value."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from _numbers_in(each)
    elif isinstance(value, int | float):
        yield value


def alternatives(tree: Tree, path: str) -> Iterator[tuple[str, Tree]]:
    """Yield what may stand at a place of a spec, choice by choice, with its path."""
    if isinstance(tree, Choices):
        for i, choice in enumerate(tree.choices):
            yield from alternatives(choice, join(join(path, "choices"), i))
    elif not isinstance(tree, Unreadable):
        yield path, tree


def samples(tree: Tree, path: str) -> list[tuple[str, Any]]:
    """Return plain values that a tree may come to, with their paths.

    The first holds the low end of each range and the first of each choice; each other differs
    from it in one place. Together they hold all ends and choices. Empty if a part is unreadable.

    >>> samples({"a": Range(low=1, high=3), "b": Choices(choices=("x", "y"))}, "space")
    [('space', {'a': 1, 'b': 'x'}), ('space', {'a': 3, 'b': 'x'}), ('space', {'a': 1, 'b': 'y'})]
    """
    if isinstance(tree, Range):
        return [(path, end if tree.is_integer else float(end)) for end in (tree.low, tree.high)]
    if isinstance(tree, Choices | Unreadable):
        return [
            each for place, choice in alternatives(tree, path) for each in samples(choice, place)
        ]
    if isinstance(tree, Mapping):
        keys = list(tree)
        rows = _one_by_one([samples(tree[key], path) for key in keys])
        return [(path, dict(zip(keys, row, strict=True))) for row in rows]
    if isinstance(tree, list | tuple):
        return [(path, row) for row in _one_by_one([samples(child, path) for child in tree])]
    return [(path, tree)]


def corners(tree: Tree) -> tuple[Any, Any]:
    """Return two plain values of a tree: all low ends and first choices, all high and last."""
    if isinstance(tree, Range):
        return tree.low, tree.high
    if isinstance(tree, Choices):
        return corners(tree.choices[0])[0], corners(tree.choices[-1])[1]
    if isinstance(tree, Mapping):
        pairs = {key: corners(child) for key, child in tree.items()}
        return {key: low for key, (low, _) in pairs.items()}, {
            k: high for k, (_, high) in pairs.items()
        }
    if isinstance(tree, list | tuple):
        children = [corners(child) for child in tree]
        return [low for low, _ in children], [high for _, high in children]
    return tree, tree


def _one_by_one(columns: list[list[tuple[str, Any]]]) -> list[list[Any]]:
    """Return rows that hold every value of every column, each one value away from the first."""
    if not all(columns):
        return []
    first = [column[0][1] for column in columns]
    others = [
        [*first[:i], value, *first[i + 1 :]]
        for i, column in enumerate(columns)
        for _, value in column[1:]
    ]
    return [first, *others]


def _names(
    section: Tree, path: str, family: str, problems: list[Problem]
) -> Iterator[tuple[str, str]]:
    """Yield the names that a section may have; a name may be chosen from several too."""
    if not isinstance(section, Mapping):
        problems.append(Problem(path, f"must be the name of a component ({family})", section))
        return
    place = join(path, "name")
    if "name" not in section:
        problems.append(Problem(place, "must be given"))
        return
    for name_place, name in alternatives(section["name"], place):
        if isinstance(name, str):
            yield name_place, name
        else:
            problems.append(Problem(name_place, "must be a text", name))


def _find(
    family: str, name: str, path: str, folder: Path, problems: list[Problem]
) -> Component | None:
    try:
        return registry.get(family, name, folder)
    except UserCodeError as error:
        problems.append(Problem.of(error, path))
    except KeyError:
        known = registry.names_like(family, name)
        rule = f"must be one of {', '.join(known)}, or yours as module:factory"
        problems.append(Problem(path, rule, name, nearest_names(name, known)))
    return None


def _keyword_problems(alternative: Alternative, folder: Path) -> list[Problem]:
    component, keywords, path = alternative.component, alternative.keywords, alternative.path
    parameters = component.keywords
    what = f"{component.family} {component.name}"
    found: list[Problem] = []
    for key, value in keywords.items():
        place = join(path, key)
        if key in parameters:
            found += _value_problems(value, parameters[key], place, folder)
        elif key in registry.INJECTED[component.family]:
            found.append(Problem(place, f"must not be given: {what} gets it by itself", key))
        elif not component.takes_any_keyword:
            near = nearest_names(key, parameters)
            known = f" ({', '.join(parameters)})" if parameters else ", which has none"
            found.append(Problem(place, f"must be a keyword of {what}{known}", key, near))
    for key, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and key not in keywords:
            found.append(Problem(join(path, key), f"must be given for {what}"))
    return found


_TOO_LARGE = "must be a number that fits: 64 bits an integer, 32 bits a real one (3.4e+38)"


def _is_too_large(value: int | float) -> bool:
    """Whether a finite number is too large for tensors."""
    if isinstance(value, int):
        return not -(2**63) <= value < 2**63
    return math.isfinite(value) and abs(value) > _MAX_FLOAT32


_MAX_FLOAT32 = (2 - 2**-23) * 2.0**127


def _value_problems(
    tree: Tree, parameter: inspect.Parameter, path: str, folder: Path
) -> list[Problem]:
    of = registry.marked(parameter, ComponentOf)
    if of is None:
        return check_value(tree, _annotation(parameter), path)
    problems: list[Problem] = []
    optional = of.optional or parameter.default is None
    check_section(replace(of, optional=optional), tree, path, folder, problems)
    return problems


def _annotation(parameter: inspect.Parameter) -> Any:
    return Any if parameter.annotation is inspect.Parameter.empty else parameter.annotation


def _value_problem(error: ValidationError, path: str, annotation: Any) -> Problem:
    """Turn pydantic's errors about one value into one problem; those of a union are or-ed."""
    entries = error.errors(include_url=False)
    rule = " or ".join(dict.fromkeys(rule_of(entry["msg"]) for entry in entries))
    index = [str(key) for key in entries[0]["loc"] if isinstance(key, int)]
    value = entries[0]["input"]
    known = [name for name in get_args(annotation) if isinstance(name, str)]
    rule, _, hint = rule.partition("; did you mean ")  # a validator may know names itself
    nearest = tuple(hint.rstrip("?").split(" or ")) if hint else nearest_names(value, known)
    return Problem(".".join([path, *index]), rule, value, nearest)
