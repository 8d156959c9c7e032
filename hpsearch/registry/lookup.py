"""Registration of components, and their look-up by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpsearch.importing import import_factory, load_plugins
from hpsearch.registry.component import (
    LIBRARY_PREFIXES,
    Component,
    is_user_code,
    module_of,
    spec_folder,
)
from hpsearch.registry.family import INJECTED, check_family
from hpsearch.registry.signatures import Factory


@dataclass(frozen=True)
class _Library:
    """Another library's components of a family; their names here begin with its prefix."""

    prefix: str
    find: Callable[[str], Component]
    known: Callable[[], list[str]]

    def holds(self, name: str) -> bool:
        return name.startswith(self.prefix)


_components: dict[str, dict[str, Component]] = {family: {} for family in INJECTED}
_libraries: dict[str, list[_Library]] = {}


def register(
    family: str,
    name: str,
    *,
    weight_copies: int | Callable[..., int] | None = None,
    traits: Mapping[str, Any] | None = None,
    takes_shared: bool = True,
) -> Callable[[Factory], Factory]:
    """Register the decorated factory under a name of a family; a taken name is refused.

    The other arguments are those of Component.
    """
    check_family(family)

    def decorate(factory: Factory) -> Factory:
        known = _known(family)
        if (other := known.get(name)) is not None:
            where = other.factory.__module__
            raise ValueError(f"{family} {name!r} is registered already, by {where}")
        known[name] = Component(
            family, name, factory, weight_copies, dict(traits or {}), takes_shared
        )
        return factory

    return decorate


def register_library(
    family: str, prefix: str, find: Callable[[str], Component], known: Callable[[], list[str]]
) -> None:
    """Offer another library's components of a family by names that begin with a prefix.

    It ends with a mark: `po:` for `po:lion`. `find` returns one by its name in the library, or
    raises KeyError; `known` lists these names.
    """
    LIBRARY_PREFIXES.add(prefix)
    _libraries.setdefault(family, []).append(_Library(prefix, find, known))


def one_of(known: Iterable[str]) -> str:
    """Return the rule for the name of a component."""
    return f"must be one of {', '.join(known)}, or yours as module:factory"


def names(family: str) -> list[str]:
    """Return the names registered in a family, sorted."""
    load_plugins()
    return sorted(_known(family))


def names_like(family: str, name: str) -> list[str]:
    """Return the names among which an unknown one may be meant: a library's, by its prefix."""
    library = _library(family, name)
    if library is None:
        return names(family)
    return [f"{library.prefix}{each}" for each in library.known()]


def libraries(family: str) -> dict[str, list[str]]:
    """Return the names that other libraries have in a family, by the libraries' prefixes."""
    return {each.prefix: each.known() for each in _libraries.get(family, [])}


def prefixes_of_libraries(family: str) -> list[str]:
    """Return how the names of other libraries' components begin in a family."""
    return [each.prefix for each in _libraries.get(family, [])]


def _library(family: str, name: str) -> _Library | None:
    return next((each for each in _libraries.get(family, []) if each.holds(name)), None)


def put_aside(modules: Collection[str]) -> Callable[[], None]:
    """Forget what modules have registered; returns what puts that back in place of what they
    have registered since."""
    before = [_take(known, modules) for known in _components.values()]

    def put_back() -> None:
        for known, components in zip(_components.values(), before, strict=False):
            _take(known, modules)
            known.update(components)

    return put_back


def _take(known: dict[str, Component], modules: Collection[str]) -> dict[str, Component]:
    taken = {name: each for name, each in known.items() if module_of(each.factory) in modules}
    for name in taken:
        del known[name]
    return taken


def get(family: str, name: str, folder: Path | None = None) -> Component:
    """Return a registered component, or the user's factory that `module:factory` names.

    Raises KeyError for an unknown name and UserCodeError where user code can't be imported.
    A relative file is taken from `folder`, the spec's; by default that of the component which is
    being built.
    """
    if is_user_code(name):
        return _as_registered(
            Component(family, name, import_factory(name, folder or spec_folder.get()))
        )
    load_plugins()
    if (library := _library(family, name)) is not None:
        return library.find(name.removeprefix(library.prefix))
    return _known(family)[name]


def _as_registered(component: Component) -> Component:
    """Return a component named by its code with what `register` said of it there, if it did."""
    for known in _known(component.family).values():
        if known.factory is component.factory:
            return replace(known, name=component.name)
    return component


def _known(family: str) -> dict[str, Component]:
    """Return what is registered in a family; KeyError for an unknown one."""
    if family not in INJECTED:
        raise KeyError(family)
    return _components.setdefault(family, {})
