"""Translating a trial's resolved values to the parameters of another search space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hpsearch.samplers.first_points import fitting_value
from hpsearch.space import SearchSpace
from hpsearch.spec import Choices, Range, Scalar, Tree, join, to_plain
from hpsearch.spec.priors import index_of

#: where the other trial has no value; equals no constant and no choice
_MISSING = object()


@dataclass(frozen=True)
class Translation:
    """A trial in another space; `filled` are the hyperparameters that it says nothing of."""

    params: dict[str, Scalar]
    filled: tuple[str, ...] = ()


class MisfitError(ValueError):
    """Raised for a trial that a space can't express: which hyperparameter can't, and why."""

    def __init__(self, path: str, rule: str) -> None:
        super().__init__(f"{path} {rule}" if path else rule)


class Translator:
    """Finds the parameters that give a trial's values in a space: inverts `SearchSpace.resolve`.

    Only values matter: a constant of the other space may be a range or a choice here. `defaults`,
    by name of a hyperparameter, stand for those that the other trial hasn't.
    """

    def __init__(self, space: SearchSpace, defaults: Mapping[str, Scalar] | None = None) -> None:
        self._sections = space.sections
        self._distributions = space.distributions
        self._defaults = defaults or {}

    def translate(self, values: Mapping[str, Any], exact: bool) -> Translation:
        """Return the parameters for resolved sections; raises MisfitError where there are none.

        If `exact`, the space resolves them to the same sections. Otherwise its constants may
        differ, but not the names of the components whose hyperparameters are searched.
        """
        if exact and set(values) != set(self._sections):
            raise MisfitError("", "has other sections")
        params: dict[str, Scalar] = {}
        filled: list[str] = []
        for section, tree in self._sections.items():
            path = "" if section == "space" else section
            found = self._tree(values.get(section, _MISSING), tree, path, exact)
            params |= found.params
            filled += found.filled
        if params and len(params) == len(filled):
            raise MisfitError("", "no hyperparameter of this search space has a value")
        return Translation(params, tuple(filled))

    def _tree(self, value: Any, tree: Tree, path: str, exact: bool) -> Translation:
        """Return the parameters of one tree."""
        if isinstance(tree, Range | Choices) and value is _MISSING:
            return self._default(tree, path, exact)
        if isinstance(tree, Range):
            return Translation({path: self._value(path, value)})
        if isinstance(tree, Choices):
            return self._choice(value, tree, path, exact)
        if not _is_searched(tree):
            if exact and to_plain(tree) != value:
                raise MisfitError(path, "differs")
            return Translation({})
        params: dict[str, Scalar] = {}
        filled: list[str] = []
        for key, below, child in _children(value, tree, path, exact):
            found = self._tree(below, child, join(path, key), exact)
            params |= found.params
            filled += found.filled
        return Translation(params, tuple(filled))

    def _value(self, path: str, value: Any) -> Scalar:
        try:
            return fitting_value(self._distributions[path], value)
        except ValueError as error:
            raise MisfitError(path, str(error)) from error

    def _default(self, tree: Range | Choices, path: str, exact: bool) -> Translation:
        """Let the default stand for what the other trial hasn't."""
        if exact or path not in self._defaults:
            raise MisfitError(path, "has no value")
        value = self._defaults[path]
        if isinstance(tree, Range):
            return Translation({path: value}, (path,))
        index = index_of(value, tree.labels)
        assert index is not None
        below = tree.choices[index]
        inner = self._tree(_MISSING, below, join(path, value), exact)
        return Translation({path: value, **inner.params}, (path, *inner.filled))

    def _choice(self, value: Any, tree: Choices, path: str, exact: bool) -> Translation:
        """Take the choice that equals the value; else, unless `exact`, one of the same name, or
        the only one without a name that can be meant."""
        branches = list(zip(tree.labels, tree.choices, strict=True))
        attempts = [(*branch, True) for branch in branches]
        if not exact:
            attempts += [(*branch, False) for branch in branches if _is_namesake(value, branch[1])]
        for label, choice, is_exact in attempts:
            if (found := self._branch(value, label, choice, path, is_exact)) is not None:
                return found
        nameless = [b for b in branches if not exact and _are_nameless(value, b[1])]
        meant = [self._branch(value, *branch, path, False) for branch in nameless]
        fitting = [found for found in meant if found is not None]
        if len(fitting) == 1:
            return fitting[0]
        raise MisfitError(path, "has a value that is none of the choices")

    def _branch(
        self, value: Any, label: Scalar, choice: Tree, path: str, exact: bool
    ) -> Translation | None:
        try:
            found = self._tree(value, choice, join(path, label), exact)
        except MisfitError:
            return None
        return Translation({path: label, **found.params}, found.filled)


def _children(
    value: Any, tree: Tree, path: str, exact: bool
) -> Iterator[tuple[object, Any, Tree]]:
    """Yield the keys of a mapping or list, with the values and the trees that stand there."""
    if value is _MISSING and not exact and isinstance(tree, Mapping):
        yield from ((key, _MISSING, child) for key, child in tree.items())
    elif isinstance(tree, Mapping) and isinstance(value, Mapping):
        is_other = isinstance(tree.get("name"), str) and not _is_namesake(value, tree)
        if is_other or (exact and set(tree) != set(value)):
            raise MisfitError(path, "is another component")
        yield from ((key, value.get(key, _MISSING), child) for key, child in tree.items())
    elif isinstance(tree, list | tuple) and isinstance(value, list | tuple):
        if len(tree) != len(value):
            raise MisfitError(path, "has another length")
        yield from zip(range(len(tree)), value, tree, strict=True)
    else:
        raise MisfitError(path, "has another form")


def _is_namesake(value: Any, tree: Tree) -> bool:
    """Whether a tree is that of the component that the value names."""
    return (
        isinstance(tree, Mapping)
        and isinstance(value, Mapping)
        and isinstance(tree.get("name"), str)
        and tree["name"] == value.get("name")
    )


def _are_nameless(value: Any, tree: Tree) -> bool:
    """Whether both are mappings without a name, and the tree has all that the value has."""
    if not (isinstance(tree, Mapping) and isinstance(value, Mapping)):
        return False
    return "name" not in tree and set(value) <= set(tree)


def _is_searched(tree: Tree) -> bool:
    if isinstance(tree, Mapping):
        return any(map(_is_searched, tree.values()))
    if isinstance(tree, list | tuple):
        return any(map(_is_searched, tree))
    return isinstance(tree, Range | Choices)
