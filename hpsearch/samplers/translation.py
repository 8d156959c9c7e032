"""Translating a trial's resolved values to the parameters of another search space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hpsearch.samplers.first_points import fitting_value
from hpsearch.space import SearchSpace
from hpsearch.spec import Choices, Range, Scalar, Tree, join, to_plain

#: where the other trial has no value; equals no constant and no choice
_MISSING = object()


class Translator:
    """Finds the parameters that give a trial's values in a space: inverts `SearchSpace.resolve`.

    Only values matter: a constant of the other space may be a range or a choice here.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._sections = space.sections
        self._distributions = space.distributions

    def params(self, values: Mapping[str, Any], exact: bool) -> dict[str, Scalar] | None:
        """Return the parameters for resolved sections; None where there are none.

        If `exact`, the space resolves them to the same sections. Otherwise its constants may
        differ, but not the names of the components whose hyperparameters are searched.
        """
        if exact and set(values) != set(self._sections):
            return None
        try:
            return self._params(values, exact)
        except _Misfit:
            return None

    def misfit(self, values: Mapping[str, Any]) -> str:
        """Say why there are no parameters for resolved sections; empty where there are some."""
        try:
            self._params(values, exact=False)
        except _Misfit as misfit:
            return str(misfit)
        return ""

    def _params(self, values: Mapping[str, Any], exact: bool) -> dict[str, Scalar]:
        params: dict[str, Scalar] = {}
        for section, tree in self._sections.items():
            path = "" if section == "space" else section
            params |= self._tree(values.get(section, _MISSING), tree, path, exact)
        return params

    def _tree(self, value: Any, tree: Tree, path: str, exact: bool) -> dict[str, Scalar]:
        """Return the parameters of one tree; raises _Misfit where there are none."""
        if isinstance(tree, Range):
            return {path: self._in_range(value, path)}
        if isinstance(tree, Choices):
            return self._choice(value, tree, path, exact)
        if not _is_searched(tree):
            if exact and to_plain(tree) != value:
                raise _Misfit(path, "must be the same")
            return {}
        params: dict[str, Scalar] = {}
        for key, below, child in _children(value, tree, path, exact):
            params |= self._tree(below, child, join(path, key), exact)
        return params

    def _in_range(self, value: Any, path: str) -> Scalar:
        if value is _MISSING:
            raise _Misfit(path, "has no value there")
        try:
            return fitting_value(self._distributions[path], value)
        except ValueError as error:
            raise _Misfit(path, f"{error}, but was {value!r}") from error

    def _choice(self, value: Any, tree: Choices, path: str, exact: bool) -> dict[str, Scalar]:
        """Take the choice that equals the value; else, unless `exact`, one of the same name."""
        branches = list(zip(tree.labels, tree.choices, strict=True))
        attempts = [(label, choice, True) for label, choice in branches]
        if not exact:
            attempts += [(*branch, False) for branch in branches if _is_namesake(value, branch[1])]
        for label, choice, is_exact in attempts:
            try:
                return {path: label, **self._tree(value, choice, join(path, label), is_exact)}
            except _Misfit:
                continue
        raise _Misfit(path, f"must be one of {', '.join(map(str, tree.labels))}")


class _Misfit(Exception):
    """A value that the space can't express: where, and the rule that it breaks."""

    def __init__(self, path: str, rule: str) -> None:
        super().__init__(f"{path}: {rule}" if path else rule)


def _children(
    value: Any, tree: Tree, path: str, exact: bool
) -> Iterator[tuple[object, Any, Tree]]:
    """Yield the keys of a mapping or list, with the values and the trees that stand there."""
    if isinstance(tree, Mapping) and isinstance(value, Mapping):
        is_other = isinstance(tree.get("name"), str) and not _is_namesake(value, tree)
        if is_other or (exact and set(tree) != set(value)):
            raise _Misfit(path, f"must be {tree.get('name', 'the same mapping')}")
        yield from ((key, value.get(key, _MISSING), child) for key, child in tree.items())
    elif isinstance(tree, list | tuple) and isinstance(value, list | tuple):
        if len(tree) != len(value):
            raise _Misfit(path, f"must be a list of {len(tree)}")
        yield from zip(range(len(tree)), value, tree, strict=True)
    else:
        raise _Misfit(path, "must have the same form")


def _is_namesake(value: Any, tree: Tree) -> bool:
    """Whether a tree is that of the component that the value names."""
    return (
        isinstance(tree, Mapping)
        and isinstance(value, Mapping)
        and isinstance(tree.get("name"), str)
        and tree["name"] == value.get("name")
    )


def _is_searched(tree: Tree) -> bool:
    if isinstance(tree, Mapping):
        return any(map(_is_searched, tree.values()))
    if isinstance(tree, list | tuple):
        return any(map(_is_searched, tree))
    return isinstance(tree, Range | Choices)
