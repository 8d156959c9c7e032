"""What checks come to: what can be used, and problems."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from hpsearch.errors import Problem

_Good = TypeVar("_Good")


def parted(outcomes: Iterable[_Good | Problem]) -> tuple[list[_Good], list[Problem]]:
    """Return what is well, and the problems."""
    good: list[_Good] = []
    problems: list[Problem] = []
    for each in outcomes:
        if isinstance(each, Problem):
            problems.append(each)
        else:
            good.append(each)
    return good, problems


def problems_in(outcomes: Iterable[object]) -> list[Problem]:
    """Return the problems alone."""
    return [each for each in outcomes if isinstance(each, Problem)]


def unique(problems: Iterable[Problem]) -> list[Problem]:
    """Return problems in their order, each once."""
    found: list[Problem] = []
    for each in problems:  # their values may have no hash
        if each not in found:
            found.append(each)
    return found
