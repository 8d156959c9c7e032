"""One component: its keywords, and how its factory is called."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpsearch.importing import called_as_program, outliving_exits
from hpsearch.registry.family import INJECTED, shared_keywords
from hpsearch.registry.signatures import (
    Factory,
    Recommended,
    as_real,
    is_real,
    marked,
    parameters_of,
)

#: how the names of other libraries' components begin
LIBRARY_PREFIXES: set[str] = set()


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
#: the spec's folder, while a component is built
spec_folder: ContextVar[Path | None] = ContextVar("spec_folder", default=None)


@dataclass(frozen=True)
class Component:
    """A registered factory.

    `weight_copies` says how many copies of the model's weights it adds to a trial's state at
    most, of its keywords if these matter; None where that isn't known. `traits` are what else the
    code of its family asks about it. `takes_shared` says whether it has the keywords that its
    family shares.
    """

    family: str
    name: str
    factory: Factory
    weight_copies: int | Callable[..., int] | None = None
    traits: Mapping[str, Any] = field(default_factory=dict, hash=False)
    takes_shared: bool = True

    @property
    def summary(self) -> str:
        """The first line of the factory's docstring."""
        return (inspect.getdoc(self.factory) or "").partition("\n")[0]

    @property
    def keywords(self) -> dict[str, inspect.Parameter]:
        """The parameters that a spec may set, by name (annotations evaluated)."""
        shared = shared_keywords(self.family) if self.takes_shared else {}
        return {**shared, **self.own_keywords}

    @property
    def own_keywords(self) -> dict[str, inspect.Parameter]:
        """The keywords that the factory itself declares."""
        return {
            name: parameter
            for name, parameter in parameters_of(self.factory).items()
            if name not in INJECTED[self.family] and parameter.kind not in _VARIADIC
        }

    @property
    def recommended(self) -> dict[str, Recommended]:
        """The ranges that the keywords' annotations recommend."""
        marks = {name: marked(each, Recommended) for name, each in self.keywords.items()}
        return {name: mark for name, mark in marks.items() if mark is not None}

    @property
    def takes_any_keyword(self) -> bool:
        """Whether the factory has a `**keywords` parameter."""
        parameters = inspect.signature(self.factory).parameters.values()
        return any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)

    def num_weight_copies(self, keywords: Mapping[str, Any]) -> int | None:
        """Return `weight_copies` with these keywords, and the factory's defaults."""
        if not callable(self.weight_copies):
            return self.weight_copies
        defaults = {name: each.default for name, each in self.own_keywords.items()}
        return self.weight_copies(**{**defaults, **keywords})

    def build(self, keywords: Mapping[str, Any], **offered: Any) -> Any:
        """Call the factory with the spec's keywords and those offered that it declares.

        A whole number is a real one where the factory declares those, and each call gets lists and
        mappings of its own. Components that it builds in turn are looked up from the same
        `folder`, if one is offered.
        """
        parameters = inspect.signature(self.factory).parameters
        wanted = {name: value for name, value in offered.items() if name in parameters}
        with user_code_from(offered.get("folder")), self._program():
            return self.factory(**wanted, **self._as_declared(copy.deepcopy(dict(keywords))))

    def _program(self) -> AbstractContextManager[None]:
        """Where the factory is called: as a program of its own, if a spec names its file; else
        only as one that may end its program, if it isn't ours."""
        if is_user_code(self.name):
            return called_as_program(self.name, spec_folder.get())
        return nullcontext() if is_ours(self.factory) else outliving_exits()

    def _as_declared(self, keywords: Mapping[str, Any]) -> dict[str, Any]:
        whole = [name for name, value in keywords.items() if type(value) in (int, list)]
        declared = self.own_keywords if whole else {}
        return {
            name: as_real(value) if name in declared and is_real(declared[name]) else value
            for name, value in keywords.items()
        }


def is_user_code(name: str) -> bool:
    """Whether a name points at user code (`module:factory`) rather than at the registry."""
    return ":" in name and not name.startswith(tuple(LIBRARY_PREFIXES))


def is_ours(factory: Factory) -> bool:
    """Whether a factory is hpsearch's own, rather than a user's or another package's."""
    return module_of(factory).partition(".")[0] == __name__.partition(".")[0]


def module_of(factory: Factory) -> str:
    """Return the name of the module that a factory is defined in; empty if unknown."""
    return getattr(factory, "__module__", None) or ""


@contextmanager
def user_code_from(folder: Path | None) -> Iterator[None]:
    """Look up users' files from a folder meanwhile; from the same as before if there is none."""
    before = spec_folder.set(folder or spec_folder.get())
    try:
        yield
    finally:
        spec_folder.reset(before)
