"""What can be said of users' code without running it: whether it is there, and its signatures.

For a process of its own: a source of hostile making may take Python's parser long.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hpsearch import registry
from hpsearch.errors import Problem, nearest_names
from hpsearch.importing import NOT_PYTHONS_OWN
from hpsearch.spec import COMPONENT_SECTIONS, COMPONENT_SETTINGS, Choices, Draft, join
from hpsearch.spec.trees import named

#: bytes of a source file
MAX_SOURCE = 1_000_000
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def static_problems(draft: Draft) -> Iterator[Problem]:
    """Yield what is wrong with the code that a spec names, as far as reading it tells."""
    trainable = draft.raw.get("trainable")
    if isinstance(trainable, str) and registry.is_user_code(trainable):
        yield from _problems("trainable", trainable, {}, "trainable", draft.folder)
    for path, of in {**COMPONENT_SECTIONS, **COMPONENT_SETTINGS}.items():
        tree = draft.sections[path] if path in draft.sections else _setting(draft.raw, path)
        for place, component in _components(tree, path):
            name = component["name"]
            if isinstance(name, str) and registry.is_user_code(name):
                yield from _problems(of.family, name, component, place, draft.folder)


def _setting(raw: Any, path: str) -> Any:
    """Return what stands at a path, as a mapping if it is a name; None if it is no component."""
    for key in path.split("."):
        raw = raw.get(key) if isinstance(raw, Mapping) else None
    return named(raw) if path in COMPONENT_SETTINGS and path != "trainable" else None


def _components(tree: Any, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the components that a section may come to."""
    if isinstance(tree, Choices):
        for i, choice in enumerate(tree.choices):
            yield from _components(choice, join(join(place, "choices"), i))
    elif isinstance(tree, list | tuple):
        for i, item in enumerate(tree):
            yield from _components(item, join(place, i))
    elif isinstance(tree, Mapping) and "name" in tree:
        yield place, tree


def _problems(
    family: str, name: str, component: Mapping[str, Any], place: str, folder: Path
) -> Iterator[Problem]:
    module, _, attribute = name.rpartition(":")
    name_place = place if family == "trainable" else join(place, "name")
    if module.partition(".")[0] in sys.stdlib_module_names and not module.endswith(".py"):
        yield Problem(name_place, NOT_PYTHONS_OWN, name)
        return
    source = _source(module, folder)
    if source is None:
        if module.endswith(".py"):
            yield Problem(name_place, "must name a file of the uploaded code", name)
        return  # an installed package's: its signature is checked where it is imported
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        yield Problem(name_place, f"must be valid Python ({error})", name)
        return
    found = _definition(tree, attribute)
    if found is None and not _may_define(tree, attribute):
        known = [each.name for each in tree.body if isinstance(each, _Function | ast.ClassDef)]
        rule = f"{module} must define {attribute}"
        yield Problem(name_place, rule, name, nearest_names(attribute, known))
    elif isinstance(found, _Function) and not found.decorator_list:
        yield from _keyword_problems(family, found, component, place)


def _source(module: str, folder: Path) -> bytes | None:
    """Return the source of a module below a folder, of files that are not too large."""
    if module.endswith(".py"):
        places = [folder / module]
    else:
        path = folder.joinpath(*module.split("."))
        places = [path.with_suffix(".py"), path / "__init__.py"]
    for place in places:
        if place.is_file() and place.stat().st_size <= MAX_SOURCE:
            return place.read_bytes()
    return None


def _definition(tree: ast.Module, name: str) -> ast.stmt | None:
    defined = [
        each
        for each in tree.body
        if isinstance(each, _Function | ast.ClassDef) and each.name == name
    ]
    return defined[-1] if defined else None


def _may_define(tree: ast.Module, name: str) -> bool:
    """Whether something but a plain definition may give the module this name."""
    for each in ast.walk(tree):
        if isinstance(each, ast.alias) and (each.asname or each.name) in (name, "*"):
            return True
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store) and each.id == name:
            return True
        if isinstance(each, _Function | ast.ClassDef) and each.name in (name, "__getattr__"):
            return True  # inside an `if` or a `try`
    return False


def _keyword_problems(
    family: str, function: _Function, component: Mapping[str, Any], place: str
) -> Iterator[Problem]:
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    without_default = positional[: len(positional) - len(arguments.defaults)]
    required = [each.arg for each in without_default] + [
        each.arg
        for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if default is None
    ]
    offered = registry.INJECTED[family]
    known = [each.arg for each in (*positional, *arguments.kwonlyargs)]
    keywords = [each for each in known if each not in offered]
    shared = registry.shared_keywords(family)
    for key in component:
        if key != "name" and key not in (*keywords, *shared, *offered) and not arguments.kwarg:
            rule = f"must be a keyword of {family} {component['name']}"
            yield Problem(join(place, key), rule, key, nearest_names(key, keywords))
    for key in required:
        if key not in offered and key not in component:
            yield Problem(join(place, key), f"must be given for {family} {function.name}")
