"""Whether what a spec says of a component fits the component's signature."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation

from hpsearch import registry
from hpsearch.errors import ComponentError, Problem, nearest_names
from hpsearch.registry import Component, ComponentOf
from hpsearch.spec import Tree, join, to_plain
from hpsearch.spec.other_tools import form_of, hint_of
from hpsearch.spec.trees import rule_of
from hpsearch.validation.other_names import KEYWORDS, hint_of_name
from hpsearch.validation.outcomes import problems_in
from hpsearch.validation.samples import alternatives, samples


@dataclass(frozen=True)
class Alternative:
    """A component that a section may come to, and the trees of its keywords."""

    path: str
    component: Component
    keywords: Mapping[str, Tree]


#: of a component that a section may come to: it is well, or has a problem
Outcome = Alternative | Problem


def check_component(family: str, tree: Tree, path: str, folder: Path) -> Iterator[Outcome]:
    """Yield each component that a section may come to, or what is wrong with it."""
    for place, section in alternatives(tree, path):
        if not isinstance(section, Mapping):
            yield Problem(place, f"must be the name of a component ({family})", section)
            continue
        keywords = {key: value for key, value in section.items() if key != "name"}
        for component in _components(family, section, place, folder):
            if isinstance(component, Problem):
                yield component
                continue
            alternative = Alternative(place, component, keywords)
            problems = _keyword_problems(alternative, folder)
            yield from problems
            if not problems:
                yield alternative


def check_section(of: ComponentOf, tree: Tree, path: str, folder: Path) -> Iterator[Outcome]:
    """Yield each component that a value may come to, one or several, or what is wrong with it."""
    for place, value in alternatives(tree, path):
        if value is None and of.optional:
            continue
        if of.mapped or of.many:
            yield from _check_several(of, value, place, folder)
            continue
        section = of.written_out(value)
        for each in check_component(of.family, section, place, folder):
            # what was not written out by the user has no place of its own
            is_written = section is value or isinstance(value, Mapping)
            yield each if is_written else replace(each, path=place)


def _check_several(of: ComponentOf, value: Tree, place: str, folder: Path) -> Iterator[Outcome]:
    items: Iterable[tuple[Any, Tree]]
    if of.mapped and isinstance(value, Mapping):
        one, items = replace(of, mapped=False, optional=False), value.items()
    elif not of.mapped and isinstance(value, list | tuple):
        one, items = replace(of, many=False), enumerate(value)
    else:
        form = "mapping from names to components" if of.mapped else "list of components"
        yield Problem(place, f"must be a {form} ({of.family})", to_plain(value))
        return
    for key, item in items:
        yield from check_section(one, item, join(place, key), folder)


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


def _components(
    family: str, section: Mapping[str, Tree], path: str, folder: Path
) -> Iterator[Component | Problem]:
    """Yield the components that a section may name; a name may be chosen from several too."""
    place = join(path, "name")
    if "name" not in section:
        yield _unnamed(family, section, path)
        return
    for name_place, name in alternatives(section["name"], place):
        if isinstance(name, str):
            yield _find(family, name, name_place, folder)
        else:
            yield Problem(name_place, "must be a text", name)


def _unnamed(family: str, section: Mapping[str, Tree], path: str) -> Problem:
    """Return what is wrong with a mapping that names no component."""
    plain = to_plain(section)
    if hint := hint_of(plain):
        return Problem(
            path, f"must be a component ({family}) or choices of several", plain, hint=hint
        )
    return Problem(join(path, "name"), "must be given")


#: names that an error lists one by one
_MOST_NAMES = 200


def _find(family: str, name: str, path: str, folder: Path) -> Component | Problem:
    try:
        return registry.get(family, name, folder)
    except ComponentError as error:  # of the user's code, or of a library that isn't there
        return error.problem.below(path)
    except KeyError:
        known = registry.names_like(family, name)
        shown = known if len(known) <= _MOST_NAMES else [*known[:5], f"… {known[-1]}"]
        rule = registry.one_of(shown)
        hint = hint_of_name(family, name)
        return Problem(path, rule, name, () if hint else nearest_names(name, known), hint)


def _keyword_problems(alternative: Alternative, folder: Path) -> list[Problem]:
    component, keywords, path = alternative.component, alternative.keywords, alternative.path
    parameters = component.keywords
    what = f"{component.family} {component.name}"
    found: list[Problem] = []
    for key, value in keywords.items():
        place = join(path, key)
        if key in parameters:
            problems = _value_problems(value, parameters[key], place, folder)
            found += (_without_range(each, component, place, key) for each in problems)
        elif key in registry.INJECTED[component.family]:
            found.append(Problem(place, f"must not be given: {what} gets it from hpsearch", key))
        elif component.takes_any_keyword:
            found += _meaning_problems(value, _ANY, place)
        else:
            hint = KEYWORDS.get((component.family, key), "")
            near = () if hint else nearest_names(key, parameters)
            known = f" ({', '.join(parameters)})" if parameters else ", which has none"
            found.append(Problem(place, f"must be a keyword of {what}{known}", key, near, hint))
    for key, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and key not in keywords:
            found.append(Problem(join(path, key), f"must be given for {what}"))
    return found


def _without_range(problem: Problem, component: Component, place: str, key: str) -> Problem:
    """Say of `auto`, where it is no value itself, why no range took its place."""
    if not problem.has_value or problem.value not in (registry.AUTO, {}):
        return problem
    asked = "auto" if problem.value else "{}"
    if key not in component.recommended:
        have = ", ".join(component.recommended) or "none"
        why = f"{asked} has no recommended range here; {component.name} has them for: {have}"
    elif problem.path == place:
        why = f"{asked} stands for one range, but those of the components differ: write it"
    else:
        why = f"{asked} stands for a range, in place of choices"
    return replace(problem, nearest=(), hint=why)


#: a keyword of which nothing is known
_ANY = inspect.Parameter("_", inspect.Parameter.KEYWORD_ONLY)
_TOO_LARGE = "must fit into a 64-bit integer or a 32-bit float (3.4e+38)"


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
        return [
            *check_value(tree, _annotation(parameter), path),
            *_meaning_problems(tree, parameter, path),
        ]
    optional = of.optional or parameter.default is None
    return problems_in(check_section(replace(of, optional=optional), tree, path, folder))


def _meaning_problems(tree: Tree, parameter: inspect.Parameter, path: str) -> list[Problem]:
    """Return where a keyword that says no type is a mapping in place of a value, or another
    tool's."""
    if parameter.annotation is not inspect.Parameter.empty:
        return []
    is_plain = isinstance(parameter.default, str | int | float | list | tuple)
    return [
        Problem(place, "must be a value, a range or choices", to_plain(value), hint=hint)
        for place, value in alternatives(tree, path)
        if (hint := hint_of(to_plain(value)))
        or (is_plain and isinstance(value, Mapping) and (hint := form_of(to_plain(value))))
    ]


def _annotation(parameter: inspect.Parameter) -> Any:
    return Any if parameter.annotation is inspect.Parameter.empty else parameter.annotation


def _value_problem(error: ValidationError, path: str, annotation: Any) -> Problem:
    """Turn pydantic's errors about one value into one problem; those of a union are or-ed."""
    entries = error.errors(include_url=False)
    rules = dict.fromkeys(rule_of(entry["msg"]) for entry in entries)
    rule = " or ".join(rules).replace(" or must be ", " or ")
    index = [str(key) for key in entries[0]["loc"] if isinstance(key, int)]
    value = entries[0]["input"]
    known = [name for name in get_args(annotation) if isinstance(name, str)]
    is_of_type = entries[0]["type"].endswith(("_type", "literal_error"))  # a list may be too long
    near, hint = nearest_names(value, known), form_of(value) if is_of_type else hint_of(value)
    return Problem(".".join([path, *index]), rule, value, () if hint else near, hint)
